"""grade at level `file`: scores, tables, and submissions that are made to do harm."""

import csv
import hashlib
import json
import sys
import time
import zipfile

import numpy as np
import pytest
from class_folders import (
    HOSTILE,
    LABELS,
    NAMES,
    ROWS,
    honest,
    npy,
    softmax,
    write_folder,
    write_labels,
    write_zip,
)
from conftest import one_line
from html_pages import ParsedPage
from processes import run
from sklearn.metrics import f1_score

from graphcnn.common import progress
from graphcnn.common.errors import RefusedSubmission
from graphcnn.grading.contents import open_contents


@pytest.fixture
def submissions(tmp_path):
    """Return an empty folder for submissions, beside y.npy."""
    write_labels(tmp_path / "y.npy")
    (tmp_path / "subs").mkdir()
    return tmp_path / "subs"


@pytest.fixture
def grade(submissions, command):
    """Grade the folder of submissions; return the Outcome of the command."""
    root = submissions.parent

    def run_grade(*flags, path=submissions):
        return command("grade", path, f"--labels={root / 'y.npy'}", f"--out={root / 'grades'}", *flags)

    return run_grade


def results(submissions):
    """Return {name: content of its results.json}."""
    files = (submissions.parent / "grades").glob("*/results.json")
    return {content["name"]: content for content in (json.loads(file.read_text()) for file in files)}


def rows_of(submissions, name="grades.csv"):
    with (submissions.parent / "grades" / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_scores_are_those_of_scikit_learn(submissions, grade):
    write_zip(submissions / "ada.zip", honest(1))
    write_folder(submissions / "bob", {"result.npy": npy(softmax(2, wrong=30).astype(np.float64))})
    outcome = grade()
    assert (outcome.status, outcome.err) == (0, "")
    for name, outputs in (("ada", softmax(1)), ("bob", softmax(2, wrong=30))):
        predicted = outputs.argmax(axis=1)
        scores = results(submissions)[name]["scores"]
        assert scores["macro_f1"] == pytest.approx(f1_score(LABELS, predicted, average="macro"), abs=1e-6)
        assert scores["accuracy"] == pytest.approx((predicted == LABELS).mean(), abs=1e-6)
        each = f1_score(LABELS, predicted, average=None)
        assert [values["f1"] for values in scores["classes"].values()] == pytest.approx(each, abs=1e-6)
        assert [values["images"] for values in scores["classes"].values()] == [20, 20, 20]
        assert f"{name}: macro F1 {scores['macro_f1']:.6f} (95% interval " in outcome.out
        low, high = scores["intervals"]["macro_f1"]
        assert low < scores["macro_f1"] < high
    assert "graded 2 of 2 submissions, 0 refused" in outcome.out


def test_the_tables_have_the_class_in_order(submissions, grade):
    for n, wrong in enumerate((30, 3, 12, 12)):
        write_folder(submissions / f"s{n}", {"result.npy": npy(softmax(5 if n > 1 else n, wrong))})
    (submissions / "s4").mkdir()
    assert grade().status == 0
    rows = rows_of(submissions)
    assert [row["name"] for row in rows] == ["s0", "s1", "s2", "s3", "s4"]
    assert [row["status"] for row in rows] == ["graded"] * 4 + ["refused"]
    text = (submissions.parent / "grades/leaderboard.md").read_text()
    table = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| ")][1:]
    assert [[cell.strip() for cell in row] for row in table] == [["1", "s1"], ["2", "s2"], ["2", "s3"], ["4", "s0"]]
    page = ParsedPage((submissions.parent / "grades/leaderboard.html").read_text())
    assert [text for tag, text in page.texts if tag == "th"][-4:] == ["s1", "s2", "s3", "s0"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_submission_is_refused_in_one_line(submissions, grade, name):
    build, words = HOSTILE[name]
    build(submissions / name)
    write_zip(submissions / "honest.zip", honest())
    root = submissions.parent
    before, start = {path for path in root.rglob("*")}, time.monotonic()
    outcome = grade()
    assert (outcome.status, outcome.err) == (0, "")
    assert time.monotonic() - start < 60  # it does not hang
    (line,) = (line for line in outcome.out.splitlines() if ": refused: " in line)
    assert words in line
    assert "fault" not in line
    assert "honest: macro F1 " in outcome.out
    new = {path.relative_to(root).parts[0] for path in root.rglob("*") if path not in before}
    assert new == {"grades"}
    (row,) = (row for row in rows_of(submissions) if row["status"] == "refused")
    assert row["macro_f1"] == ""


def test_names_are_text_everywhere(submissions, grade):
    """A name cannot run a formula or a script, move the cursor, or write outside of its folder."""
    for name in NAMES:
        write_folder(submissions / name, {"result.npy": npy(softmax())})
    outcome = grade()
    assert (outcome.status, outcome.err) == (0, "")
    assert "\x1b" not in outcome.out
    assert "\u202e" not in outcome.out
    assert len(outcome.out.splitlines()) == len(NAMES) + 4
    grades = submissions.parent / "grades"
    folders = [path for path in grades.iterdir() if path.is_dir()]
    assert len({folder.name.casefold() for folder in folders}) == len(NAMES)
    assert {json.loads((folder / "results.json").read_text())["name"] for folder in folders} == set(NAMES)
    rows = rows_of(submissions)
    assert len(rows) == len(NAMES)
    assert not [row["name"] for row in rows if row["name"][0] in "=+-@"]
    page = ParsedPage((grades / "leaderboard.html").read_text(encoding="utf-8"))
    assert page.tags["script"] == 0
    lines = (grades / "leaderboard.md").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.startswith("| ")]) == len(NAMES) + 1
    assert any("a\\|b\\`c\\`\\[d\\](e)" in line for line in lines)


