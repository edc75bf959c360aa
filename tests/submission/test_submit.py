"""submit on a tiny run: its files, its verification, and files that it never replaces."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from conftest import TINY, one_line, run_quietly, write_folder
from processes import run

from graphcnn.common import replace
from graphcnn.common.errors import InputError
from graphcnn.submission import write
from graphcnn.submission.files import SIGNATURE, archive_path, check_replaceable, previous_archive_path
from graphcnn.submission.grader import sample

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
    status, out, _ = run(submission / "grader.py", trained[1] / "x_test.npy")
    assert status == 1
    assert out.splitlines()[-1].startswith("FAILED: largest difference ")
    assert out.endswith(", limit 1e-05\n")


def test_the_grader_prints_a_warning_and_the_sha256_of_the_images(trained, submission, tmp_path):
    """A grader uses another copy of grader.py and of x_test.npy. TensorFlow's notes are not printed."""
    images = trained[1] / "x_test.npy"
    own = [write.GRADER, f"--submission={submission}", images]
    (submission / "grader.py").write_text("print('passed')")
    status, out, err = run("-I", *own, fresh=True)
    assert status == 0, err
    assert err == ""
    warning, sha256, verdict = out.splitlines()
    assert "runs the graph of the submission, and the graph is a program" in warning
    assert "proves nothing if you do not trust the author" in warning
    assert sha256 == f"x_test.npy: sha256 {hashlib.sha256(images.read_bytes()).hexdigest()}"
    assert verdict.startswith("passed: largest difference ")
    shutil.copy(images, submission)
    assert "x_test.npy is in the folder of the submission" in run(*own[:2], submission / "x_test.npy")[1]


def _sparse_rows(folder):
    """Write a result.npy of 10^8 rows that takes no space on the disk."""
    with (folder / "result.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**8, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 12 * 10**8)


def _change_row(folder, change, row=7):
    """Replace a row of result.npy by change(row)."""
    result = np.load(folder / "result.npy")
    result[row] = change(result[row])
    np.save(folder / "result.npy", result)


NO_PROBABILITIES = "of the result is no list of probabilities that sum to 1"
SPOILED = {  # name: (change of a submission, words of the verdict)
    "too many rows": (
        _sparse_rows,
        "FAILED: the result is float32 (100000000, 3), expected one float row for each of 24 images",
    ),
    "a row of NaN": (lambda folder: _change_row(folder, lambda row: row * np.nan), f"FAILED: row 7 {NO_PROBABILITIES}"),
    "a sum of 2": (lambda folder: _change_row(folder, lambda row: row * 2), f"FAILED: row 7 {NO_PROBABILITIES}"),
    "logits": (lambda folder: _change_row(folder, lambda row: row - [1, -1, 0]), f"FAILED: row 7 {NO_PROBABILITIES}"),
    "no graph": (lambda folder: (folder / "model.ckpt.meta").write_text("x"), "FAILED: the graph cannot be run ("),
}


@pytest.mark.parametrize("case", SPOILED)
def test_the_grader_fails_a_spoiled_submission_with_one_line(case, trained, submission):
    spoil, words = SPOILED[case]
    spoil(submission)
    status, out, _ = run(submission / "grader.py", trained[1] / "x_test.npy")
    assert status == 1
    assert out.splitlines()[-1].startswith(words)


@pytest.mark.parametrize(
    ("arguments", "in_sample", "words"),
    [
        ([], True, "FAILED: largest difference 0."),
        (["--rows=5"], True, "FAILED: largest difference 0."),
        (["--rows=5"], False, "passed: largest difference "),
        (["--rows=24"], False, "FAILED: largest difference 0."),
    ],
)
def test_the_grader_compares_a_sample_of_the_images(arguments, in_sample, words, trained, submission):
    row = next(row for row in range(24) if (row in sample(24, 5)) is in_sample)
    _change_row(submission, lambda values: np.roll(values, 1), row)
    _, out, _ = run(submission / "grader.py", *arguments, trained[1] / "x_test.npy")
    assert out.splitlines()[-1].startswith(words)
    assert f" over {'5 of 24' if arguments == ['--rows=5'] else 24} images" in out


@pytest.mark.parametrize(("rows", "expected"), [(None, 30), (1, 1), (29, 29), (30, 30), (1000, 30)])
def test_a_sample_has_different_rows_in_order(rows, expected):
    chosen = sample(30, rows)
    assert len(chosen) == expected
    assert (np.diff(chosen) > 0).all()
    assert 0 <= chosen.min() <= chosen.max() < 30


def test_submit_says_how_many_images_it_has_verified(trained, tmp_path, command, monkeypatch):
    monkeypatch.setattr(write, "SAMPLE", 7)
    for flags, words in (([], "7 of 24"), (["--verify=all"], "24 of 24")):
        outcome = command("submit", f"--checkpoints={trained[0]}", f"--out={tmp_path / 's'}", *flags)
        assert outcome.status == 0, outcome.err
        assert outcome.out.splitlines()[-1].endswith(f"; the graph reproduces result.npy for {words} test images")
    outcome = command("submit", f"--checkpoints={trained[0]}", "--verify=some")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert "--verify: " in outcome.err


def test_the_readme_tells_graders_to_use_their_own_files(submission):
    text = (submission / "README.md").read_text()
    assert "graphcnn/submission/grader.py --submission=FOLDER /path/to/your/x_test.npy" in text
    assert "./run.sh eval --predictions=FOLDER/result.npy" in text
    assert "proves nothing" in text


def test_test_images_without_a_npy_file_are_in_the_submission(tmp_path, command):
    """The digits have no x_test.npy, so grader.py needs the x_test.npy of the submission."""
    common = [f"--checkpoints={tmp_path / 'c'}", "--data=digits"]
    assert command("train", *common, *TINY, "--epochs=1").status == 0
    outcome = command("submit", *common, f"--out={tmp_path / 's'}")
    assert outcome.status == 0, outcome.err
    assert len(np.load(tmp_path / "s" / "x_test.npy")) == len(np.load(tmp_path / "s" / "result.npy"))
    text = (tmp_path / "s" / "README.md").read_text()
    assert "--submission=FOLDER FOLDER/x_test.npy" in text
    with zipfile.ZipFile(tmp_path / "s.zip") as packed:
        assert "s/x_test.npy" in packed.namelist()


def test_the_score_is_computed_from_the_submitted_graph(trained, trained_copy, tmp_path, command):
    """A score that the training recorded is shown beside it, and does not replace it."""
    assert command("eval", f"--checkpoints={trained_copy}").status == 0
    score = json.loads((trained_copy / "tiny/report/dev.json").read_text())["macro_f1"]
    state = trained_copy / "tiny/best/state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "best_score": 0.125}))
    manifest = trained_copy / "tiny/best/manifest.json"
    sums = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**sums, "state.json": hashlib.sha256(state.read_bytes()).hexdigest()}))
    out = tmp_path / "submission"
    outcome = command("submit", "--run=tiny", f"--checkpoints={trained_copy}", f"--out={out}")
    assert outcome.status == 0, outcome.err
    assert "dev macro F1 0.125000 in training" in outcome.out
    assert f"dev macro F1 of the submitted graph: {score:.6f} (in float32)" in outcome.out
    readme = (out / "README.md").read_text()
    assert f"Dev macro F1 of this graph: {score:.6f} (measured by `submit` in float32)." in readme
    assert "dev macro F1 0.125000 (measured during training" in readme
    assert json.loads((out / "config.json").read_text())["submission"] == {"dev_macro_f1": score, "tta": False}
    again = command("submit", "--run=tiny", f"--checkpoints={trained_copy}", f"--out={out}")
    assert f"recipe assignment, dev macro F1 {score:.6f}, data" in again.out


