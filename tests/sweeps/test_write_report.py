"""The report of a suite: its runs, ensembles and predictions."""

import json
from types import SimpleNamespace

import pytest
from PIL import Image

from graphcnn.common.errors import InputError
from graphcnn.config.recipe import Recipe
from graphcnn.config.suite import Ensemble, Experiment, Suite
from graphcnn.storage.select_run import ensemble_folder
from graphcnn.sweeps import write_report
from graphcnn.sweeps.child import Ending
from graphcnn.sweeps.job import Standing
from graphcnn.sweeps.setup import Setup, SuiteData
from graphcnn.sweeps.write_report import Report

MEMBERS = [{"run": "s/a-seed51", "macro_f1": 0.4}, {"run": "s/b-seed51", "macro_f1": 0.6}]
SUITE = Suite(
    source="a test", unit="%", base=Recipe(), dev_fraction=0.2,
    experiments={name: Experiment(description=name) for name in ("a", "b")},
    ensembles=(Ensemble(description="both", members=("a", "b"), published=0.9),),
)  # fmt: skip


class Finished:
    """Replaces a Scheduler whose jobs are all done. Its eval of an ensemble writes invented scores."""

    def __init__(self, setup, status=0):
        self.setup, self.status, self.called, self.unreadable = setup, status, [], None
        self.runner = self

    def standing(self, job):
        return Standing("done")

    def result(self, job):
        run = job.run
        if run.name == self.unreadable:
            raise InputError(f"{run.path}/report/dev.json: is not a report")
        return {"run": run.name, "seed": int(run.name[-2:]), "epochs": 50}

    def run(self, command, flags, log, on_epoch):
        self.called.append((command, flags))
        folder = ensemble_folder(self.setup.root, flags[0].removeprefix("--run=").split(","))
        folder.mkdir(parents=True, exist_ok=True)
        scores = {"accuracy": 0.5, "macro_f1": 0.7, "members": MEMBERS, "ensemble": "mean", "tta": False}
        for split in ("dev", "test"):
            (folder / f"{split}.json").write_text(json.dumps(scores))
        return Ending(self.status, "failed as told")


@pytest.fixture
def report(tmp_path, monkeypatch):
    """Return a function: report(names, status of eval) -> (Report, Finished, written contents)."""
    contents = []
    monkeypatch.setattr(write_report.report, "summary", lambda suite, results: {"results": results})
    monkeypatch.setattr(write_report.report, "best_experiment", lambda contents: "a")

    def write(folder, content, results):
        contents.append(content)
        (folder / "report.md").write_text("the report")

    monkeypatch.setattr(write_report.report, "write", write)

    def make(names, status=0, image_folder=None):
        data = SuiteData(("--data=there",), {}, {}, {}, "rows", has_test_labels=True, image_folder=image_folder)
        setup = Setup("s", SUITE, tmp_path, data)
        for name in names:
            (setup.folder / name / "report").mkdir(parents=True)
            (setup.folder / name / "report" / "dev.json").write_text("{}")
        setup.folder.mkdir(exist_ok=True)
        scheduler = Finished(setup, status)
        return Report(scheduler, {name: Recipe(epochs=20) for name in ("a", "b")}), scheduler, contents

    return make


def test_report_has_all_seeds_from_the_recipe_seed_in_order(report):
    suite_report, _, contents = report(["a-seed52", "a-seed51", "a-seed50", "a-seed51x", "ab-seed51", "b-seed53"])
    suite_report.write("command", [])
    found = contents[0]["results"]
    assert {name: [result["seed"] for result in results] for name, results in found.items()} == {
        "a": [51, 52],
        "b": [53],
    }
    assert contents[0]["longer"] == ["a", "b"]
    assert contents[0]["command"] == "command"


def test_an_unreadable_run_is_reported_once_and_left_out(report, capsys):
    suite_report, scheduler, contents = report(["a-seed51", "b-seed51"])
    scheduler.unreadable = "s/b-seed51"
    suite_report.write("command", [])
    assert list(contents[0]["results"]) == ["a"]
    assert suite_report.failed == ["s/b-seed51"]
    assert "s/b-seed51: this run is not in the report: " in capsys.readouterr().out
    again, scheduler, _ = report([])
    scheduler.unreadable = "s/b-seed51"
    again.write("command", [SimpleNamespace(run=SimpleNamespace(name="s/b-seed51"))])
    assert again.failed == []  # the job has said it
    assert "not in the report" not in capsys.readouterr().out


def test_without_a_finished_run_an_earlier_report_is_deleted(report, tmp_path, capsys):
    suite_report, _, contents = report([])
    (tmp_path / "s/report.md").write_text("of an earlier call")
    suite_report.write("command", [])
    assert contents == []
    assert not (tmp_path / "s/report.md").exists()
    assert "there is no report" in capsys.readouterr().out


