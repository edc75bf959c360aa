"""The command experiments: runs that are trained, kept, continued or retrained, and reports.

The commands of its child processes run in this process; test_processes.py has those that need processes.
"""

import builtins
import errno
import io
import json
import os
import re
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from conftest import one_line, tiny_arrays, write_folder
from in_process import TWO, children_in_process, content_of, report_of, without_clocks
from photo_files import COLOURS, picture, saved

from graphcnn import experiments
from graphcnn.common.locks import lock
from graphcnn.ops.tf1 import tf1
from graphcnn.storage.run import Run
from graphcnn.sweeps.halving import Halving

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
            return command("experiments", f"--data={folder}", *arguments, f"--checkpoints={root}")

    return run


@pytest.mark.parametrize("name", ["ladder", "ladder/.lock"])
def test_a_suite_behind_a_link_is_refused(name, suite, tmp_path):
    (tmp_path / "secret").write_text("mine")
    (tmp_path / "runs" / name).parent.mkdir(parents=True)
    (tmp_path / "runs" / name).symlink_to(tmp_path / ("secret" if name.endswith(".lock") else ""))
    outcome = suite(tmp_path / "runs", *TWO)
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert "is a symbolic link" in outcome.err
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "secret"}
    assert (tmp_path / "secret").read_text() == "mine"


def test_an_experiment_whose_lock_is_a_link_fails(suite, tmp_path):
    (tmp_path / "secret").write_text("mine")
    link = tmp_path / "runs/ladder/four_layer_1-seed51/.lock"
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "secret")
    outcome = suite(tmp_path / "runs", *TWO, "--only=four_layer_1")
    assert outcome.status == 1
    assert "four_layer_1-seed51: failed: " in outcome.out
    assert "link" in outcome.out
    assert (tmp_path / "secret").read_text() == "mine"


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

    rate = [*TWO, "--only=four_layer_1", "--learning_rate=0.01"]
    content = content_of(copy)
    refused = suite(copy, *rate)
    assert refused.status == 2
    assert one_line(refused.err)
    assert "ladder/four_layer_1-seed51: learning_rate was 0.001, is now 0.01; give the same --data" in refused.err
    assert content_of(copy) == content
    changed = suite(copy, *rate, "--retrain")
    assert changed.status == 0
    assert "learning_rate was 0.001, is now 0.01; the old run is kept as four_layer_1-seed51.replaced-1" in changed.out
    old = "ladder/four_layer_1-seed51"
    kept = content_of(copy / f"{old}.replaced-1")
    assert kept == {path.removeprefix(f"{old}/"): each for path, each in content.items() if path.startswith(f"{old}/")}
    report = report_of(copy / "ladder")
    assert [row["experiment"] for row in report["experiments"]] == ["four_layer_1"]  # the other has the former rate
    assert "retrain" not in report["command"]

    longer = suite(copy, *TWO, "--only=four_layer_2", "--epochs=3", "--seeds=2")
    assert "epochs was 2, is now 3" in longer.out
    assert "seed51: epoch 3/3" in longer.out
    assert "seed51: epoch 2/3" not in longer.out  # two epochs were kept
    rows = report_of(copy / "ladder")["experiments"]
    assert [(row["experiment"], row["seeds"], row["epochs"]) for row in rows] == [("four_layer_2", [51, 52], 3)]


def test_runs_with_a_relative_name_map_are_kept(copy, suite, tmp_path, monkeypatch):
    prefix = copy / "ladder/four_layer_1-seed51/best/model.ckpt"
    names = [name for name, _ in tf1.train.list_variables(str(prefix)) if name.partition("/")[0] != "normalisation"]
    (tmp_path / "map.json").write_text(json.dumps({name: name for name in names if "Adam" not in name}))
    monkeypatch.chdir(tmp_path)
    flags = [*TWO, "--only=four_layer_1", f"--weights={prefix}", "--name_map=map.json"]
    first = suite(tmp_path / "runs", *flags)
    assert first.status == 0, first.err
    run = tmp_path / "runs/ladder/four_layer_1-seed51"
    assert json.loads((run / "config.json").read_text())["recipe"]["name_map"] == str(tmp_path / "map.json")
    before = content_of(run)
    (tmp_path / "runs/ladder/report.json").unlink()
    again = suite(tmp_path / "runs", *flags)
    assert again.status == 0, again.err
    assert content_of(run) == before
    assert [row["experiment"] for row in report_of(tmp_path / "runs/ladder")["experiments"]] == ["four_layer_1"]