def test_class_names_and_records_are_those_of_the_run(trained, submission):
    assert (submission / "history.csv").read_bytes() == (trained[0] / "tiny" / "history.csv").read_bytes()
    config = json.loads((submission / "config.json").read_text())
    assert config.pop("submission").keys() == {"dev_macro_f1", "tta"}
    assert config == json.loads((trained[0] / "tiny" / "config.json").read_text())
    names = json.loads((submission / "config.json").read_text())["class_names"]
    listed = "".join(f"- {k}: {name}\n" for k, name in enumerate(names))
    assert (submission / "README.md").read_text().endswith(f"Classes:\n{listed}")


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
        np.save(folder / "result.npy", 0.9 * np.load(folder / "result.npy") + np.float32(0.1 / 3))

    monkeypatch.setattr(write, "write", spoil)
    outcome = command("submit", f"--checkpoints={trained[0]}", f"--out={submission}")
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert "does not reproduce result.npy (FAILED: largest difference 0.0" in outcome.err
    assert "ready" not in outcome.out
    assert {path.name: path.read_bytes() for path in submission.iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} >= {"submission", "submission.zip"}
    assert not list(tmp_path.glob(".submission*"))


@pytest.mark.parametrize("name", [".submission.old", ".submission.new"])
def test_submit_keeps_hidden_folders_of_the_user(name, trained, submission, tmp_path, command):
    """.submission.old may also be a submission that a killed submit of an older version renamed."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "notes").write_text("the only copy")
    outcome = command("submit", f"--checkpoints={trained[0]}", f"--out={submission}")
    assert outcome.status == 0, outcome.err
    assert (tmp_path / name / "notes").read_text() == "the only copy"


def _link(path):
    path.rename(path.with_name("target"))
    path.symlink_to("target")


def _fifo(path):
    path.unlink()
    os.mkfifo(path)


HOSTILE = {  # name: (path beside the submission, what is there, words of the message)
    "the folder is a link": ("submission", _link, "submission is a symbolic link, expected a folder"),
    "the zip file is a link": ("submission.zip", _link, "submission.zip is a symbolic link, expected a regular file"),
    "the zip file is a FIFO": ("submission.zip", _fifo, "submission.zip is a FIFO, expected a regular file"),
    "a file is a link": ("submission/README.md", _link, "submission contains README.md (a symbolic link)"),
    "a file is a FIFO": ("submission/history.csv", _fifo, "submission contains history.csv (a FIFO)"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_links_and_irregular_files_are_not_replaced(case, trained, submission, tmp_path, command, monkeypatch):
    name, change, words = HOSTILE[case]
    path = tmp_path / name
    change(path)
    mode = path.lstat().st_mode
    monkeypatch.setattr(write, "write", lambda *_: 1 / 0)  # it is refused before anything is computed
    outcome = command("submit", f"--checkpoints={trained[0]}", f"--out={submission}")
    assert outcome.status == 2
    assert one_line(outcome.err)
    assert words in outcome.err
    assert path.lstat().st_mode == mode


def test_files_added_during_the_prediction_are_kept(trained, submission, command, monkeypatch):
    write_files = write.write

    def add(folder, *arguments):
        write_files(folder, *arguments)
        (submission / "NOTES.md").write_text("mine")

    monkeypatch.setattr(write, "write", add)
    outcome = command("submit", f"--checkpoints={trained[0]}", f"--out={submission}")
    assert outcome.status == 2
    assert "contains NOTES.md" in outcome.err
    assert (submission / "NOTES.md").read_text() == "mine"


KILLED = """
import os, signal, sys
from pathlib import Path
from graphcnn.common import replace
from graphcnn.submission.files import SIGNATURE, check_replaceable, replace_submission
at, exchanges, out, content = int(sys.argv[1]), sys.argv[2] == "True", Path(sys.argv[3]), sys.argv[4]
seen, exchange = 0, replace._exchange