@pytest.mark.parametrize("files", [honest(), {"result.npy": npy(softmax()), "evil.py": b"x", ".DS_Store": b""}])
def test_other_files_are_ignored_and_listed(submissions, grade, files):
    write_zip(submissions / "a.zip", files)
    assert grade().status == 0
    ignored = ["evil.py"] if "evil.py" in files else []
    assert results(submissions)["a"]["ignored"] == ignored


def test_submissions_are_found_in_the_tree_of_a_course_system(submissions, grade):
    """Moodle exports a folder for each student; a student may submit twice."""
    (submissions / "Ada Lovelace_1_assignsubmission_file").mkdir()
    write_zip(submissions / "Ada Lovelace_1_assignsubmission_file" / "work.zip", honest())
    write_folder(submissions / "bob" / "deep" / "submission", {"result.npy": npy(softmax())})
    write_zip(submissions / "carol.zip", honest())
    write_folder(submissions / "carol", {"result.npy": npy(softmax())})
    (submissions / "notes.txt").write_text("of the staff")
    assert grade().status == 0
    rows = rows_of(submissions)
    assert [row["name"] for row in rows] == ["Ada Lovelace_1_assignsubmission_file", "bob", "carol", "carol"]
    assert [row["notes"] for row in rows][2:] == ["one of 2 submissions with this name"] * 2
    assert len(list((submissions.parent / "grades").glob("carol*/results.json"))) == 2


def test_an_unchanged_submission_is_not_graded_again(submissions, grade, monkeypatch):
    for name in ("a", "b"):
        write_folder(submissions / name, {"result.npy": npy(softmax())})
    assert grade().status == 0
    scored = []
    monkeypatch.setattr(
        "graphcnn.grading.answer_key.AnswerKey.score", lambda key, probabilities: scored.append(probabilities)
    )
    assert grade().status == 0
    assert scored == []
    monkeypatch.undo()
    np.save(submissions / "a" / "result.npy", softmax(3, wrong=40))
    before = results(submissions)
    assert grade().status == 0
    after = results(submissions)
    assert after["a"]["scores"] != before["a"]["scores"]
    assert after["b"] == before["b"]
    assert grade("--public=0.5").status == 0
    assert results(submissions)["b"]["scores"]["split"] == "public"


