"""report: the page of a run, its numbers, and what damaged files do to it."""

import csv
import dataclasses
import json
import shlex
import shutil

import numpy as np
import pytest
from conftest import run_quietly
from html_pages import read_page
from run_folders import edit_json, write_run

from graphcnn.common.errors import FileError
from graphcnn.config.suites import named_recipe
from graphcnn.evaluation.repeat_commands import train_command
from graphcnn.evaluation.split_scores import Expected, scores_of
from graphcnn.storage.run_record import read_record
from graphcnn.train import define_flags as train_flags


def report(command, checkpoints, *flags):
    """Write a report; return (its outcome, the parsed page)."""
    outcome = command("report", f"--checkpoints={checkpoints}", *flags)
    assert outcome.status == 0, outcome.err
    return outcome, read_page(outcome.out)


def test_the_numbers_are_those_of_eval(trained_copy, command):
    assert command("eval", f"--checkpoints={trained_copy}").status == 0
    outcome, page = report(command, trained_copy)
    assert "scored first" not in outcome.out
    folder = trained_copy / "tiny" / "report"
    scores = json.loads((folder / "dev.json").read_text())
    low, high = scores["intervals"]["macro_f1"]
    assert f"dev macro F1 {scores['macro_f1']:.4f} (95% interval {low:.4f} to {high:.4f})" in page.inside("p")
    keys = {"macro F1": "macro_f1", "accuracy": "accuracy", "top-2 accuracy": "top2_accuracy"}
    rows = {row[0]: row[1] for row in page.rows("score", "dev", "95% interval")}
    assert {title: float(rows[title]) for title in keys} == {
        title: pytest.approx(scores[key], abs=1e-6) for title, key in keys.items()
    }
    assert float(rows["cross-entropy"]) == pytest.approx(scores["cross_entropy"], abs=1e-6)
    per_class = page.rows("class", "precision", "recall", "F1", "images")
    expected = [
        [name, *(f"{of_class[key]:.4f}" for key in ("precision", "recall", "f1-score")), f"{of_class['support']:.0f}"]
        for name, of_class in scores["per_class"].items()  # scikit-learn's numbers
    ]
    assert sorted(per_class) == sorted(expected)
    assert [row[3] for row in per_class] == sorted(row[3] for row in per_class)
    names = list(scores["per_class"])
    matrix = page.rows("true \\ predicted", *names)
    assert matrix == [[name, *map(str, counts)] for name, counts in zip(names, scores["confusion"], strict=True)]


@pytest.mark.pictures
def test_the_examples_are_the_most_confident_mistakes_and_the_least_certain(trained_copy, command):
    _, page = report(command, trained_copy)
    with (trained_copy / "tiny" / "report" / "dev.csv").open() as file:
        images = list(csv.DictReader(file))
    wrong = [row for row in images if row["label"] != row["predicted"]]
    mistakes = sorted(wrong, key=lambda row: -float(row["probability"]))[:12]
    uncertain = sorted(images, key=lambda row: float(row["probability"]))[:12]
    shown = [text for text in page.inside("p") if text.startswith("row ")]
    assert shown == [f"row {row['row']}" for row in mistakes + uncertain]
    texts = [text for text in page.inside("p") if text.startswith("predicted: ")]
    expected = [f"predicted: {row['predicted']} ({float(row['probability']):.3f})" for row in mistakes + uncertain]
    assert texts == expected
    maps = sum(2 if row["label"] != row["predicted"] else 1 for row in mistakes + uncertain)
    assert page.of("img", "class").count("pixels") == len(shown) + maps


def damage(path, **values):
    """Return a function that replaces entries of the JSON file of a report folder."""
    return lambda folder: edit_json(folder / path, **values)