def step():
    global seen
    seen += 1
    if seen == at:
        os.kill(os.getpid(), signal.SIGKILL)

def watch(event, arguments):
    if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"):
        step()

def watched_exchange(*paths):
    step()
    done = exchanges and exchange(*paths)
    step()
    return done

replace._exchange = watched_exchange
sys.addaudithook(watch)
replace.recover_folder(out)
check_replaceable(out)
with replace_submission(out) as folder:
    for name in SIGNATURE:
        (folder / name).write_text(content)
"""


def _zipped(archive):
    """Return the contents of the files in the zip file of KILLED; an empty set without it."""
    if not archive.exists():
        return set()
    with zipfile.ZipFile(archive) as packed:
        return {packed.read(f"submission/{name}").decode() for name in SIGNATURE}


@pytest.mark.parametrize("exchanges", [True, False])
def test_sigkill_at_each_operation_leaves_the_old_or_the_new_submission(exchanges, tmp_path, monkeypatch):
    """Where the system cannot exchange two names, the next submit renames the old folder back."""
    monkeypatch.setattr(replace, "YOUNG_SECONDS", 0)
    out = tmp_path / "out" / "submission"
    archive = archive_path(out)
    assert run("-c", KILLED, 0, exchanges, out, "0")[0] == 0
    content, status, without, at = {"0"}, -9, 0, 0
    assert not previous_archive_path(out).exists()
    while status == -9:
        at += 1
        before = _zipped(archive)
        status, _, err = run("-c", KILLED, at, exchanges, out, at)
        content.add(str(at))
        zipped, kept = _zipped(archive), _zipped(previous_archive_path(out))
        if not out.exists():
            without += 1
            replace.recover_folder(out)
        written = {(out / name).read_text() for name in SIGNATURE}
        assert len(zipped) == len(written) == 1 >= len(kept)
        assert zipped | written | kept <= content
        for path in (out, archive, previous_archive_path(out)):  # the next process has the same operations as this one
            replace.remove_leftovers(path)
    assert status == 0, err
    assert written == zipped == {str(at)}
    assert at > 20
    assert without == (0 if exchanges else 1)
    names = [path.name for path in sorted(out.parent.iterdir())]
    assert names == ["submission", "submission.previous.zip", "submission.zip"]
    assert kept == before


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


def test_files_of_the_operating_system_do_not_block_a_new_submission(submission):
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._result.npy"):
        (submission / name).touch()
    with zipfile.ZipFile(submission.with_name("submission.zip"), "a") as packed:
        packed.writestr("submission/.DS_Store", "")
        packed.writestr("__MACOSX/submission/._result.npy", "")
    check_replaceable(submission)
    (submission / "._mine").mkdir()
    with pytest.raises(InputError, match=r"contains ._mine \(a folder\)"):
        check_replaceable(submission)


def test_without_x_test(trained, tmp_path, command):
    data = write_folder(tmp_path / "data", x_test=None, y_test=None)
    outcome = command("submit", f"--checkpoints={trained[0]}", f"--data={data}", f"--out={tmp_path / 'out'}")
    assert outcome.status == 2
    assert "so there are no test images" in outcome.err
    assert not (tmp_path / "out").exists()