def test_public_rows_are_a_fixed_fraction_and_the_rest_is_final(submissions, grade):
    write_folder(submissions / "a", {"result.npy": npy(softmax(1, wrong=20))})
    assert grade("--public=0.3").status == 0
    public = results(submissions)["a"]["scores"]
    assert public["rows"] == 18
    assert public["macro_f1"] == round(public["macro_f1"], 2)
    assert "classes" not in public
    assert "on the public test rows, 18 images" in (submissions.parent / "grades/leaderboard.md").read_text()
    assert grade("--public=0.3", "--final", "--resolution=0.01").status == 0
    final = results(submissions)["a"]["scores"]
    assert final["rows"] == 42
    assert final["public"]["macro_f1"] == public["macro_f1"]
    assert grade().status == 0
    whole = results(submissions)["a"]["scores"]
    assert whole["rows"] == ROWS
    exact = (18 * final["public"]["accuracy"] + 42 * final["accuracy"]) / 60
    assert whole["accuracy"] == pytest.approx(exact, abs=0.005)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--public=1.5"], "--public: found 1.5, expected a fraction"),
        (["--final"], "--final: needs --public"),
        (["--public=0.001"], "of 60 rows, 0 are public"),
        (["--resolution=2"], "--resolution: found 2"),
    ],
)
def test_wrong_flags_are_refused(submissions, grade, flags, words):
    write_folder(submissions / "a", {"result.npy": npy(softmax())})
    outcome = grade(*flags)
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert words in outcome.err


def test_a_missing_folder_and_an_empty_one_are_refused(submissions, grade):
    assert "has no zip file and no folder" in grade().err
    outcome = grade(path=submissions / "none")
    assert (outcome.status, one_line(outcome.err)) == (2, True)


def test_a_fault_in_one_submission_does_not_stop_the_others(submissions, grade, monkeypatch):
    for name in ("a", "b"):
        write_folder(submissions / name, {"result.npy": npy(softmax())})
    from graphcnn.grading import grade_one

    original = grade_one.read_result
    failing = lambda contents, *size: 1 / 0 if contents._path.name == "a" else original(contents, *size)  # noqa: E731
    monkeypatch.setattr(grade_one, "read_result", failing)
    outcome = grade()
    assert outcome.status == 1
    assert "a: refused: fault of graphcnn, ZeroDivisionError" in outcome.out
    assert "b: macro F1" in outcome.out


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = write_zip(tmp_path / "a.zip", honest())
    with pytest.raises(RefusedSubmission, match="changed while it was read"), open_contents(path) as contents:
        contents.read("result.npy", 1 << 20)
        with path.open("ab") as file:
            file.write(b"more")
    folder = write_folder(tmp_path / "a", {"result.npy": b"x" * 100})
    with pytest.raises(RefusedSubmission, match="changed while it was read"), open_contents(folder) as contents:
        (folder / "result.npy").write_bytes(b"y" * 200)
        contents.read("result.npy", 1 << 20)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_large_member_is_read_in_blocks(tmp_path, method):
    content = np.random.default_rng(0).bytes(3 << 20)
    path = write_zip(tmp_path / "a.zip", {"result.npy": content}, method)
    with open_contents(path) as contents:
        assert contents.read("result.npy", 4 << 20) == content
        assert contents.sha256("result.npy") == hashlib.sha256(content).hexdigest()


GRADING = """
import re, sys
for name in ("tensorflow", "h5py", "matplotlib", "PIL"):
    sys.modules[name] = None  # an import fails
from graphcnn.common.command import run_command
from graphcnn import grade
status = run_command("grade", "", grade.define_flags(), grade.main, sys.argv[1:])
print("peak", int(re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]) >> 10)
sys.exit(status)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
def test_level_file_needs_no_tensorflow_and_little_memory(submissions, tmp_path):
    labels = np.arange(10_000) % 10
    np.save(tmp_path / "y.npy", labels)
    outputs = np.random.default_rng(0).dirichlet(np.ones(10), 10_000).astype(np.float32)
    write_zip(submissions / "a.zip", {"result.npy": npy(outputs), "model.ckpt.data-00000-of-00001": bytes(1000)})
    flags = [submissions, f"--labels={tmp_path / 'y.npy'}", f"--out={tmp_path / 'grades'}"]
    status, out, err = run("-c", GRADING, *flags, fresh=True)
    assert (status, err) == (0, "")
    assert int(out.split()[-1]) < 200


def test_a_bar_inside_a_bar_is_not_shown(monkeypatch):
    monkeypatch.setattr(progress, "console", progress.PlainConsole(force_terminal=True, file=sys.stderr))
    with progress.bar("outer", 2) as outer, progress.bar("inner", 1) as inner:
        inner(1)
        outer(1)
    with progress.bar("next", 1) as advance:
        advance(1)
