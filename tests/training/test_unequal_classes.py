"""Class weights and balanced sampling on the command line."""

import json

import numpy as np
import pytest
from conftest import TINY, one_line, tiny_arrays, write_folder


@pytest.fixture
def unequal(tmp_path):
    """A folder of 120 images, of which every tenth row of class 2 is kept."""
    x, y = tiny_arrays(rows=120)
    kept = (y[:, 0] != 2) | (np.arange(120) % 30 == 2)
    return write_folder(tmp_path / "data", x_train=x[kept], y_train=y[kept])


def config(root, name):
    return json.loads((root / name / "config.json").read_text())


def test_weights_of_a_file_are_recorded_and_resumed(unequal, tmp_path, command, monkeypatch):
    """A resumed run needs no file, and ends with the bytes of a run that was not interrupted."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.json").write_text(json.dumps({"0": 1, "1": 1, "2": 8}))
    common = [f"--data={unequal}", f"--checkpoints={tmp_path / 'runs'}", *TINY, "--dev_split=stratified"]
    weighted = [*common, "--class_weights=w.json"]
    assert command("train", *weighted, "--run=whole", "--epochs=2").status == 0
    assert command("train", *weighted, "--run=halves", "--epochs=1").status == 0
    assert command("train", *common, "--run=plain", "--epochs=2").status == 0
    (tmp_path / "w.json").unlink()
    outcome = command("train", *weighted, "--run=halves", "--epochs=2", "--resume")
    assert outcome.status == 0, outcome.err
    files = [tmp_path / "runs" / name / "last" / "model.ckpt.data-00000-of-00001" for name in ("whole", "halves")]
    assert files[0].read_bytes() == files[1].read_bytes()
    recorded = config(tmp_path / "runs", "halves")["class_weights"]
    assert np.array(recorded) / recorded[0] == pytest.approx([1, 1, 8])
    assert config(tmp_path / "runs", "plain")["class_weights"] is None
    assert files[0].read_bytes() != files[0].parents[2].joinpath("plain", "last", files[0].name).read_bytes()
    for damaged in ([1, 2], [1, 2, 0], [1, 2, "3"], 5):
        path = tmp_path / "runs" / "halves" / "config.json"
        path.write_text(json.dumps({**config(tmp_path / "runs", "halves"), "class_weights": damaged}))
        outcome = command("train", *common, "--run=halves", "--resume")
        assert (outcome.status, one_line(outcome.err)) == (2, True)
        assert "is not what train writes" in outcome.err or "config.json" in outcome.err


@pytest.mark.parametrize("flag", ["--class_weights=balanced", "--class_weights=sqrt", "--sampling=balanced"])
def test_they_change_the_training_of_unequal_classes(flag, unequal, tmp_path, command):
    common = [f"--data={unequal}", f"--checkpoints={tmp_path / 'runs'}", *TINY, "--dev_split=stratified", "--epochs=1"]
    plain, other = command("train", *common, "--run=plain"), command("train", *common, "--run=other", flag)
    assert (plain.status, other.status) == (0, 0), other.err
    suggestion = "class 0 has 30 training images, class 2 only 3; to give small classes more weight, add"
    assert suggestion in plain.out
    assert "more weight" not in other.out
    files = [tmp_path / "runs" / name / "last" / "model.ckpt.data-00000-of-00001" for name in ("plain", "other")]
    assert files[0].read_bytes() != files[1].read_bytes()


REFUSED = {  # flags: words of the message
    ("--class_weights=heavy",): "--class_weights: unknown name 'heavy'",
    ("--class_weights=sqrt", "--sampling=balanced"): "excludes --sampling=balanced",
    ("--sampling=even",): "--sampling: unknown name 'even'",
    ("--class_weights=missing.json",): "missing.json: no such file",
}


@pytest.mark.parametrize("flags", REFUSED)
def test_refused(flags, unequal, tmp_path, command):
    outcome = command("train", f"--data={unequal}", f"--checkpoints={tmp_path / 'runs'}", *TINY,
                      "--dev_split=stratified", *flags)  # fmt: skip
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert REFUSED[flags] in outcome.err
    assert not (tmp_path / "runs").exists()