DAMAGES = {
    "missing": lambda folder: (folder / "dev.json").unlink(),
    "no JSON": lambda folder: (folder / "dev.json").write_text("{"),
    "a list": lambda folder: (folder / "dev.json").write_text("[]"),
    "another epoch": damage("dev.json", epoch=99),
    "with tta": damage("dev.json", tta=True),
    "bfloat16": damage("dev.json", precision="bfloat16"),
    "a text as score": damage("dev.json", macro_f1="<b>1</b>"),
    "no number": damage("dev.json", macro_f1=float("nan")),
    "a huge number": damage("dev.json", accuracy=10**400),
    "no intervals": damage("dev.json", intervals={}),
    "short intervals": damage("dev.json", intervals={"macro_f1": [0]}),
    "ragged confusion": damage("dev.json", confusion=[[1], [1, 2]]),
    "negative confusion": damage("dev.json", confusion=[[-1, 0, 0]] * 3),
    "another confusion": damage("dev.json", confusion=[[8, 0, 0]] * 3),
    "no predictions": lambda folder: (folder / "dev.csv").unlink(),
    "other predictions": lambda folder: (folder / "dev.csv").write_text("a,b\n1,2\n"),
    "empty predictions": lambda folder: (folder / "dev.csv").write_text(""),
    "binary predictions": lambda folder: (folder / "dev.csv").write_bytes(b"\xff\0\n"),
    "cut predictions": lambda folder: (folder / "dev.csv").write_bytes((folder / "dev.csv").read_bytes()[:300]),
}


@pytest.fixture(scope="module")
def scored(trained, tmp_path_factory):
    """Score a copy of the tiny run on its dev split; return (its report folder, what the files must agree with)."""
    root = tmp_path_factory.mktemp("scored") / "copy"
    shutil.copytree(trained[0], root, symlinks=True)
    run_quietly("eval", f"--checkpoints={root}")
    with np.load(root / "tiny" / "split.npz") as split:
        rows = split["dev_rows"]
    folder = root / "tiny" / "report"
    epoch = json.loads((folder / "dev.json").read_text())["epoch"]
    return folder, Expected(rows, 3, {"epoch": epoch, "precision": "float32", "tta": False})


@pytest.mark.parametrize("rescore", [False, True])
def test_scores_that_agree_are_used(rescore, scored):
    folder, expected = scored
    calls = []
    scores_of(folder, "dev", expected, lambda: calls.append(1), rescore)
    assert len(calls) == rescore


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES)
def test_scores_that_are_missing_damaged_or_old_are_computed_again(change, scored, tmp_path, capsys):
    original, expected = scored
    folder = tmp_path / "report"
    shutil.copytree(original, folder)
    change(folder)
    scores = scores_of(folder, "dev", expected, lambda: shutil.copytree(original, folder, dirs_exist_ok=True), False)
    assert "so the dev split is scored first" in capsys.readouterr().out
    assert scores.scores["macro_f1"] == json.loads((original / "dev.json").read_text())["macro_f1"]


@pytest.mark.parametrize("name", ["no JSON", "another epoch", "cut predictions"])
def test_files_that_do_not_agree_after_the_scoring_are_an_error(name, scored, tmp_path):
    original, expected = scored
    folder = tmp_path / "report"
    shutil.copytree(original, folder)
    with pytest.raises(FileError, match="another command has changed the files of the split"):
        scores_of(folder, "dev", expected, lambda: DAMAGES[name](folder), True)


def test_the_reliability_is_shown_if_eval_has_written_it(trained_copy, command):
    outcome, page = report(command, trained_copy)
    assert "dev.json is missing, so the dev split is scored first" in outcome.out
    folder = trained_copy / "tiny" / "report"
    error = json.loads((folder / "dev.json").read_text())["ece"]
    assert f"Expected calibration error: {error:.4f}" in page.inside("p")
    assert "reliability diagram" in page.of("img", "alt")
    (folder / "dev_reliability.png").unlink()
    edit_json(folder / "dev.json", ece=None)
    _, page = report(command, trained_copy)
    assert "reliability" not in page.ids


