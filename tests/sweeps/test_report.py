"""The numbers and the text of a report, for invented results."""

import dataclasses
import json

import pytest

from graphcnn.config import suites
from graphcnn.config.suite import Claim, Experiment, Suite
from graphcnn.sweeps import report
from graphcnn.sweeps.report_markdown import markdown


def result(score, seed=51, gap=0.1, seconds=10.0, test=None):
    """Return what results.read_result would return for a run of two epochs."""
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
        "test_loss": test, "test_top2_accuracy": test, "dev_top2_accuracy": score, "weights": "none",
        "run": "s/a-seed51",
        "per_class": {"a|b": scores, "c": scores}, "history": history,
    }  # fmt: skip


def suite(published, claims=()):
    rows = {name: Experiment(description=f"change {name}", published=score) for name, score in published.items()}
    base = suites.LADDER.base
    return Suite(source="a test", unit="%", base=base, dev_fraction=0.2, experiments=rows, claims=claims)


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
    "a higher score": (Claim(description="", measure="score", experiment="b", sign=">", others=("a",)), True),
    "not the highest": (Claim(description="", measure="score", experiment="b", sign=">", others=("a", "c")), False),
    "half the gap": (Claim(description="", measure="gap", experiment="c", sign="<", others=("a",), factor=0.5), True),
    "not a third of it": (
        Claim(description="", measure="gap", experiment="c", sign="<", others=("a",), factor=1 / 3),
        False,
    ),
    "faster": (Claim(description="", measure="epoch_seconds", experiment="b", sign="<", others=("a",)), True),
    "a row that was not run": (Claim(description="", measure="score", experiment="c", sign=">", others=("d",)), None),
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
    text = markdown({"suite": "x", "command": "y", "data": "z", **found}, "c", results["c"][0]["per_class"])
    assert {True: "| yes |", False: "| no |", None: "| not compared |"}[holds] in text


def test_means_and_spread_over_seeds():
    results = {"a": [result(0.5), result(0.6, seed=52), result(0.7, seed=53)], "b": [result(0.4)]}
    rows = report.summary(suite({"a": 1, "b": 2}), results)["experiments"]
    assert rows[0]["dev_macro_f1"] == pytest.approx(0.6)
    assert rows[0]["dev_macro_f1_deviation"] == pytest.approx(0.1)
    assert rows[0]["seeds"] == [51, 52, 53]
    assert [run["dev_macro_f1"] for run in rows[0]["runs"]] == [0.5, 0.6, 0.7]
    assert rows[1]["dev_macro_f1_deviation"] is None


def test_report_files(tmp_path):
    results = {"a": [result(0.5, test=0.45)], "b": [result(0.625, test=0.55), result(0.635, test=0.6, seed=52)]}
    found = {"suite": "x", "command": "./run.sh y", "data": "z", **report.summary(suite({"a": 1, "b": 2}), results)}
    report.write(tmp_path, found, results)
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(json.dumps(found))
    text = (tmp_path / "report.md").read_text()
    assert "| b | change b | 7 | 2 | 10 | 1.000 | 1.100 | 0.6300 ± 0.0071 (2) | 0.6300 ± 0.0071 (2) | 0.100 |" in text
    assert "| 0.5750 | 0.5750 | 2 | 1 | 1 |" in text
    assert "The best experiment by dev macro F1, b, on the test split, seed 51:" in text
    assert "| a\\|b | 0.5000 | 0.2500 | 0.3333 | 4 |" in text
    from PIL import Image

    with Image.open(tmp_path / "report.png") as picture:
        assert picture.width > 300


def test_ensembles_and_further_published_scores_have_tables():
    experiments = {"a": Experiment(description="one", published=1.0, other_scores={"dev_loss": 0.25})}
    scored = dataclasses.replace(suite({}), experiments=experiments, columns={"dev_loss": "their loss"})
    results = {"a": [result(0.5)]}
    found = report.summary(scored, results)
    row = {"ensemble": "both", "dev_accuracy": 0.5, "dev_macro_f1": 0.4, "best_member_dev_macro_f1": 0.3}
    found |= {"suite": "x", "command": "y", "data": "z", "ensembles": [{**row, "published": 0.987654}]}
    text = markdown(found, "a", results["a"][0]["per_class"])
    assert "| experiment | their loss |\n| --- | --: |\n| a | 1.1000 / 0.25 |" in text
    assert "| both | 0.5000 | 0.4000 | 0.3000 | 0.987654 |" in text


def test_markup_in_names_is_shown_as_text_in_markdown():
    results = {"a": [result(0.5)]}
    names = {"\x1b]0;t\x07|": "\\\\x1b\\]0;t\\\\x07\\|", "<script>\n# x": "\\<script>\\\\n# x", "four_1": "four_1"}
    results["a"][0]["config"]["cpu"]["model"] = "<b>\n\n# CPU"
    results["a"][0]["per_class"] = dict.fromkeys(names, results["a"][0]["per_class"]["c"])
    found = report.summary(suite({"a": 1}), results)
    found |= {"suite": "x", "command": "y`z`", "data": "z", "predictions": ["test/a/```: b 0.9", "```"]}
    text = markdown(found, "a", results["a"][0]["per_class"])
    assert [line.split(" | ")[0] for line in text.splitlines() if line.endswith("| 4 |")] == [
        f"| {name}" for name in names.values()
    ]
    assert "2 core(s) of \\<b>\\\\n\\\\n# CPU for each run" in text
    assert "``` y`z` ```" in text or "`` y`z` ``" in text
    assert "````\ntest/a/```: b 0.9\n```\n````\n" in text
