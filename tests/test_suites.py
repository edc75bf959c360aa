"""The suites' rows against what the reports publish, and the report's arithmetic on results made up here."""

import dataclasses
import json

import pytest

from graphcnn import report, suites
from graphcnn.nets import NETS
from graphcnn.suites import SUITES, Claim, Experiment, Suite

PUBLISHED = {  # by hand from the reports' tables
    "assignment": {
        "one_conv": None, "two_conv": 0.505674, "two_conv_dropout": 0.573845, "two_conv_stopped": 0.616821,
        "final": 0.760370, "no_256": (0.715190, 0.738178), "no_512": 0.748226, "one_dense": 0.754192,
    },
    "ladder": {
        "four_layer_1": 63.00, "four_layer_2": 72.87, "six_layer_1": 70.27, "six_layer_2": 73, "six_layer_3": 74.77,
        "seven_layer_1": 75.02, "weight_init_1": 72.94, "batch_norm_1": 77.27, "dropout_1": 80.67, "complex_1": 82.98,
        "complex_2": 83.75, "augment_1": 81.40, "vgg_like_1": 85.87, "vgg_like_augment_1": 89.02,
    },
    "restaurant": {
        "model_1": (91, 92), "model_2_1": 90, "model_2_2": 90, "model_2_3": 91, "model_2_4": 92, "model_2_5": 94,
        "model_3_1": 95, "model_3_2": (91, 92), "model_4": (94, 95),
    },
}  # fmt: skip
UNPUBLISHED = {
    "assignment": set(),
    "ladder": {
        "norm_before",
        "dropout_he",
        "norm_he",
        "dense_only",
        "batch_128",
        "batch_2048",
        "rate_3e-4",
        "rate_3e-3",
    },
    "restaurant": {"model_3_3"},
}
SETTINGS = {  # name: settings that the reports give, spelt out
    "assignment/two_conv": {"epochs": 15, "stop_on": "nothing", "keep_prob": 1.0, "batch_size": 128},
    "assignment/two_conv_stopped": {"epochs": 50, "stop_on": "loss", "patience": 5, "keep_prob": 0.6},
    "assignment/final": {"net": "vgg", "epochs": 50, "l2": 0.01, "keep_prob": 0.6, "seed": 51},
    "ladder/four_layer_1": {"normalisation": "none", "batch_size": 512, "epochs": 300, "learning_rate": 1e-3},
    "ladder/weight_init_1": {"normalisation": "unit", "init": "he", "keep_prob": 1.0, "batch_norm": False},
    "ladder/complex_2": {"init": "he", "keep_prob": 0.7, "batch_norm": True, "batch_norm_at": "after"},
    "ladder/vgg_like_augment_1": {"net": "seven_layer_doubled", "init": "he", "translate": 3, "flip": "random"},
    "restaurant/model_2_5": {"batch_size": 256, "epochs": 50, "image_size": 300},
    "restaurant/model_3_2": {"net": "photos_six", "normalisation": "none", "batch_size": 256},
    "restaurant/model_3_3": {"batch_norm": True, "keep_prob": 0.7, "normalisation": "unit", "epochs": 50},
}


@pytest.mark.parametrize("name", SUITES)
def test_every_row_of_the_reports_is_there_with_its_score(name):
    experiments = SUITES[name].experiments
    published = {row: each.published for row, each in experiments.items() if each.published is not None}
    assert published == {row: score for row, score in PUBLISHED[name].items() if score is not None}
    assert set(experiments) == set(PUBLISHED[name]) | UNPUBLISHED[name]


@pytest.mark.parametrize("name", SETTINGS)
def test_rows_have_the_reports_settings(name):
    settings = dataclasses.asdict(suites.named(name).recipe)
    assert {key: settings[key] for key in SETTINGS[name]} == SETTINGS[name]


@pytest.mark.parametrize("name", suites.names())
def test_every_recipe_names_a_net(name):
    assert suites.named(name).recipe.net in NETS


@pytest.mark.parametrize("name", SUITES)
def test_claims_are_about_rows_of_their_suite(name):
    for claim in SUITES[name].claims:
        assert {claim.one, *claim.others} <= set(SUITES[name].experiments)
        assert claim.measure in ("score", "gap", "epoch_seconds")


def result(score, seed=51, gap=0.1, seconds=10.0, test=None):
    """Return what report.finished would return for a run of two epochs."""
    history = [
        {"epoch": epoch, "cross_entropy": 1.0, "dev_cross_entropy": 1.1, "accuracy": 0.5, "dev_accuracy": score}
        for epoch in (1, 2)
    ]
    scores = {"precision": 0.5, "recall": 0.25, "f1-score": 1 / 3, "support": 4.0}
    return {
        "config": {
            "cpu": {"model": "CPU", "cores": 2}, "recipe": {"precision": "float32"},
            "versions": {"tensorflow": "2", "python": "3"},
        },
        "seed": seed, "parameters": 7, "cores": 2, "epochs": 2, "best_epoch": 2, "seconds": seconds,
        "epoch_seconds": seconds / 2,
        "train_loss": 1.0, "dev_loss": 1.1, "train_accuracy": score + gap, "dev_accuracy": score,
        "dev_macro_f1": score, "gap": gap, "test_accuracy": test, "test_macro_f1": test,
        "per_class": {"a|b": scores, "c": scores}, "history": history,
    }  # fmt: skip