def test_scores_in_bfloat16_are_computed_again_in_float32(copy, suite):
    before = report_of(copy / "ladder")
    path = copy / "ladder/four_layer_1-seed51/report/dev.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "precision": "bfloat16", "macro_f1": 0.125}))
    assert suite(copy, *TWO).status == 0
    assert report_of(copy / "ladder") == before
    assert json.loads(path.read_text())["macro_f1"] == before["experiments"][0]["dev_macro_f1"]


def test_a_finished_run_of_an_edited_net_is_refused(copy, suite):
    run = Run(copy, "ladder/four_layer_1-seed51")
    config = run.config()
    layers = [line.replace("kind='relu'", "kind='relu6'") for line in config["net"]["layers"]]
    run.write_config({**config, "net": {"fingerprint": "0" * 64, "layers": layers}})
    refused = suite(copy, *TWO)
    assert refused.status == 2
    assert one_line(refused.err)
    assert "ladder/four_layer_1-seed51: the net four_layer is not the net that was trained: in training" in refused.err
    changed = suite(copy, *TWO, "--retrain")
    assert changed.status == 0
    assert "the old run is kept as four_layer_1-seed51.replaced-1" in changed.out


def test_other_data_and_another_dev_split_are_refused(copy, suite, tmp_path):
    before = content_of(copy)
    other = write_folder(tmp_path / "other", x_train=tiny_arrays(seed=9)[0])
    both = "ladder/four_layer_1-seed51, ladder/four_layer_2-seed51: "
    split = suite(copy, *TWO, "--dev_fraction=0.25")
    data = suite(copy, *TWO, f"--data={other}")
    forgotten = suite(copy, *TWO, "--data=digits")
    assert f"{both}the dev split changed; " in split.err
    assert f"{both}the data changed; " in data.err
    assert f"{both}the data changed; the dev split changed; " in forgotten.err
    for outcome in (split, data, forgotten):
        assert outcome.status == 2
        assert one_line(outcome.err)
    assert content_of(copy) == before
    outcome = suite(copy, *TWO, "--only=four_layer_1", f"--data={other}", "--retrain")
    assert outcome.status == 0
    assert "the data changed; the old run is kept as four_layer_1-seed51.replaced-1" in outcome.out


def test_changed_test_labels_are_scored_again(copy, suite, folder, tmp_path, command):
    """This includes the runs that --only leaves out, and runs of version 1, which have no test fingerprint."""
    before = report_of(copy / "ladder")["experiments"]
    path = copy / "ladder/four_layer_1-seed51/report/test.json"
    assert len(json.loads(path.read_text())["fingerprint"]) == 64
    lacking(path, "fingerprint")
    again = suite(copy, *TWO)
    assert again.status == 0
    assert "epoch 1/2" not in again.out
    assert report_of(copy / "ladder")["experiments"] == before
    assert len(json.loads(path.read_text())["fingerprint"]) == 64

    labels = np.load(folder / "y_test.npy")
    changed = write_folder(tmp_path / "changed", y_test=labels[::-1])
    outcome = suite(copy, *TWO, "--only=four_layer_1", f"--data={changed}")
    assert outcome.status == 0
    after = report_of(copy / "ladder")["experiments"]
    assert [row["experiment"] for row in after] == [row["experiment"] for row in before]
    for old, new in zip(before, after, strict=True):
        name = f"--run=ladder/{old['experiment']}-seed51"
        out = command("eval", f"--checkpoints={copy}", name, "--split=test", f"--data={changed}").out
        assert f"test macro F1: {new['test_macro_f1']:.6f}" in out
        assert old["test_loss"] != new["test_loss"]
        assert old["dev_loss"] == new["dev_loss"]


def test_a_failed_experiment_does_not_stop_the_others(suite, tmp_path):
    arguments = [*SMALL, "--net=vgg_tiny", "--epochs=1", "--warmup_steps=0"]
    outcome = suite(tmp_path, "--sweep=learning_rate=1e30,1e-3", *arguments)
    assert outcome.status == 1
    assert "learning_rate-1e30-seed51: failed: train ended with status 2: epoch 1: the loss" in outcome.out
    assert "1 of 2 done" in outcome.out
    rows = report_of(tmp_path / "sweep-assignment")["experiments"]
    assert [row["experiment"] for row in rows] == ["learning_rate-1e-3"]