def test_an_earlier_report_is_kept_if_a_run_cannot_be_read(report, tmp_path, capsys):
    suite_report, scheduler, contents = report(["b-seed51"])
    scheduler.unreadable = "s/b-seed51"
    (tmp_path / "s/report.md").write_text("of an earlier call")
    suite_report.write("command", [])
    assert contents == []
    assert (tmp_path / "s/report.md").read_text() == "of an earlier call"
    assert "the report is not changed" in capsys.readouterr().out


def test_ensembles_are_scored_by_eval_once(report):
    suite_report, scheduler, contents = report(["a-seed51", "b-seed51"])
    suite_report.write("command", [])
    flags = [
        "--run=s/a-seed51,s/b-seed51",
        f"--checkpoints={suite_report.setup.root}",
        "--split=dev,test",
        "--data=there",
    ]
    assert scheduler.called == [("eval", flags)]
    assert contents[0]["ensembles"] == [
        {
            "ensemble": "both", "members": ["a", "b"], "published": 0.9, "dev_accuracy": 0.5, "dev_macro_f1": 0.7,
            "test_accuracy": 0.5, "test_macro_f1": 0.7, "best_member": "s/b-seed51", "best_member_dev_macro_f1": 0.6,
        }
    ]  # fmt: skip
    suite_report.write("command", [])
    assert len(scheduler.called) == 1
    (suite_report.setup.folder / "a-seed51/report/dev.json").write_text("{ }")  # scored again
    suite_report.write("command", [])
    assert len(scheduler.called) == 2


def test_an_ensemble_that_cannot_be_scored_is_reported(report, capsys):
    suite_report, _, contents = report(["a-seed51", "b-seed51"], status=2)
    suite_report.write("command", [])
    assert suite_report.failed == ["both"]
    assert contents[0]["ensembles"] == []
    assert "ensemble: both: failed: failed as told" in capsys.readouterr().out


def test_an_ensemble_s_file_that_cannot_be_read_fails_only_the_ensemble(report, monkeypatch, capsys):
    suite_report, _, contents = report(["a-seed51", "b-seed51"])

    def failing(path, **_):
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(write_report, "read_json", failing)
    suite_report.write("command", [])
    assert suite_report.failed == ["both"]
    assert contents[0]["ensembles"] == []
    assert "dev.json: Input/output error" in capsys.readouterr().out


def test_report_shows_predictions_for_two_images_of_each_class(report, tmp_path, monkeypatch):
    for name in ("ants", "bees"):
        (tmp_path / "photos/test" / name).mkdir(parents=True)
        for n in range(3):
            Image.new("RGB", (4, 4)).save(tmp_path / "photos/test" / name / f"{n}.JPG", "JPEG")
        (tmp_path / "photos/test" / name / "notes.txt").write_text("")
        (tmp_path / "photos/test" / name / "._0.JPG").write_bytes(b"of macOS")
        (tmp_path / "photos/test" / name / ".hidden.JPG").write_bytes(b"")
        (tmp_path / "photos/test" / name / "+broken.JPG").write_bytes(b"skipped with --skip_broken")
    (tmp_path / "photos/test/.hidden").mkdir()
    called, photos = [], tmp_path / "photos"
    monkeypatch.setattr(
        write_report, "output_lines", lambda *arguments: called.append(arguments) or [f"{photos}/0.JPG: ants 0.9"]
    )
    suite_report, _, contents = report(["a-seed51"], image_folder=photos)
    suite_report.write("command", [])
    images = ["test/ants/0.JPG", "test/ants/1.JPG", "test/bees/0.JPG", "test/bees/1.JPG"]
    flags = ["--run=s/a-seed51", f"--checkpoints={tmp_path}", *(f"{photos}/{image}" for image in images)]
    assert called == [("predict", flags)]
    assert contents[0]["predictions"] == ["0.JPG: ants 0.9"]


def test_failed_predictions_are_reported(report, tmp_path, monkeypatch, capsys):
    """`predict` fails because the run has no checkpoint. The rest of the report is written."""
    (tmp_path / "photos/test/ants").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "photos/test/ants/0.png")
    suite_report, _, contents = report(["a-seed51"], image_folder=tmp_path / "photos")
    suite_report.write("command", [])
    assert contents[0]["predictions"] == []
    assert suite_report.failed == ["predictions of s/a-seed51"]
    said = capsys.readouterr().out
    assert "predictions of s/a-seed51: failed: predict ended with status 2: " in said
    assert "--run=s/a-seed51: no such run" in said