def suite(published, claims=()):
    rows = {name: Experiment(f"change {name}", None, {}, score) for name, score in published.items()}
    return Suite("report X", "%", suites.LADDER.base, 0.2, rows, claims)


ORDERS = {  # name: (published, ours, Spearman's correlation by 1 - 6 sum d^2 / (n (n^2 - 1)), ranks here, ranks there)
    "the same": ((1, 2, 3, 4), (0.1, 0.2, 0.3, 0.4), 1.0, [4, 3, 2, 1], [4, 3, 2, 1]),
    "reversed": ((1, 2, 3, 4), (0.4, 0.3, 0.2, 0.1), -1.0, [1, 2, 3, 4], [4, 3, 2, 1]),
    "a tie": ((1, 1, 2), (0.1, 0.2, 0.3), 0.866025, [3, 2, 1], [2, 2, 1]),
    "two swapped": ((1, 2, 3, 4), (0.2, 0.1, 0.3, 0.4), 1 - 6 * 2 / (4 * 15), [3, 4, 2, 1], [4, 3, 2, 1]),
    "a range": ((1, (2, 4), 2.5, 4), (0.1, 0.3, 0.2, 0.4), 1.0, [4, 2, 3, 1], [4, 2, 3, 1]),
    "a row without a score": ((1, None, 3, 4), (0.1, 0.9, 0.3, 0.4), 1.0, [3, None, 2, 1], [3, None, 2, 1]),
}


@pytest.mark.parametrize("case", ORDERS)
def test_ranks_and_rank_correlation(case):
    published, ours, correlation, here, there = ORDERS[case]
    names = "abcd"[: len(ours)]
    found = report.summary(
        suite(dict(zip(names, published, strict=True))), {n: [result(s)] for n, s in zip(names, ours, strict=True)}
    )
    assert found["spearman"] == pytest.approx(correlation)
    assert [row["rank"] for row in found["experiments"]] == here
    assert [row["published_rank"] for row in found["experiments"]] == there


CLAIMS = {  # name: (claim, whether it holds)
    "a higher score": (Claim("", "score", "b", ">", ("a",)), True),
    "not the highest": (Claim("", "score", "b", ">", ("a", "c")), False),
    "half the gap": (Claim("", "gap", "c", "<", ("a",), 0.5), True),
    "not a third of it": (Claim("", "gap", "c", "<", ("a",), 1 / 3), False),
    "faster": (Claim("", "epoch_seconds", "b", "<", ("a",)), True),
    "a row that was not run": (Claim("", "score", "c", ">", ("d",)), None),
}


@pytest.mark.parametrize("case", CLAIMS)
def test_claims_hold_or_fail(case):
    claim, holds = CLAIMS[case]
    results = {
        "a": [result(0.5, gap=0.2)],
        "b": [result(0.6, seconds=4.0)],
        "c": [result(0.7, gap=0.08)],
    }
    found = report.summary(suite(dict.fromkeys("abcd"), (claim,)), results)
    assert found["claims"][0]["holds"] is holds
    text = report.markdown({"suite": "x", "command": "y", "data": "z", **found}, results)
    assert {True: "| yes |", False: "| no |", None: "| not compared |"}[holds] in text


def test_means_and_spread_over_seeds():
    results = {"a": [result(0.5), result(0.6, seed=52), result(0.7, seed=53)], "b": [result(0.4)]}
    rows = report.summary(suite({"a": 1, "b": 2}), results)["experiments"]
    assert rows[0]["dev_macro_f1"] == pytest.approx(0.6)
    assert rows[0]["dev_macro_f1_deviation"] == pytest.approx(0.1)
    assert rows[0]["seeds"] == [51, 52, 53]
    assert [run["dev_macro_f1"] for run in rows[0]["runs"]] == [0.5, 0.6, 0.7]
    assert rows[1]["dev_macro_f1_deviation"] is None


def test_the_report_s_files(tmp_path):
    results = {"a": [result(0.5, test=0.45)], "b": [result(0.625, test=0.55), result(0.635, test=0.6, seed=52)]}
    found = {"suite": "x", "command": "./run.sh y", "data": "z", **report.summary(suite({"a": 1, "b": 2}), results)}
    report.write(tmp_path, found, results)
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(found))
    text = (tmp_path / "report.md").read_text()
    assert "| b | change b | 7 | 2 | 10 | 1.000 | 1.100 | 0.6300 ± 0.0071 (2) | 0.6300 ± 0.0071 (2) | 0.100 |" in text
    assert "| 0.5750 | 0.5750 | 2 | 1 | 1 |" in text
    assert "The best by dev, b, on the test split" in text
    assert "| a\\|b | 0.5000 | 0.2500 | 0.3333 | 4 |" in text
    from PIL import Image

    with Image.open(tmp_path / "report.png") as picture:
        assert picture.width > 300