def test_a_budget_for_all_epochs_needs_one_rung(suite, tmp_path):
    arguments = [*SMALL, "--net=vgg_tiny", "--epochs=3", "--sweep=warmup_steps=0,1", "--stop_on=nothing"]
    outcome = suite(tmp_path, *arguments, "--budget=1", "--suite=mine")
    assert outcome.status == 0
    assert "; each experiment gets all of its epochs, so only a larger --epochs uses more of the budget" in outcome.out
    assert "rung 2/2" not in outcome.out
    assert [row["epochs"] for row in report_of(tmp_path / "mine")["experiments"]] == [3, 3]


def test_a_sweep_by_halving_trains_and_ends_with_a_report(suite, tmp_path, monkeypatch):
    monkeypatch.setattr(Halving, "_first_epochs", lambda *_: 1)  # as for a small budget
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

    before = content_of(tmp_path)
    forgotten = suite(tmp_path, *arguments, "--data=digits")
    assert forgotten.status == 2
    assert "the data changed" in forgotten.err
    assert content_of(tmp_path) == before


def test_a_damaged_run_is_set_aside_and_trained_again(copy, done, suite):
    run = copy / "ladder/four_layer_1-seed51"
    shutil.rmtree(run / "report")  # so that it is scored again
    (run / "best/model.ckpt.data-00000-of-00001").write_bytes(b"torn")
    before = content_of(run)
    outcome = suite(copy, *TWO)
    assert outcome.status == 0
    assert "four_layer_1-seed51: eval ended with status 2" in outcome.out
    assert "model.ckpt.data-00000-of-00001: damaged, its sha256 is" in outcome.out
    assert "; the old run is kept as four_layer_1-seed51.replaced-1" in outcome.out
    assert content_of(copy / "ladder/four_layer_1-seed51.replaced-1") == before
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
    """A run is replaced only if the sha256 of a file is wrong."""
    damage, words = UNREADABLE[case]
    run = copy / "ladder/four_layer_1-seed51"
    damage(run)
    before = content_of(run)
    outcome = suite(copy, *TWO)
    assert outcome.status == 1
    assert "ladder/four_layer_1-seed51: failed: " in outcome.out
    assert words in outcome.out
    assert list(copy.glob("ladder/*.replaced-*")) == []
    assert "1 of 2 done" in outcome.out  # the suite goes on
    assert content_of(run) == before
    assert [row["experiment"] for row in report_of(copy / "ladder")["experiments"]] == ["four_layer_2"]


@contextmanager
def failing(folder, name, number):
    """Make each opening of a file in `folder` whose path ends in `name` fail with this errno."""

    def failing(original):
        def opening(path, *arguments, **options):
            text = "" if isinstance(path, int) else os.fspath(path)
            if text.startswith(f"{folder}/") and text.endswith(name):
                raise OSError(number, os.strerror(number), text)
            return original(path, *arguments, **options)

        return opening

    with pytest.MonkeyPatch.context() as patch:
        for module in (io, os, builtins):
            patch.setattr(module, "open", failing(module.open))
        yield


DATA_FILE = "model.ckpt.data-00000-of-00001"
SYSTEM_ERRORS = [("config.json", number) for number in (errno.EIO, errno.EACCES, errno.EMFILE, errno.ESTALE)]
SYSTEM_ERRORS += [
    ("history.csv", errno.EIO), ("history.csv", errno.EMFILE), ("last/state.json", errno.ESTALE),
    ("last/state.json", errno.EIO), ("report/dev.json", errno.EACCES), ("report/test.json", errno.EIO),
    ("split.npz", errno.EIO), ("split.npz", errno.ESTALE), ("manifest.json", errno.EIO),
    ("manifest.json", errno.EMFILE), (DATA_FILE, errno.EIO), ("/state.json", errno.EACCES),
]  # fmt: skip


