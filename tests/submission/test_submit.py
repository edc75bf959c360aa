"""submit on a tiny run: its files, its verification, and files that it never replaces."""

import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from conftest import run_quietly, write_folder

from graphcnn.submission import write

GRADER = """
import sys, numpy as np, tensorflow as tf
tf1 = tf.compat.v1; tf1.disable_eager_execution()
saver = tf1.train.import_meta_graph('model.ckpt.meta')
with tf1.Session() as s:
    saver.restore(s, tf.train.latest_checkpoint('.'))
    x = np.load(sys.argv[1]).astype('float32')
    p = s.run('hypothesis:0', {'x:0': x})
    print(np.abs(p - np.load('result.npy')).max())
    kinds = {op.type for op in tf1.get_default_graph().get_operations()}
    print(any('Adam' in k or 'Gradient' in k for k in kinds), 'graphcnn' in sys.modules)
"""


@pytest.fixture(scope="module")
def written(trained, tmp_path_factory):
    """Return (a folder with submission/ and submission.zip of the tiny run, the output of `submit`)."""
    root = tmp_path_factory.mktemp("written")
    return root, run_quietly("submit", f"--checkpoints={trained[0]}", f"--out={root / 'submission'}")


@pytest.fixture
def submission(written, tmp_path):
    """Return a copy of the submission's folder, with its zip file beside it."""
    shutil.copytree(written[0], tmp_path, dirs_exist_ok=True)
    return tmp_path / "submission"


def test_a_submission_works_with_tensorflow_alone(trained, predicted, submission, written):
    """A program like the assignment's template uses the submission. It feeds x alone and does not import graphcnn."""
    assert written[1].splitlines()[-1].startswith("ready: ")
    result = np.load(submission / "result.npy")
    assert result.dtype == np.float32
    assert np.array_equal(result, predicted.softmax)
    names = {path.name for path in submission.iterdir()}
    assert {"README.md", "config.json", "history.csv", "grader.py", "model.ckpt.meta"} <= names
    with zipfile.ZipFile(submission.parent / "submission.zip") as packed:
        assert {name.removeprefix("submission/") for name in packed.namelist()} == names
    done = subprocess.run(
        [sys.executable, "-c", GRADER, trained[1] / "x_test.npy"],
        cwd=submission, capture_output=True, text=True, check=True,
    )  # fmt: skip
    difference, rest = done.stdout.splitlines()
    assert float(difference) <= 1e-5
    assert rest == "False False"


def test_the_grader_notices_a_wrong_result(trained, submission):
    result = np.load(submission / "result.npy")
    np.save(submission / "result.npy", result[::-1])
    arguments = [sys.executable, submission / "grader.py", trained[1] / "x_test.npy"]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.startswith("FAILED: largest difference ")
    assert done.stdout.endswith(", limit 1e-05\n")


@pytest.mark.parametrize(("arguments", "words"), [(["nowhere.npy"], "nowhere.npy: no such file"), ([], "images")])
def test_the_grader_refuses_bad_arguments_without_a_traceback(arguments, words, submission):
    done = subprocess.run([sys.executable, submission / "grader.py", *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_failed_verification_replaces_nothing(trained, submission, tmp_path, command, monkeypatch):
    before = {path.name: path.read_bytes() for path in submission.iterdir()}
    write_files = write.write

    def spoil(folder, *arguments):
        write_files(folder, *arguments)
        np.save(folder / "result.npy", np.load(folder / "result.npy") + np.float32(1e-3))

    monkeypatch.setattr(write, "write", spoil)
    outcome = command("submit", f"--checkpoints={trained[0]}", f"--out={submission}")
    assert outcome.status == 2
    assert "does not reproduce result.npy" in outcome.err
    assert "ready" not in outcome.out
    assert {path.name: path.read_bytes() for path in submission.iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} >= {"submission", "submission.zip"}
    assert not list(tmp_path.glob(".submission*"))


def test_a_failed_submit_keeps_a_submission_that_a_kill_left_renamed(trained, tmp_path, command, monkeypatch):
    """A kill between the two renames leaves the older submission only under its temporary name."""
    old = tmp_path / ".submission.old"
    old.mkdir()
    (old / "result.npy").write_text("the only copy")
    monkeypatch.setattr(write, "write", lambda *_: 1 / 0)
    assert command("submit", f"--checkpoints={trained[0]}", f"--out={tmp_path / 'submission'}").status == 1
    assert (old / "result.npy").read_text() == "the only copy"


def test_other_files_are_never_replaced(trained, tmp_path, command):
    out = tmp_path / "home"
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    outcome = command("submit", f"--checkpoints={trained[0]}", f"--out={out}")
    assert outcome.status == 2
    assert "thesis.tex" in outcome.err
    shutil.rmtree(out)
    with zipfile.ZipFile(tmp_path / "home.zip", "w") as packed:
        packed.writestr("home/photos.txt", "mine")
    assert "photos.txt" in command("submit", f"--checkpoints={trained[0]}", f"--out={out}").err
    (tmp_path / "home.zip").write_text("no zip")
    assert "something else" in command("submit", f"--checkpoints={trained[0]}", f"--out={out}").err
    (tmp_path / "home.zip").unlink()
    out.mkdir()
    (out / "README.md").write_text("mine, though a submission has a file of this name too")
    assert "README.md" in command("submit", f"--checkpoints={trained[0]}", f"--out={out}").err
    assert command("submit", f"--checkpoints={trained[0]}", "--out=/").status == 2


def test_without_x_test(trained, tmp_path, command):
    data = write_folder(tmp_path / "data", x_test=None, y_test=None)
    outcome = command("submit", f"--checkpoints={trained[0]}", f"--data={data}", f"--out={tmp_path / 'out'}")
    assert outcome.status == 2
    assert "so there are no test images" in outcome.err
    assert not (tmp_path / "out").exists()
