"""The command experiments: runs that are trained, kept, continued or retrained, and reports.

The commands of its child processes run in this process; test_processes.py has those that need processes.
"""

import json
import shutil
from pathlib import Path

import pytest
from conftest import one_line, tiny_arrays, write_folder
from in_process import TWO, children_in_process, content_of, report_of, without_clocks

from graphcnn import experiments
from graphcnn.common.files import lock
from graphcnn.storage.run import Run

SMALL = ["--image_size=16", "--batch_size=16", "--precision=float32"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data") / "data")


@pytest.fixture(scope="module")
def done(folder, tmp_path_factory):
    """The checkpoints folder of two experiments of the ladder, trained once."""
    root = tmp_path_factory.mktemp("suite")
    values = experiments.define_flags()
    values(["experiments", *TWO, f"--data={folder}", f"--checkpoints={root}"])
    with children_in_process():
        assert experiments.main(values, []) == 0
    return root


@pytest.fixture
def copy(done, tmp_path):
    """Return a copy of this folder that a test may change."""
    shutil.copytree(done, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


@pytest.fixture
def suite(command, folder):
    """Run a suite: suite(checkpoints folder, flags) -> Outcome."""

    def run(root, *arguments):
        with children_in_process():
            return command("experiments", *arguments, f"--data={folder}", f"--checkpoints={root}")

    return run


def test_each_run_has_a_folder_and_is_in_the_report(done, folder, command):
    names = sorted(path.name for path in (done / "ladder").iterdir() if path.is_dir())
    assert names == ["four_layer_1-seed51", "four_layer_2-seed51"]
    report = report_of(done / "ladder")
    assert report["command"].startswith("./run.sh experiments --batch_size=16 --data=DIR --epochs=2")
    assert str(folder) not in (done / "ladder/report.md").read_text() + json.dumps(report)
    assert [row["experiment"] for row in report["experiments"]] == ["four_layer_1", "four_layer_2"]
    for row in report["experiments"]:
        assert row["epochs"] == 2
        assert row["seeds"] == [51]
        for run in row["runs"]:
            name = f"ladder/{row['experiment']}-seed{run['seed']}"
            out = command("eval", f"--checkpoints={done}", f"--run={name}", "--split=test").out
            assert f"test macro F1: {run['test_macro_f1']:.6f}" in out
            best = Run(done, name).history()[run["best_epoch"] - 1]
            assert best["dev_macro_f1"] == run["dev_macro_f1"]
            assert best["dev_accuracy"] == pytest.approx(run["dev_accuracy"])
            assert run["gap"] == pytest.approx(run["train_accuracy"] - run["dev_accuracy"])


def test_a_child_s_output_is_in_the_log_of_its_run(done):
    log = (done / "ladder/four_layer_1-seed51.log").read_text()
    assert "epoch 1/2" in log
    assert "test macro F1" in log


def test_finished_experiments_are_kept_and_changed_ones_are_retrained(copy, suite):
    before = (copy / "ladder/report.json").read_text()
    times = {path: path.stat().st_mtime_ns for path in (copy / "ladder").glob("*/history.csv")}
    again = suite(copy, *TWO)
    assert again.status == 0
    assert "2 of 2 done" in again.out
    assert (copy / "ladder/report.json").read_text() == before
    fewer = suite(copy, *TWO, "--epochs=1", "--only=four_layer_1")
    assert "ladder/four_layer_1-seed51: it has 2 epochs and is kept" in fewer.out
    assert times == {path: path.stat().st_mtime_ns for path in times}  # nothing was trained

    changed = suite(copy, *TWO, "--only=four_layer_1", "--learning_rate=0.01")
    assert changed.status == 0
    assert "learning_rate was 0.001, is now 0.01; retrained" in changed.out
    rows = report_of(copy / "ladder")["experiments"]
    assert [row["experiment"] for row in rows] == ["four_layer_1"]  # the other has the former rate

    longer = suite(copy, *TWO, "--only=four_layer_2", "--epochs=3", "--seeds=2")
    assert "epochs was 2, is now 3" in longer.out
    assert "seed51: epoch 3/3" in longer.out
    assert "seed51: epoch 2/3" not in longer.out  # two epochs were kept
    rows = report_of(copy / "ladder")["experiments"]
    assert [(row["experiment"], row["seeds"], row["epochs"]) for row in rows] == [("four_layer_2", [51, 52], 3)]


def test_other_data_and_another_dev_split_are_retrained(copy, suite, command, tmp_path):
    split = suite(copy, *TWO, "--only=four_layer_1", "--dev_fraction=0.25")
    assert "four_layer_1-seed51: the dev split changed; retrained" in split.out
    other = write_folder(tmp_path / "other", x_train=tiny_arrays(seed=9)[0])
    with children_in_process():
        data = command("experiments", *TWO, "--only=four_layer_1", f"--data={other}", f"--checkpoints={copy}")
    assert "the data changed; the dev split changed; retrained" in data.out
    assert data.status == 0


def test_a_failed_experiment_does_not_stop_the_others(suite, tmp_path):
    arguments = [*SMALL, "--net=vgg_tiny", "--epochs=1", "--warmup_steps=0"]
    outcome = suite(tmp_path, "--sweep=learning_rate=1e30,1e-3", *arguments)
    assert outcome.status == 1
    assert "learning_rate-1e30-seed51: failed: train ended with status 2: epoch 1: the loss" in outcome.out
    assert "1 of 2 done" in outcome.out
    rows = report_of(tmp_path / "sweep-assignment")["experiments"]
    assert [row["experiment"] for row in rows] == ["learning_rate-1e-3"]


def test_a_sweep_by_halving_trains_and_ends_with_a_report(suite, tmp_path):
    arguments = [*SMALL, "--net=vgg_tiny", "--epochs=3", "--sweep=warmup_steps=0,1", "--stop_on=nothing"]
    arguments += ["--budget=1", "--suite=mine"]
    first = suite(tmp_path, *arguments)
    assert first.status == 0
    rows = report_of(tmp_path / "mine")["experiments"]
    assert sorted(row["epochs"] for row in rows) == [1, 3]
    assert max(rows, key=lambda row: row["epochs"])["experiment"] in first.out.split("rung 2/2")[1]
    again = suite(tmp_path, *arguments)
    assert again.status == 0
    assert "epoch 1/" not in again.out  # nothing is trained twice
    assert report_of(tmp_path / "mine")["experiments"] == rows


def test_a_damaged_run_is_retrained(copy, done, suite):
    run = copy / "ladder/four_layer_1-seed51"
    shutil.rmtree(run / "report")  # so that it is scored again
    (run / "best/model.ckpt.data-00000-of-00001").write_bytes(b"torn")
    outcome = suite(copy, *TWO)
    assert outcome.status == 0
    assert "four_layer_1-seed51: eval ended with status 2" in outcome.out
    assert "model.ckpt.data-00000-of-00001: damaged, its sha256 is" in outcome.out
    assert "; retrained" in outcome.out
    assert without_clocks(report_of(copy / "ladder")) == without_clocks(report_of(done / "ladder"))


def lacking(path, key):
    """Remove a key from a JSON file."""
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))