@pytest.mark.parametrize(("name", "number"), SYSTEM_ERRORS)
def test_a_system_error_does_not_change_a_finished_run(name, number, copy, suite):
    """This holds even if the path contains a word of the messages about damaged runs."""
    root = copy.rename(copy.with_name("missing; damaged"))
    run = root / "ladder/four_layer_1-seed51"
    if name in ("split.npz", "manifest.json", DATA_FILE):  # only eval reads them
        shutil.rmtree(run / "report")
    before = content_of(run)
    with failing(run, name, number):
        outcome = suite(root, *TWO)
    assert outcome.status == 1
    assert "ladder/four_layer_1-seed51: failed: " in outcome.out
    assert os.strerror(number) in outcome.out
    assert "1 of 2 done" in outcome.out  # the suite goes on
    assert list(root.glob("ladder/*.replaced-*")) == []
    assert content_of(run) == before
    assert suite(root, *TWO).status == 0


def test_a_full_disk_does_not_change_a_run(copy, suite):
    root = copy.rename(copy.with_name("missing; damaged"))
    run = root / "ladder/four_layer_1-seed51"
    before = content_of(run)
    longer = [*TWO, "--only=four_layer_1", "--epochs=3"]
    with failing(run, "manifest.json", errno.ENOSPC):
        outcome = suite(root, *longer)
    assert outcome.status == 1
    assert "No space left on device" in outcome.out
    assert list(root.glob("ladder/*.replaced-*")) == []
    changed = {path for path, content in content_of(run).items() if content != before.get(path)}
    assert {path for path in changed if not path.startswith("events/")} <= {"config.json", "curves.png"}
    outcome = suite(root, *longer)
    assert outcome.status == 0
    assert "seed51: epoch 3/3" in outcome.out


LONGER = {  # name: (flags, words of the reason); --epochs scales patience
    "without early stopping": (["--stop_on=nothing"], "epochs was 2, is now 16"),
    "with a scaled patience": ([], "epochs was 2, is now 16; patience was 1, is now 2"),
}


@pytest.mark.parametrize("case", LONGER)
def test_more_epochs_continue_the_runs_and_give_the_runs_of_a_longer_suite(case, suite, tmp_path):
    """At a learning rate near 0 the loss fluctuates, so a run with a patience of 1 stops early."""
    flags, reason = LONGER[case]
    arguments = ["--suite=assignment", "--only=final", *SMALL, "--net=vgg_tiny", "--learning_rate=1e-9", *flags]
    for epochs in (2, 16):
        outcome = suite(tmp_path / "part", *arguments, f"--epochs={epochs}")
        assert outcome.status == 0, outcome.out
    assert f"assignment/final-seed51: {reason}" in outcome.out
    assert re.search(r"epoch +3/16", outcome.out)
    assert not re.search(r"epoch +2/16", outcome.out)  # two epochs were kept
    assert suite(tmp_path / "whole", *arguments, "--epochs=16").status == 0
    part, whole = (tmp_path / name / "assignment/final-seed51" for name in ("part", "whole"))
    assert checkpoints_of(part) == checkpoints_of(whole)
    assert without_clocks(report_of(part.parent)) == without_clocks(report_of(whole.parent))


def checkpoints_of(run):
    """Return the files of a run that are the same for the same seed, and its recipe."""
    content = {path: each for path, each in content_of(run).items() if path.startswith(("epoch-", "best", "last"))}
    return {**content, "recipe": Run(run.parent, run.name).config()["recipe"]}


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