def test_a_config_of_a_stranger_is_text(trained_copy, command):
    versions = {"<script>": "</td><img src=x>", "nested": {"a": ["<b>"]}, "long": "x" * 100_000}
    resumed = [{"after_epoch": "<i>"}]
    edit_json(
        trained_copy / "tiny" / "config.json", versions=versions, cpu=None, resumed=resumed, recipe_name="<u>\x1b[31m"
    )
    _, page = report(command, trained_copy)
    page.check_is_self_contained()
    assert "<script>" in page.inside("th")
    assert {"</td><img src=x>", "<u>\\x1b[31m"} <= set(page.inside("td"))
    assert max(len(text) for _, text in page.texts if "{" not in text) < 1000
    assert "This version of graphcnn has no recipe of this name" in " ".join(page.inside("p"))


def test_the_test_split_and_another_file(trained_copy, tmp_path, command):
    out = tmp_path / "new" / "page.html"
    _, page = report(command, trained_copy, "--split=test", f"--out={out}")
    assert any(text.startswith("test macro F1 ") for text in page.inside("p"))
    assert "72 train, 24 dev, 24 test" in page.inside("td")
    assert (trained_copy / "tiny" / "report" / "test.json").exists()
    assert not (trained_copy / "tiny" / "report" / "report.html").exists()


@pytest.mark.pictures
def test_many_classes_have_a_picture_of_the_confusion_matrix(trained_copy, command, monkeypatch):
    monkeypatch.setattr("graphcnn.evaluation.report_sections.MATRIX_CLASSES", 2)
    monkeypatch.setattr("graphcnn.evaluation.report_sections.CLASS_ROWS", 2)
    _, page = report(command, trained_copy)
    page.check_is_self_contained()
    assert "confusion matrix" in page.of("img", "alt")
    assert "counts" not in " ".join(page.of("table", "class"))
    assert len(page.rows("class", "precision", "recall", "F1", "images")) == 2
    assert "The table has the 2 classes with the lowest F1 of 3 classes." in page.inside("p")


@pytest.mark.parametrize(
    ("recipe", "kind", "options", "expected"),
    [
        ("assignment", "first", {}, {"recipe": "assignment", "dev_split": "first", "dev_fraction": 0.25}),
        ("fast", "val/", {"fit": "crop"}, {"recipe": "fast", "dev_split": None, "dev_fraction": None, "fit": None}),
        (
            "gone",
            "stratified",
            {"fit": "pad", "skip_broken": True},
            {"recipe": None, "fit": "pad", "skip_broken": True},
        ),
        ("assignment", "first", {"label_file": "l b.csv"}, {"label_file": '/d a"ta/l b.csv', "fit": "stretch"}),
        (
            "assignment",
            "first",
            {"label_file": "/x.csv", "cache_dir": "/c"},
            {"label_file": "/x.csv", "cache_dir": "/c"},
        ),
    ],
)
def test_the_train_command_has_the_recorded_settings(recipe, kind, options, expected, tmp_path):
    run = write_run(tmp_path, "a", batch_norm=True, net="vgg_tiny", l2=0.1)
    data = {**run.config()["data"], "source": '/d a"ta', "options": options}
    edit_json(run.config_path, recipe_name=recipe, data=data, split={"kind": kind, "fraction": 0.25})
    record = read_record(run)
    values = train_flags()
    values(["train", *shlex.split(train_command(record))[2:]])
    given = {name: values[name].value if values[name].present else None for name in ("data", *expected)}
    assert given == {"data": '/d a"ta', **expected}
    base = dataclasses.asdict(named_recipe(values.recipe or "assignment").recipe)
    settings = {name: value if values[name].value is None else values[name].value for name, value in base.items()}
    assert settings | {"precision": ""} == dataclasses.asdict(record.recipe) | {"precision": ""}