def garbled_history(run):
    path = run / "history.csv"
    path.write_text(path.read_text().replace("epoch,", "apoch,"))


UNREADABLE = {  # name: (what happens to a finished run, words of the message)
    "no macro F1 in its report": (lambda run: lacking(run / "report/dev.json", "macro_f1"), "'macro_f1' is missing"),
    "a garbled report": (lambda run: (run / "report/train.json").write_text("{"), "this is not a report of eval"),
    "a garbled config.json": (lambda run: (run / "config.json").write_text("garbage"), "config.json: cannot be read"),
    "a config.json of a newer version": (
        lambda run: (run / "config.json").write_text(
            (run / "config.json").read_text().replace('"l2":', '"new_setting": 1, "l2":')
        ),
        "unknown name 'new_setting'",
    ),
    "no config.json": (
        lambda run: (run / "config.json").unlink(),
        "config.json: this file is missing, but the run has",
    ),
    "no history.csv": (lambda run: (run / "history.csv").unlink(), "history.csv: cannot be read"),
    "a garbled history.csv": (garbled_history, "history.csv: expected rows for epochs 1 to 2"),
    "no link last": (lambda run: (run / "last").unlink(), "/last: this link is missing"),
    "no state.json": (lambda run: (run / "last/state.json").unlink(), "state.json"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_an_unreadable_finished_run_is_not_changed(case, copy, suite):
    """A run is retrained only if the sha256 of a file is wrong."""
    damage, words = UNREADABLE[case]
    run = copy / "ladder/four_layer_1-seed51"
    damage(run)
    before = content_of(run)
    outcome = suite(copy, *TWO)
    assert outcome.status == 1
    assert "ladder/four_layer_1-seed51: failed: " in outcome.out
    assert words in outcome.out
    assert "retrained" not in outcome.out
    assert "1 of 2 done" in outcome.out  # the suite goes on
    assert content_of(run) == before
    assert [row["experiment"] for row in report_of(copy / "ladder")["experiments"]] == ["four_layer_2"]


@pytest.mark.parametrize("name", ["report/dev.json", "config.json", "history.csv", "last/state.json", "split.npz"])
@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_a_system_error_does_not_change_a_finished_run(name, error, copy, suite, monkeypatch):
    run = copy / "ladder/four_layer_1-seed51"
    if name == "split.npz":  # only eval reads it
        shutil.rmtree(run / "report")
    before, original = content_of(run), Path.open

    def refusing(path, *arguments, **options):
        if path.is_relative_to(run) and path.as_posix().endswith(name) and "w" not in str(arguments):
            raise type(error)(*error.args, str(path))
        return original(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refusing)
        outcome = suite(copy, *TWO)
    assert outcome.status == 1
    assert "ladder/four_layer_1-seed51: failed: " in outcome.out
    assert error.strerror in outcome.out
    assert "retrained" not in outcome.out
    assert content_of(run) == before


BAD = {  # name: (arguments, words of the message)
    "no suite": ([], "--suite: name one"),
    "misspelt suite": (["--suite=lader"], "did you mean 'ladder'"),
    "misspelt experiment": (["--suite=ladder", "--only=complex_3"], "did you mean 'complex_"),
    "no seeds": (["--suite=ladder", "--seeds=0"], "--seeds: found 0"),
    "more jobs than processors": (["--suite=ladder", "--jobs=1000"], "(the processors)"),
    "a recipe for a suite": (["--suite=ladder", "--recipe=fast"], "--recipe: is for --sweep"),
    "a misspelt setting": (["--sweep=learning_rat=1"], "did you mean 'learning_rate'"),
    "a setting without values": (["--sweep=learning_rate"], "expected setting=value"),
    "a setting twice": (["--sweep=l2=0 l2=1"], "once for each setting"),
    "a word for a number": (["--sweep=l2=some"], "--sweep: found l2=some, expected a number"),
    "out of range": (["--sweep=keep_prob=0.5,2"], "keep_prob-2: --keep_prob=2.0: expected a number"),
    "a suite's name for a sweep": (["--sweep=l2=0", "--suite=ladder"], "this cannot be the name of a sweep"),
    "a path for a sweep": (["--sweep=l2=0", "--suite=../x"], "this cannot be the name of a sweep"),
    "an empty sweep": (["--sweep= "], "--sweep: found no setting"),
    "a swept setting given too": (["--sweep=l2=0,1", "--l2=2"], "l2 is also set by --l2"),
    "swept epochs under a budget": (["--sweep=epochs=1,2", "--budget=1"], "epochs is also set by"),
    "no epochs": (["--suite=ladder", "--epochs=0"], "--epochs: found 0"),
    "misspelt split": (["--suite=ladder", "--dev_split=fist"], "did you mean 'first'"),
    "a budget without a sweep": (["--suite=ladder", "--budget=1"], "--budget: found 1"),
    "a budget of nothing": (["--sweep=l2=0", "--budget=0"], "--budget: found 0"),
    "no dev split": (["--suite=ladder", "--dev_fraction=0", "--data=digits"], "the experiments are compared on dev"),
    "micro-batches with batch norm": (["--suite=restaurant", "--micro_batch=4"], "model_3_3: --micro_batch"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_flags_end_with_one_line_and_status_2(case, tmp_path, command):
    arguments, words = BAD[case]
    outcome = command("experiments", f"--checkpoints={tmp_path}", *arguments)
    assert outcome.status == 2
    assert one_line(outcome.err), outcome.err
    assert words in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_second_call_is_refused_while_the_first_one_runs(done, command):
    with lock(done / "ladder" / ".lock"):
        outcome = command("experiments", "--suite=ladder", "--data=digits", f"--checkpoints={done}")
    assert outcome.status == 2
    assert "another training is writing" in outcome.err