def test_images_with_a_file_of_labels(command, tmp_path, monkeypatch):
    """Paths relative to the current folder reach the child processes; other labels are other data."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    rows = [(f"{n:02d}.png", ("owl", "bat", "cat")[n % 3], "test" if n % 5 == 0 else "train") for n in range(30)]
    for n, (name, label, _) in enumerate(rows):
        saved(picture(n, colour=COLOURS[label]), tmp_path / "set" / name)

    def run(labels, *flags):
        (tmp_path / "labels.csv").write_text(
            "file_name,label,split\n" + "".join(f"{name},{label},{split}\n" for name, label, split in labels)
        )
        sweep = ["--sweep=keep_prob=0.5,1", "--net=vgg_tiny", *SMALL, "--epochs=1", "--checkpoints=runs"]
        with children_in_process():
            return command("experiments", *sweep, "--data=set", "--label_file=labels.csv", *flags)

    outcome = run(rows)
    assert outcome.status == 0, outcome.err
    folder = tmp_path / "runs/sweep-assignment"
    report = report_of(folder)
    assert "--data=DIR --epochs=1 --image_size=16 --label_file=FILE" in report["command"]
    assert str(tmp_path) not in json.dumps(report)
    assert [len(row["runs"]) for row in report["experiments"]] == [1, 1]
    for row in report["experiments"]:
        config = json.loads((folder / f"{row['experiment']}-seed51/config.json").read_text())
        assert config["data"]["options"]["label_file"] == str(tmp_path / "labels.csv")
        assert 0 <= row["runs"][0]["test_macro_f1"] <= 1
    content = content_of(folder)
    assert run(rows).status == 0  # nothing is trained again
    assert content_of(folder) == content
    changed = run([(name, {"owl": "bat", "bat": "owl"}.get(label, label), split) for name, label, split in rows])
    assert (changed.status, one_line(changed.err)) == (2, True)
    assert "the data changed" in changed.err
    assert content_of(folder) == content


RECORDED = ["four_layer_1-seed51", "four_layer_2-seed51"]


@pytest.fixture
def records(copy, suite, tmp_path):
    """Return (folder of finished runs, folder with their records, the report)."""
    folder = tmp_path / "records"
    outcome = suite(copy, *TWO, f"--from={folder}")
    assert outcome.status == 0
    return copy, folder, report_of(copy / "ladder")


def test_records_replace_lost_runs(records, suite, tmp_path):
    _, folder, report = records
    assert sorted(path.name for path in folder.iterdir()) == RECORDED
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    names = (
        "config.json",
        "history.csv",
        "best/state.json",
        "last/state.json",
        *(f"report/{split}.json" for split in ("train", "dev", "test")),
    )
    assert files == {f"{run}/{name}" for run in RECORDED for name in names}
    assert all(str(tmp_path) not in (folder / name).read_text() for name in files)
    empty = tmp_path / "empty"
    outcome = suite(empty, *TWO, f"--from={folder}")
    assert outcome.status == 0, outcome.err
    assert not any((empty / "ladder" / run).exists() for run in RECORDED)
    again = report_of(empty / "ladder")
    assert [row["dev_macro_f1"] for row in again["experiments"]] == [
        row["dev_macro_f1"] for row in report["experiments"]
    ]
    assert [row["runs"][0]["run"] for row in again["experiments"]] == RECORDED


def test_a_record_of_another_recipe_is_refused_unless_retrain(records, suite, tmp_path):
    _, folder, _ = records
    before = (folder / RECORDED[0] / "config.json").read_bytes()
    outcome = suite(tmp_path / "empty", *TWO, f"--from={folder}", "--learning_rate=0.5")
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert "nothing was trained" in outcome.err
    assert "learning_rate was 0.001, is now 0.5" in outcome.err
    assert (folder / RECORDED[0] / "config.json").read_bytes() == before
    assert suite(tmp_path / "empty", *TWO, f"--from={folder}", "--learning_rate=0.5", "--retrain").status == 0
    config = json.loads((folder / RECORDED[0] / "config.json").read_text())
    assert config["recipe"]["learning_rate"] == 0.5


DAMAGES = {  # damage of a record: (file, its new content or None, words of the error)
    "no scores": ("report/dev.json", None, "this record lacks scores"),
    "no history": ("history.csv", None, "history.csv"),
    "not a report": ("report/dev.json", "[]", "this is not a report of eval"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_fails_only_its_experiment(damage, records, suite, tmp_path):
    _, folder, _ = records
    name, content, words = DAMAGES[damage]
    file = folder / RECORDED[0] / name
    file.unlink()
    if content is not None:
        file.write_text(content)
    outcome = suite(tmp_path / "empty", *TWO, f"--from={folder}")
    assert outcome.status == 1
    assert words in outcome.out + outcome.err
    assert [row["experiment"] for row in report_of(tmp_path / "empty" / "ladder")["experiments"]] == ["four_layer_2"]


def test_from_must_name_a_folder(suite, tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "nowhere" / "records"):
        outcome = suite(tmp_path / "runs", *TWO, f"--from={path}")
        assert (outcome.status, one_line(outcome.err)) == (2, True)
        assert "name the folder that holds the records" in outcome.err
