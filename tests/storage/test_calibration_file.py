"""calibration.json in a run folder: what is read from it, what is refused, and that it is part of the run."""

import json
import os

import pytest

from graphcnn.common.errors import InputError
from graphcnn.storage import calibration, checkpoint
from graphcnn.storage.calibration import Calibration, read_calibration, write_calibration
from graphcnn.storage.run import Run


@pytest.fixture
def run(trained_copy):
    return Run(trained_copy, "tiny")


@pytest.fixture
def written(run):
    """Return the temperature that was written for the best checkpoint of the run."""
    written = Calibration(1.25, False, checkpoint.variables_sha256(run, "best"))
    write_calibration(run, written, {"images": 24})
    return written


def test_a_temperature_is_read_as_it_was_written(run, written):
    assert read_calibration(run, tta=False) == written
    assert json.loads((run.path / "calibration.json").read_text())["images"] == 24


@pytest.mark.parametrize("tta", [False, True])
def test_a_missing_temperature_names_the_command(tta, run):
    with pytest.raises(InputError, match=f"eval --run=tiny --calibrate{' --tta' * tta}$"):
        read_calibration(run, tta)


HOSTILE = [  # entries that replace those of the file, or the text of the file; words of the error
    ('{"temperature": 1.5}', "no 'tta'"),
    ("[]", "list indices"),
    ("1.5", "not subscriptable"),
    ("{", "cannot be used (Expecting"),
    ("[" * 100_000, "is longer than 65,536 bytes"),
    ("[" * 50_000, "cannot be used ("),
    ('{"temperature": 1e400}', "no 'tta'"),
    (("temperature", float("nan")), "temperature is nan, expected 0.01 to 100"),
    (("temperature", float("inf")), "temperature is inf, expected 0.01 to 100"),
    (("temperature", 0.0), "temperature is 0.0, expected 0.01 to 100"),
    (("temperature", -1.0), "temperature is -1.0, expected 0.01 to 100"),
    (("temperature", 1e9), "temperature is 1000000000.0, expected 0.01 to 100"),
    (("temperature", 10**400), "expected a number, true or false, and a text"),
    (("temperature", True), "expected a number, true or false, and a text"),
    (("temperature", "1.5"), "expected a number, true or false, and a text"),
    (("temperature", None), "expected a number, true or false, and a text"),
    (("temperature", [1.5]), "expected a number, true or false, and a text"),
    (("tta", 0), "expected a number, true or false, and a text"),
    (("tta", True), "was fitted with --tta, so it does not hold without --tta"),
    (("checkpoint", None), "expected a number, true or false, and a text"),
    (("checkpoint", "0" * 64), "was fitted for another checkpoint, because the run was trained further"),
    (("checkpoint", ""), "was fitted for another checkpoint"),
]


@pytest.mark.parametrize(("change", "words"), HOSTILE, ids=lambda value: str(value)[:30])
def test_a_hostile_file_is_refused_in_one_line(change, words, run, written):
    path = run.path / "calibration.json"
    if isinstance(change, str):
        path.write_text(change)
    else:
        path.write_text(json.dumps({**written._asdict(), change[0]: change[1]}))
    with pytest.raises(InputError) as refused:
        read_calibration(run, tta=False)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", ["link", "FIFO", "folder"])
def test_a_file_that_is_not_regular_is_refused(kind, run, written, tmp_path):
    path = run.path / "calibration.json"
    path.rename(tmp_path / "elsewhere.json")
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere.json")
    elif kind == "FIFO":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(InputError, match=r"calibration\.json: "):
        read_calibration(run, tta=False)


def test_another_best_checkpoint_needs_another_temperature(run, written, monkeypatch):
    """As after a training that was continued: the link `best` leads to other variables."""
    monkeypatch.setattr(calibration.checkpoint, "variables_sha256", lambda run, which: "0" * 64)
    with pytest.raises(InputError, match=r"trained further; fit it again: \./run\.sh eval --run=tiny --calibrate$"):
        read_calibration(run, tta=False)


def test_the_file_is_part_of_the_run(run, written):
    assert run.foreign_entry() is None
    run.clear()
    assert not (run.path / "calibration.json").exists()
