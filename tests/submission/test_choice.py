"""Which run submit takes, what it says about it, and what happens to the older submission."""

import json
import shutil
import zipfile

import pytest
from conftest import TINY, one_line, tiny_arrays, write_folder

from graphcnn.common.files import sha256_of
from graphcnn.data import sources
from graphcnn.storage import run as storage
from graphcnn.submission import write


@pytest.fixture
def submit(trained_copy, tmp_path, command, monkeypatch):
    """Return a function that submits from the copy of the tiny run; the grader is not called."""
    monkeypatch.setattr(write, "verify", lambda *_: "passed")

    def run(*arguments):
        return command("submit", f"--checkpoints={trained_copy}", f"--out={tmp_path / 'out'}", *arguments)

    return run


def _toy(root, folder, command, *flags):
    """Train one epoch on other data; this run is then the newest."""
    x, y = tiny_arrays(seed=7)
    data = write_folder(folder, x_train=x, y_train=y)
    outcome = command("train", f"--data={data}", f"--checkpoints={root}", "--run=toy", *TINY, "--epochs=1", *flags)
    assert outcome.status == 0, outcome.err
    return data


def _state(root, name, **changes):
    """Change the state of a run's checkpoints, and their manifests so that they fit."""
    for link in ("best", "last"):
        path, manifest = root / name / link / "state.json", root / name / link / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {path.name: sha256_of(path)}))


def _copy_run(root, name, **changes):
    """Copy the tiny run as a later one, with another state."""
    shutil.copytree(root / "tiny", root / name, symlinks=True)
    path = root / name / "config.json"
    config = json.loads(path.read_text())
    config["started"]["number"] += 1
    path.write_text(json.dumps(config))
    if changes:
        _state(root, name, **changes)


def test_the_newest_run_must_be_of_the_folder_data(submit, trained, trained_copy, tmp_path, command, monkeypatch):
    _toy(trained_copy, tmp_path / "toy", command)
    monkeypatch.setattr(sources, "DEFAULT_FOLDER", trained[1])
    outcome = submit()
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert f"the newest run, toy, was trained on {tmp_path / 'toy'}, not on the data in {trained[1]}" in outcome.err
    assert "--run=tiny" in outcome.err
    assert not (tmp_path / "out").exists()
    assert submit("--run=toy").status == 0


def test_the_newest_run_must_be_of_the_data_of_the_older_submission(submit, trained_copy, tmp_path, command):
    assert submit().status == 0
    before = (tmp_path / "out.zip").read_bytes()
    toy = _toy(trained_copy, tmp_path / "toy", command)
    outcome = submit()
    assert outcome.status == 2
    assert "not on the data of the older submission" in outcome.err
    assert "--run=tiny" in outcome.err
    assert (tmp_path / "out.zip").read_bytes() == before
    assert submit(f"--data={toy}").status == 0


def test_submit_prints_the_run_and_keeps_the_older_zip_file(submit, trained, trained_copy, tmp_path):
    first = submit()
    assert first.status == 0, first.err
    score = json.loads((trained_copy / "tiny" / "best" / "state.json").read_text())["best_score"]
    (line,) = (line for line in first.out.splitlines() if line.startswith("run: tiny"))
    assert f"recipe assignment, data {trained[1]}, epoch " in line
    assert line.endswith(f"dev macro F1 {score:.6f} in training")
    assert "replaces" not in first.out
    assert "note:" not in first.out
    old = (tmp_path / "out.zip").read_bytes()

    _copy_run(trained_copy, "other")
    second = submit("--run=tiny,other")
    assert second.status == 0, second.err
    replaced = (
        f"this replaces the older submission {tmp_path / 'out'} (recipe assignment, dev macro F1 {score:.6f}, data "
    )
    assert replaced in second.out
    assert "kept as out.previous.zip" in second.out
    assert (tmp_path / "out.previous.zip").read_bytes() == old
    assert (tmp_path / "out.zip").read_bytes() != old
    assert "(an ensemble of 2 runs, dev macro F1 " in submit().out


def test_a_foreign_previous_zip_file_is_not_replaced(submit, tmp_path):
    with zipfile.ZipFile(tmp_path / "out.previous.zip", "w") as packed:
        packed.writestr("out/photos.txt", "mine")
    outcome = submit()
    assert outcome.status == 2
    assert "out.previous.zip contains photos.txt and is not an older submission" in outcome.err


def test_a_better_run_on_the_same_dev_rows_is_named(submit, trained_copy):
    _copy_run(trained_copy, "better", best_score=2.0)
    _copy_run(trained_copy, "worse", best_score=-1.0)
    outcome = submit("--run=tiny")
    assert (
        "note: run better (finished) has a higher dev macro F1 in training on the same dev rows, 2.000000"
        in outcome.out
    )
    assert "add --run=better" in outcome.out
    assert "worse" not in outcome.out
    assert "note:" not in submit("--run=better").out


def test_a_better_score_on_other_dev_rows_is_not_compared(submit, trained_copy):
    _copy_run(trained_copy, "better", best_score=2.0)
    run = storage.Run(trained_copy, "better")
    run.create(run.config(), run.dev_rows(96)[1:])
    assert "note:" not in submit("--run=tiny").out


def test_unfinished_runs_are_mentioned(submit, trained_copy):
    _copy_run(trained_copy, "later", epoch=1, best_epoch=1)
    outcome = submit("--run=later")
    assert "note: run later is not finished (1 of 2 epochs; it is still training or was interrupted)" in outcome.out
    (trained_copy / "later" / "best").unlink()
    (trained_copy / "later" / "last").unlink()
    outcome = submit()
    assert "run: tiny" in outcome.out
    assert "note: run later was started later on the same data and is not finished (0 of 2 epochs; " in outcome.out


def test_a_damaged_run_is_no_obstacle(submit, trained_copy):
    _copy_run(trained_copy, "damaged", best_score=2.0)
    (trained_copy / "damaged" / "config.json").write_text("{")
    outcome = submit("--run=tiny")
    assert outcome.status == 0, outcome.err
    assert "note:" not in outcome.out
