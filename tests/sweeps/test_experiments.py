"""Suites on the command line: what is trained, kept, continued and trained anew, and the reports."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import one_line, write_folder

from graphcnn import experiments
from graphcnn.common.errors import InputError
from graphcnn.config import suites
from graphcnn.config.recipe import Recipe
from graphcnn.storage.run import Run

SMALL = ["--image_size=16", "--batch_size=16", "--precision=float32"]
TWO = ["--suite=ladder", "--only=four_layer_1,four_layer_2", "--epochs=2", *SMALL]
TWO += [f"--jobs={min(2, len(experiments._processors()))}"]
CLOCKS = ("seconds", "epoch_seconds")


def without_clocks(value):
    """Return a report without the numbers that the wall clock decides."""
    if isinstance(value, dict):
        told = {key: without_clocks(each) for key, each in value.items() if key not in CLOCKS}
        return {**told, "numbers": None} if value.get("measure") == "epoch_seconds" else told
    return [without_clocks(each) for each in value] if isinstance(value, list) else value


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data") / "data")


@pytest.fixture(scope="module")
def done(folder, tmp_path_factory):
    """The checkpoints folder of two rungs of the ladder, trained once, side by side."""
    root = tmp_path_factory.mktemp("suite")
    values = experiments.define_flags()
    values(["experiments", *TWO, f"--data={folder}", f"--checkpoints={root}"])
    assert experiments.main(values, []) == 0
    return root


def test_each_run_has_a_folder_and_the_report_all_of_them(done, folder, command):
    names = sorted(path.name for path in (done / "ladder").iterdir() if path.is_dir())
    assert names == ["four_layer_1-seed51", "four_layer_2-seed51"]
    found = report_of(done / "ladder")
    assert found["command"].startswith("./run.sh experiments --batch_size=16 --data=DIR --epochs=2")
    assert str(folder) not in (done / "ladder/report.md").read_text() + json.dumps(found)
    assert [row["experiment"] for row in found["experiments"]] == ["four_layer_1", "four_layer_2"]
    for row in found["experiments"]:
        assert row["epochs"] == 2
        assert row["seeds"] == [51]
        for run in row["runs"]:
            name = f"ladder/{row['experiment']}-seed{run['seed']}"
            out = command("eval", f"--checkpoints={done}", f"--run={name}", "--split=test").out
            assert f"test macro F1: {run['test_macro_f1']:.6f}" in out
            history = (done / name / "history.csv").read_text().splitlines()
            cells = dict(zip(history[0].split(","), history[run["best_epoch"]].split(","), strict=True))
            assert float(cells["dev_macro_f1"]) == run["dev_macro_f1"]
            assert float(cells["dev_accuracy"]) == pytest.approx(run["dev_accuracy"])
            assert run["gap"] == pytest.approx(run["train_accuracy"] - run["dev_accuracy"])


def test_what_is_done_is_kept_and_what_changed_is_trained_anew_and_said(done, folder, command, tmp_path):
    import shutil

    shutil.copytree(done, tmp_path / "c", symlinks=True)
    places = [f"--data={folder}", f"--checkpoints={tmp_path / 'c'}"]
    before = (tmp_path / "c/ladder/report.json").read_text()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "c/ladder").glob("*/history.csv")}
    again = command("experiments", *TWO, *places)
    assert again.status == 0
    assert "2 of 2 done" in again.out
    assert (tmp_path / "c/ladder/report.json").read_text() == before
    fewer = command("experiments", *TWO, *places, "--epochs=1", "--only=four_layer_1")
    assert "ladder/four_layer_1-seed51: has 2 epochs, is kept" in fewer.out
    assert times == {path: path.stat().st_mtime_ns for path in times}  # nothing was trained

    changed = command("experiments", *TWO, *places, "--only=four_layer_1", "--learning_rate=0.01")
    assert changed.status == 0
    assert "learning_rate was 0.001, is now 0.01; trained anew" in changed.out
    rows = report_of(tmp_path / "c/ladder")["experiments"]
    assert [row["experiment"] for row in rows] == ["four_layer_1"]  # the other has the former rate

    longer = command("experiments", *TWO, *places, "--only=four_layer_2", "--epochs=3", "--seeds=2")
    assert "epochs was 2, is now 3" in longer.out
    assert "seed51: epoch 3/3" in longer.out
    assert "seed51: epoch 2/3" not in longer.out  # two epochs were kept
    rows = report_of(tmp_path / "c/ladder")["experiments"]
    assert [(row["experiment"], row["seeds"], row["epochs"]) for row in rows] == [("four_layer_2", [51, 52], 3)]


def test_a_failed_experiment_costs_itself_alone(folder, command, tmp_path):
    arguments = [f"--data={folder}", f"--checkpoints={tmp_path}", *SMALL, "--net=vgg_tiny", "--epochs=1"]
    outcome = command("experiments", "--sweep=learning_rate=1e30,1e-3", *arguments, "--warmup_steps=0")
    assert outcome.status == 1
    assert (
        "learning_rate-1e30-seed51: failed: train ended with status 2: graphcnn train: epoch 1: the loss" in outcome.out
    )
    assert "1 of 2 done" in outcome.out
    assert [row["experiment"] for row in report_of(tmp_path / "sweep-assignment")["experiments"]] == [
        "learning_rate-1e-3"
    ]


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
    "a suite's name for a sweep": (["--sweep=l2=0", "--suite=ladder"], "is no name for a sweep"),
    "a path for a sweep": (["--sweep=l2=0", "--suite=../x"], "is no name for a sweep"),
    "an empty sweep": (["--sweep= "], "--sweep: found no setting"),
    "a swept setting given too": (["--sweep=l2=0,1", "--l2=2"], "l2 is set by --l2"),
    "swept epochs under a budget": (["--sweep=epochs=1,2", "--budget=1"], "epochs is set by"),
    "no epochs": (["--suite=ladder", "--epochs=0"], "--epochs: found 0"),
    "misspelt split": (["--suite=ladder", "--dev_split=fist"], "did you mean 'first'"),
    "a budget without a sweep": (["--suite=ladder", "--budget=1"], "--budget: found 1"),
    "a budget of nothing": (["--sweep=l2=0", "--budget=0"], "--budget: found 0"),
    "no dev split": (["--suite=ladder", "--dev_fraction=0", "--data=digits"], "the dev split compares"),
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


EPOCHS = {  # name: (suite, --epochs, {experiment: (epochs, patience)})
    "as published": ("assignment", None, {"two_conv": (15, 5), "two_conv_stopped": (50, 5), "final": (50, 5)}),
    "a fifth": ("assignment", 10, {"two_conv": (3, 5), "two_conv_stopped": (10, 1), "final": (10, 1)}),
    "twice": ("assignment", 100, {"two_conv": (30, 5), "final": (100, 10)}),
    "the least": ("restaurant", 1, {"model_1": (1, 5), "model_3_1": (1, 5)}),
    "half": ("restaurant", 25, {"model_1": (10, 5), "model_3_1": (25, 5)}),
}


@pytest.mark.parametrize("case", EPOCHS)
def test_epochs_scale_the_others_and_patience_where_it_counts(case):
    name, epochs, expected = EPOCHS[case]
    values = experiments.define_flags()
    values(["experiments", *([f"--epochs={epochs}"] if epochs else [])])
    found = {row: experiments._recipe(values, suites.SUITES[name], row) for row in expected}
    assert {row: (recipe.epochs, recipe.patience) for row, recipe in found.items()} == expected


class Rungs:
    """Stands for experiments.Work: notes what is trained; a score is the learning rate, an epoch takes a second."""

    fingerprints = {}  # noqa: RUF012

    def __init__(self, before=0):
        self.trained, self.first, self.spent = [], None, 0.0
        self.reached = {"e0": before}  # epochs that an earlier call has left

    def job(self, row, recipe, n):
        return experiments.Job(row, recipe, None)

    def train(self, jobs, budget=None):
        for job in jobs:
            if budget is not None and self.spent >= budget:
                break
            self.spent += max(0, job.recipe.epochs - self.reached.get(job.experiment, 0))
            job.epoch = self.reached[job.experiment] = max(job.recipe.epochs, self.reached.get(job.experiment, 0))
            job.state, job.score, job.seconds = "done", job.recipe.learning_rate, float(job.epoch)
            self.trained.append((job.experiment, job.recipe.epochs))
        return []

    def remembered(self, key):
        return self.first

    def remember(self, key, first):
        self.first = first


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize(
    ("budget", "first"), [(9 * 5 + 3 * 10 + 1 * 30, 5), (21.5, 1), (1, 1), (10_000, 5)]
)  # seconds: 9 experiments x first epochs, 3 x two times as many more, 1 x six times as many more
def test_successive_halving_keeps_a_third_for_three_times_as_long(budget, first, before):
    recipe_of = {f"e{n}": Recipe(learning_rate=(n + 1) / 100, epochs=45) for n in range(9)}
    work = Rungs(before)
    assert experiments._halve(work, recipe_of, budget, 1) == []
    assert work.first == first
    probe, *trained = work.trained
    assert probe == ("e0", 1)
    if budget == 1 and not before:  # the probe has spent it
        assert trained == []
        return
    if budget == 1:
        assert trained == [("e0", 1), ("e1", 1)]
        return
    assert trained[:9] == [(f"e{n}", first) for n in range(9)]
    assert trained[9:12] == [(f"e{n}", 3 * first) for n in (8, 7, 6)]
    assert trained[12:] == [("e8", 9 * first)]
    assert work.spent <= max(budget, 21)


def test_a_sweep_by_halving_trains_and_ends_with_a_report(folder, command, tmp_path):
    arguments = [f"--data={folder}", f"--checkpoints={tmp_path}", *SMALL, "--net=vgg_tiny", "--epochs=3"]
    arguments += ["--sweep=warmup_steps=0,1", "--budget=1", "--suite=mine", "--stop_on=nothing"]
    first = command("experiments", *arguments)
    assert first.status == 0
    rows = report_of(tmp_path / "mine")["experiments"]
    assert sorted(row["epochs"] for row in rows) == [1, 3]
    assert max(rows, key=lambda row: row["epochs"])["experiment"] in first.out.split("rung 2/2")[1]
    again = command("experiments", *arguments)
    assert again.status == 0
    assert "epoch 1/" not in again.out  # nothing is trained twice
    assert report_of(tmp_path / "mine")["experiments"] == rows


def start(folder, root, *arguments):
    """Start TWO in a process of its own."""
    words = [
        sys.executable,
        "-m",
        "graphcnn.experiments",
        *TWO,
        f"--data={folder}",
        f"--checkpoints={root}",
        *arguments,
    ]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for_a_line(process, part):
    for line in process.stdout:
        if part in line:
            return
    raise AssertionError(f"{part!r} was not printed")


def test_a_suite_killed_at_any_moment_ends_with_the_same_report(done, folder, tmp_path):
    """SIGKILL while it starts, between two epochs and while it scores; its children are left to themselves."""
    for part, seconds in (("data:", 3), ("epoch 1/2", 0), ("epoch 2/2", 2)):
        process = start(folder, tmp_path)
        wait_for_a_line(process, part)
        time.sleep(seconds * np.random.default_rng().random())
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    process = start(folder, tmp_path)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, (out[-2000:], err[-2000:])
    assert without_clocks(report_of(tmp_path / "ladder")) == without_clocks(report_of(done / "ladder"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_suite_ends_its_trainings_and_says_how_to_go_on(number, folder, tmp_path):
    process = start(folder, tmp_path, "--epochs=500")
    wait_for_a_line(process, "epoch   1/500")
    process.send_signal(number)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Continue with: ./run.sh experiments" in out
    from graphcnn.storage.run import all_runs

    for run in all_runs(tmp_path):
        with run.lock():  # nobody is training it any more
            pass


@pytest.mark.parametrize(
    ("error", "spoilt"),
    [
        ("{run}/epoch-0002/model.ckpt.index: damaged, its sha256 is …", True),
        ("{run}/last: missing, though there is a best; restore the link, or use --overwrite", True),
        ("{run}/history.csv: expected rows for epochs 1 to 2; restore it or train with --overwrite", True),
        ("/photos/test/ants/a.jpg: the image is truncated or damaged", False),
        ("{run}/epoch-0002: the checkpoint cannot be saved (No space left on device)", False),
        ("epoch 1: the loss is nan; training stopped", False),
    ],
)
def test_only_damage_to_its_own_files_has_a_run_trained_anew(error, spoilt, tmp_path):
    run = Run(tmp_path, "ladder/four_layer_1-seed51")
    assert experiments._spoilt(run, error.format(run=run.path)) == spoilt


def test_a_sweep_whose_first_experiment_fails_is_timed_by_the_next():
    class Failing(Rungs):
        def train(self, jobs, budget=None):
            done = super().train([job for job in jobs if job.experiment != "e0"], budget)
            failed = [job for job in jobs if job.experiment == "e0"]
            for job in failed:
                job.state = "failed"
            return done + failed

    recipe_of = {f"e{n}": Recipe(learning_rate=(n + 1) / 100, epochs=9) for n in range(3)}
    work = Failing()
    assert {job.experiment for job in experiments._halve(work, recipe_of, 1000, 1)} == {"e0"}
    assert work.trained[-1] == ("e2", 9)


def test_a_damaged_run_is_trained_anew_and_said(done, folder, command, tmp_path):
    import shutil

    shutil.copytree(done, tmp_path / "c", symlinks=True)
    run = tmp_path / "c/ladder/four_layer_1-seed51"
    shutil.rmtree(run / "report")  # so that it is scored again
    (run / "best/model.ckpt.data-00000-of-00001").write_bytes(b"torn")
    outcome = command("experiments", *TWO, f"--data={folder}", f"--checkpoints={tmp_path / 'c'}")
    assert outcome.status == 0
    assert "damaged" in outcome.out
    assert "trained anew" in outcome.out
    assert without_clocks(report_of(tmp_path / "c/ladder")) == without_clocks(report_of(done / "ladder"))


def test_a_second_call_is_refused_while_the_first_one_runs(done, command):
    from graphcnn.common.files import lock

    with lock(done / "ladder" / ".lock"):
        outcome = command("experiments", "--suite=ladder", "--data=digits", f"--checkpoints={done}")
    assert outcome.status == 2
    assert "another training is writing" in outcome.err


def test_a_sweep_names_its_experiments_by_their_settings():
    values = experiments.define_flags()
    values(["experiments", "--sweep=batch_norm=true,false optimizer=adam,sgd", "--recipe=ladder/complex_2"])
    name, suite = experiments._sweep(values)
    assert name == "sweep-ladder-complex_2"
    assert next(iter(suite.experiments)) == "batch_norm-true_optimizer-adam"
    assert suite.experiments["batch_norm-false_optimizer-sgd"].change == {"batch_norm": False, "optimizer": "sgd"}
    assert suite.base == suites.named_recipe("ladder/complex_2").recipe


def test_unknown_values_of_a_sweep_are_refused_before_anything_is_trained():
    values = experiments.define_flags()
    values(["experiments", "--sweep=optimizer=adams"])
    _, suite = experiments._sweep(values)
    with pytest.raises(InputError, match="did you mean 'adam'"):
        experiments._recipe(values, suite, "optimizer-adams")
