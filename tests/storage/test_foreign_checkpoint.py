"""Checkpoints of strangers: a crafted index ends a child process, and the user gets one line."""

import hashlib
import json
import os

import numpy as np
import processes
import pytest
from checkpoint_files import changed_index
from conftest import TINY, one_line

from graphcnn.common.errors import InputError
from graphcnn.storage import checkpoint, foreign_checkpoint
from graphcnn.storage.run import Run


def negative(entry):
    entry.shape.dim[0].size = -5


def overflow(entry):
    entry.shape.dim[0].size = 2**62


def unknown_type(entry):
    entry.dtype = 99


def rank(entry):
    for _ in range(300):
        entry.shape.dim.add().size = 1


def slices(entry):
    part = entry.slices.add()
    for _ in entry.shape.dim:
        part.extent.add().start = 5


def too_large(entry):
    entry.shape.dim[0].size = 2**38


CRAFTED = {
    negative: "crashed (signal 6)",
    overflow: "crashed (signal 6)",
    rank: "crashed (signal 6)",
    unknown_type: "(signal 6)|unknown type",
    slices: "crashed (signal 6)",
    too_large: "declares a tensor that is larger than its files",
}


@pytest.fixture(autouse=True)
def forked(monkeypatch, tmp_path):
    """Fork the child process, and give each test a record of its own. Return the commands of the child processes."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return processes.fork_checks(monkeypatch)


def craft(folder, change):
    """Change the index of a checkpoint, and its manifest so that it fits."""
    index, manifest = folder / "model.ckpt.index", folder / "manifest.json"
    index.write_bytes(changed_index(index.read_bytes(), change))
    hashes = json.loads(manifest.read_text()) | {index.name: hashlib.sha256(index.read_bytes()).hexdigest()}
    manifest.write_text(json.dumps(hashes))


def read(run):
    return checkpoint.read_variables(run, "best", lambda name, shape: True).arrays


@pytest.mark.parametrize("change", CRAFTED, ids=lambda change: change.__name__)
def test_crafted_indexes_are_refused(change, trained_copy):
    run = Run(trained_copy, "tiny")
    craft(run.path / "best", change)
    with pytest.raises(InputError) as caught:
        read(run)
    assert any(words in str(caught.value) for words in CRAFTED[change].split("|")), caught.value
    assert str(run.path) in str(caught.value)


def test_eval_ends_with_one_line(trained_copy, command):
    craft(trained_copy / "tiny" / "best", negative)
    outcome = command("eval", f"--checkpoints={trained_copy}", "--run=tiny")
    assert (outcome.status, one_line(outcome.err)) == (2, True), outcome.err
    assert "model.ckpt: TensorFlow's reader crashed (signal" in outcome.err


def test_weights_of_a_prefix_are_checked(trained_copy, trained, command, forked):
    prefix = trained_copy / "tiny" / "epoch-0002" / "model.ckpt"
    arguments = ["train", f"--data={trained[1]}", f"--checkpoints={trained_copy}", f"--weights={prefix}", *TINY]
    assert command(*arguments, "--run=a", "--epochs=1").status == 0
    assert command(*arguments, "--run=b", "--epochs=1").status == 0
    assert len(forked) == 1
    index = prefix.with_name("model.ckpt.index")
    index.write_bytes(changed_index(index.read_bytes(), slices))
    outcome = command(*arguments, "--run=c")
    assert (outcome.status, one_line(outcome.err)) == (2, True), outcome.err
    assert "TensorFlow's reader crashed (signal" in outcome.err


def test_a_checkpoint_is_checked_once(trained_copy, forked, capfd):
    run = Run(trained_copy, "tiny")
    first, second = read(run), read(run)
    assert all(np.array_equal(first[name], array) for name, array in second.items())
    assert len(forked) == 1
    assert capfd.readouterr().out.count("checking a checkpoint that is not recorded as yours") == 1


def test_own_checkpoints_are_not_checked(data_folder, tmp_path, command, forked):
    arguments = [f"--data={data_folder}", f"--checkpoints={tmp_path / 'runs'}"]
    assert command("train", *arguments, "--run=mine", *TINY, "--epochs=1").status == 0
    assert command("train", *arguments, "--run=mine", *TINY, "--epochs=2", "--resume").status == 0
    assert command("eval", *arguments, "--run=mine").status == 0
    assert not forked


def test_unreadable_checkpoints_get_the_error_of_the_reader(trained_copy, forked):
    run = Run(trained_copy, "tiny")

    def sized(entry):
        entry.size += 1

    craft(run.path / "best", sized)
    for _ in range(2):
        with pytest.raises(InputError, match=r"cannot be read .*Invalid size"):
            read(run)
    assert len(forked) == 2, "it is not recorded"


def test_the_record_is_bounded_and_optional(monkeypatch, tmp_path):
    path = tmp_path / "state" / "graphcnn" / "checkpoints"
    monkeypatch.setattr(foreign_checkpoint, "RECORD_BYTES", 1000)
    for number in range(40):
        foreign_checkpoint.record(f"{number:064x}")
    assert path.stat().st_size <= 1065
    assert foreign_checkpoint._is_recorded(f"{39:064x}") and not foreign_checkpoint._is_recorded(f"{0:064x}")
    path.unlink()
    os.mkfifo(path)
    foreign_checkpoint.record("0" * 64)
    assert not foreign_checkpoint._is_recorded("0" * 64)
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/none")
    foreign_checkpoint.record("0" * 64)
    assert not foreign_checkpoint._is_recorded("0" * 64)
