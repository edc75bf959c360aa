r"""Paths with *, ?, [ and \, which TensorFlow takes as wildcards: what is written there can be read again."""

import shutil

import numpy as np
import pytest

from graphcnn.ops.tf1 import session, tf1
from graphcnn.ops.wildcards import without_wildcards

NAMES = ("a [1]", "a*", "a?", "a\\b", "a [")
WILD = "runs [1]*?\\x"


def save(prefix, value):
    """Save a checkpoint with one variable."""
    with tf1.Graph().as_default() as graph, session(graph) as running:
        variable = tf1.get_variable("v", initializer=np.float32(value))
        running.run(variable.initializer)
        tf1.train.Saver().save(running, str(prefix), write_meta_graph=False, write_state=False)


def restored(prefix):
    """Return the value of the variable in a checkpoint."""
    with tf1.Graph().as_default() as graph, session(graph) as running:
        variable = tf1.get_variable("v", initializer=np.float32(9))
        tf1.train.Saver().restore(running, prefix)
        return running.run(variable)


@pytest.mark.parametrize("of", ["folder", "prefix"])
@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_is_restored(name, of, tmp_path):
    prefix = tmp_path / name / "model" if of == "folder" else tmp_path / name
    prefix.parent.mkdir(exist_ok=True)
    save(prefix, 5)
    with without_wildcards(prefix) as readable:
        assert restored(readable) == 5


@pytest.fixture
def wild(trained_copy, trained, tmp_path, monkeypatch):
    """Return the current folder, WILD, with a copy of the tiny run in runs/ and of its data in data/."""
    folder = tmp_path / WILD
    shutil.copytree(trained_copy, folder / "runs", symlinks=True)
    shutil.copytree(trained[1], folder / "data")
    monkeypatch.chdir(folder)
    return folder


def test_eval_and_resume(wild, command):
    common = ["--checkpoints=runs", "--run=tiny", "--data=data"]
    outcome = command("eval", *common)
    assert (outcome.status, outcome.err) == (0, "")
    assert command("train", *common, "--resume", "--epochs=3").status == 0
    initial = ["--net=vgg_tiny", "--image_size=16", "--batch_size=16", "--weights=tiny", "--epochs=1", "--run=b"]
    outcome = command("train", "--checkpoints=runs", "--data=data", *initial)
    assert (outcome.status, outcome.err) == (0, "")
    prefix = [f"--weights={wild / 'runs' / 'tiny' / 'best' / 'model.ckpt'}", "--run=c"]
    outcome = command("train", "--checkpoints=runs", "--data=data", *initial, *prefix)
    assert (outcome.status, outcome.err) == (0, "")


def test_submit(wild, command):
    """submit runs grader.py in the new folder."""
    outcome = command("submit", "--checkpoints=runs", "--run=tiny", "--data=data", "--out=submission")
    assert (outcome.status, outcome.err) == (0, "")


@pytest.mark.parametrize("kind", ["savedmodel", "tflite", "npz"])
def test_export(kind, wild, command):
    outcome = command("export", f"--format={kind}", "--checkpoints=runs", "--run=tiny", "--data=data", "--out=exported")
    assert (outcome.status, outcome.err) == (0, "")
