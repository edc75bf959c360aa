"""The scheduler, with a replacement for the commands."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
from in_process import content_of

from graphcnn.common.errors import InputError
from graphcnn.common.processors import processors
from graphcnn.config.named import RECIPES
from graphcnn.config.recipe import Recipe
from graphcnn.config.suite import Experiment, Suite
from graphcnn.graphs.validate import DataShape, validate
from graphcnn.storage.run import HistoryRow, Run
from graphcnn.sweeps import scheduler
from graphcnn.sweeps.child import Ending
from graphcnn.sweeps.job import standing
from graphcnn.sweeps.scheduler import Scheduler
from graphcnn.sweeps.setup import Setup, SuiteData, with_random_weights

SPLIT = {"kind": "first", "fraction": 0.2}
RECIPE = Recipe(epochs=2)
DATA = SuiteData(
    ("--data=there",), SPLIT, {32: "fingerprint"}, {32: None}, "", has_test_labels=False, image_folder=None
)
EXPERIMENTS = {name: Experiment(description=name) for name in ("a", "b")}
DONE = Ending(0)


def config_of(recipe):
    return {
        "recipe_name": "r",
        "recipe": {field: getattr(recipe, field) for field in recipe.__dataclass_fields__},
        "data": {"source": "there", "fingerprint": "fingerprint", "pixel_max": 255, "image_shape": [32, 32]},
        "split": SPLIT,
        "class_names": ["a", "b"],
    }


def write_run(run, recipe, epochs, worse=0):
    """Write the files of a run with some epochs, without checkpoints. worse: it stopped early after so many."""
    run.create(config_of(recipe), [0, 1])
    row = dict.fromkeys(HistoryRow.__annotations__, 0.5)
    run.write_history([HistoryRow(**{**row, "epoch": n + 1, "step": n}) for n in range(epochs)])
    for link in ("best", "last"):
        (run.path / link).mkdir(exist_ok=True)
        stopping = {"best": 0.5, "worse_in_a_row": worse}
        state = {"epoch": epochs, "best_epoch": epochs, "stopped_early": bool(worse), "stopping": stopping}
        (run.path / link / "state.json").write_text(json.dumps(state))


class Commands:
    """Replaces ChildProcesses. train writes a run, eval makes its result readable, and `endings` replace their ends."""

    def __init__(self, root, endings=()):
        self.root, self.endings = root, dict(endings)
        self.called, self.scored, self.processors, self.stopped = [], set(), [], False

    def run(self, command, arguments, log, on_epoch):
        flags = dict(argument.removeprefix("--").partition("=")[::2] for argument in arguments)
        mode = "resume" if "resume" in flags else ""
        assert "overwrite" not in flags
        self.called.append((command, flags["run"].rpartition("/")[2], mode))
        if hasattr(os, "sched_getaffinity"):
            self.processors.append(os.sched_getaffinity(0))
        ending = self.endings.pop((command, mode), DONE)
        if ending.status == 0 and command == "train":
            write_run(Run(self.root, flags["run"]), RECIPE, RECIPE.epochs)
            on_epoch("epoch 1/2")
        elif ending.status == 0:
            self.scored.add(flags["run"])
        return ending

    def stop(self):
        self.stopped = True


@pytest.fixture
def make_scheduler(tmp_path, monkeypatch):
    """Return a function: make_scheduler(endings of commands) -> (Scheduler, Setup, Commands)."""

    def make(endings=(), jobs=1, retrain=False):
        suite = Suite(source="", unit="", base=RECIPE, dev_fraction=0.2, experiments=EXPERIMENTS)
        setup = Setup("s", suite, tmp_path, DATA)
        setup.folder.mkdir(exist_ok=True)
        commands = Commands(tmp_path, endings)
        monkeypatch.setattr(
            scheduler, "read_result", lambda run, *_: {"scored": True} if run.name in commands.scored else None
        )
        return Scheduler(setup, jobs, commands, retrain), setup, commands

    return make


def test_a_job_is_trained_and_scored_once(make_scheduler):
    trains, setup, commands = make_scheduler()
    assert trains.train([setup.job("a", RECIPE, 0)]) == []
    assert commands.called == [("train", "a-seed51", "resume"), ("eval", "a-seed51", "")]
    job = setup.job("a", RECIPE, 0)
    assert trains.train([job]) == []
    assert len(commands.called) == 2
    assert (job.state, job.epoch, job.score, job.seconds) == ("done", 2, 0.5, 1.0)


def damaged(path):
    return Ending(2, f"{path}: damaged", "DamagedRun", path)


def test_a_damaged_run_is_set_aside_and_trained_again_once(make_scheduler, tmp_path, capsys):
    trains, setup, commands = make_scheduler()
    trains.train([setup.job("a", RECIPE, 0)])
    commands.scored.clear()
    before = content_of(tmp_path / "s/a-seed51")
    file = tmp_path / "s/a-seed51/best/model.ckpt.index"
    commands.endings = {("eval", ""): damaged(file)}
    assert trains.train([setup.job("a", RECIPE, 0)]) == []
    scored = ("eval", "a-seed51", "")
    assert commands.called[2:] == [scored, ("train", "a-seed51", "resume"), scored]
    line = f"eval ended with status 2: {file}: damaged; the old run is kept as a-seed51.replaced-1, and a new one is"
    assert line in capsys.readouterr().out
    assert content_of(tmp_path / "s/a-seed51.replaced-1") == before

    commands.scored.clear()
    del commands.called[:]
    commands.endings = {("eval", ""): damaged(file), ("train", "resume"): damaged(file)}
    assert len(trains.train([setup.job("a", RECIPE, 0)])) == 1
    assert commands.called == [scored, ("train", "a-seed51", "resume")]  # not twice
    assert content_of(tmp_path / "s/a-seed51.replaced-2") == before


def test_a_changed_run_is_trained_again_only_if_the_user_asks_for_it(make_scheduler, tmp_path, capsys):
    trains, setup, commands = make_scheduler()
    jobs = [setup.job(name, RECIPE, 0) for name in "ab"]
    for job in jobs:
        write_run(job.run, Recipe(epochs=2, l2=0.5), 2)
    before = content_of(tmp_path)
    with pytest.raises(InputError) as caught:
        trains.refuse_changed(jobs)
    line = str(caught.value)
    assert line.startswith("--suite=s: nothing was trained: s/a-seed51, s/b-seed51: l2 was 0.5, is now 0.01; ")
    assert line.count("\n") == 0
    assert "--data" in line
    assert "--retrain" in line
    assert trains.train(jobs) == jobs  # also if the runs changed after the check
    assert "s/a-seed51: failed: l2 was 0.5, is now 0.01; give the same --data" in capsys.readouterr().out
    assert commands.called == []
    assert content_of(tmp_path) == before

    trains, setup, commands = make_scheduler(retrain=True)
    trains.refuse_changed(jobs)
    assert trains.train([setup.job("a", RECIPE, 0)]) == []
    line = "s/a-seed51: l2 was 0.5, is now 0.01; the old run is kept as a-seed51.replaced-1"
    assert line in capsys.readouterr().out
    assert Run(tmp_path, "s/a-seed51.replaced-1").config()["recipe"]["l2"] == 0.5
    assert commands.called == [("train", "a-seed51", "resume"), ("eval", "a-seed51", "")]


def test_a_changed_run_without_a_finished_epoch_is_set_aside(make_scheduler, tmp_path):
    trains, setup, _ = make_scheduler()
    job = setup.job("a", RECIPE, 0)
    job.run.create(config_of(Recipe(epochs=2, l2=0.5)), [0, 1])
    trains.refuse_changed([job])
    assert trains.train([job]) == []
    assert (tmp_path / "s/a-seed51.replaced-1/config.json").exists()


def test_a_run_that_cannot_be_read_does_not_refuse_the_suite(make_scheduler):
    trains, setup, _ = make_scheduler()
    jobs = [setup.job(name, RECIPE, 0) for name in "ab"]
    write_run(jobs[0].run, RECIPE, 2)
    jobs[0].run.config_path.write_text("{")
    trains.refuse_changed(jobs)
    assert trains.train(jobs) == [jobs[0]]


@pytest.mark.parametrize(
    "ending",
    [
        damaged("/elsewhere/best/model.ckpt.index"),
        damaged("{root}/s/a-seed510/best/model.ckpt.index"),
        Ending(2, "{root}/s/a-seed51/best/model.ckpt.index: damaged", "InputError"),
        Ending(2, "{root}/s/a-seed51/last: missing; restore it or use --overwrite", "InputError"),
        Ending(2, "Permission denied", "PermissionError", "{root}/s/a-seed51/best/model.ckpt.index"),
        Ending(1, "KeyError: 'damaged'", "KeyError"),
        Ending(-9, "it was terminated by SIGKILL"),
    ],
)
def test_other_endings_do_not_retrain_a_run(ending, make_scheduler, tmp_path):
    trains, setup, commands = make_scheduler()
    trains.train([setup.job("a", RECIPE, 0)])
    commands.scored.clear()
    before = content_of(tmp_path / "s/a-seed51")
    path = ending.path and Path(str(ending.path).format(root=tmp_path))
    commands.endings = {("eval", ""): ending._replace(message=ending.message.format(root=tmp_path), path=path)}
    failed = trains.train([setup.job("a", RECIPE, 0), setup.job("b", RECIPE, 0)])
    assert [job.experiment for job in failed] == ["a"]
    assert [call for call in commands.called if call[0] == "train"] == [
        ("train", "a-seed51", "resume"), ("train", "b-seed51", "resume"),
    ]  # fmt: skip
    assert content_of(tmp_path / "s/a-seed51") == before
    assert list(tmp_path.glob("s/*.replaced-*")) == []


@pytest.mark.parametrize("error", [KeyError("macro_f1"), PermissionError(13, "Permission denied", "report/dev.json")])
def test_unreadable_results_fail_only_one_experiment(error, make_scheduler, monkeypatch, tmp_path, capsys):
    trains, setup, _ = make_scheduler()

    def read(run, *_):
        if "a-seed51" in run.name:
            raise error
        return {"scored": True}

    monkeypatch.setattr(scheduler, "read_result", read)
    failed = trains.train([setup.job("a", RECIPE, 0), setup.job("b", RECIPE, 0)])
    assert [job.experiment for job in failed] == ["a"]
    words = "KeyError: 'macro_f1'" if isinstance(error, KeyError) else "report/dev.json: Permission denied"
    assert f"s/a-seed51: failed: {words}; the suite continues" in capsys.readouterr().out
    log = tmp_path / "s/a-seed51.log"
    assert ("Traceback" in log.read_text() if log.exists() else False) == isinstance(error, KeyError)
    assert list(tmp_path.glob("s/*.replaced-*")) == []


def test_eval_without_scores_is_reported(make_scheduler, monkeypatch, capsys):
    trains, setup, _ = make_scheduler()
    monkeypatch.setattr(scheduler, "read_result", lambda run, *_: None)
    assert len(trains.train([setup.job("a", RECIPE, 0)])) == 1
    assert "eval has written no scores" in capsys.readouterr().out


@pytest.mark.skipif(len(processors()) < 2 or not hasattr(os, "sched_setaffinity"), reason="needs two processors")
def test_two_jobs_at_a_time_divide_the_processors(make_scheduler):
    trains, setup, commands = make_scheduler(jobs=2)
    assert trains.train([setup.job(name, RECIPE, seed) for name in "ab" for seed in range(3)]) == []
    assert len(commands.called) == 12
    half = len(processors()) // 2
    assert {len(each) for each in commands.processors} == {half}
    assert os.sched_getaffinity(0) == set(processors())


def test_no_job_is_started_after_the_budget(make_scheduler):
    trains, setup, _ = make_scheduler()
    jobs = [setup.job("a", RECIPE, seed) for seed in range(4)]
    trains.train(jobs, budget=1.5)  # seconds; a job of two epochs takes 1 s
    assert [job.state for job in jobs] == ["done", "done", "waiting", "waiting"]


def stopping(epochs, patience, **settings):
    return Recipe(epochs=epochs, patience=patience, **settings)


STANDINGS = {  # name: (recorded recipe, epochs trained, worse epochs if it stopped early, recipe, (action, reason))
    "finished": (RECIPE, 2, 0, RECIPE, ("done", "")),
    "longer than asked for": (Recipe(epochs=3), 3, 0, RECIPE, ("done", "it has 3 epochs and is kept")),
    "interrupted": (RECIPE, 1, 0, RECIPE, ("resume", "continues after epoch 1")),
    "shorter than asked for": (RECIPE, 2, 0, Recipe(epochs=5), ("resume", "epochs was 2, is now 5")),
    "another rate": (RECIPE, 2, 0, Recipe(epochs=2, l2=0.5), ("changed", "l2 was 0.01, is now 0.5")),
    "another rate without an epoch": (RECIPE, None, 0, Recipe(epochs=2, l2=0.5), ("replace", "l2 was 0.01")),
    "longer with another rate": (RECIPE, 2, 0, Recipe(epochs=3, l2=0.5), ("changed", "epochs was 2")),
    "precision chosen by the machine": (Recipe(epochs=2, precision="float32"), 2, 0, RECIPE, ("done", "")),
    "patience that nothing uses": (
        stopping(2, 1, stop_on="nothing"), 2, 0, stopping(2, 5, stop_on="nothing"), ("done", ""),
    ),
    "longer without early stopping": (
        stopping(2, 5, stop_on="nothing"), 2, 0, stopping(3, 1, stop_on="nothing"), ("resume", "epochs was 2"),
    ),
    "a longer schedule": (
        Recipe(epochs=2, schedule="linear"), 2, 0, Recipe(epochs=3, schedule="linear"), ("changed", "epochs was 2"),
    ),
    "more patience with a schedule": (
        Recipe(epochs=2, schedule="linear"), 2, 0, stopping(2, 9, schedule="linear"), ("changed", "patience was 5"),
    ),
    "longer with more patience": (
        stopping(2, 1), 2, 0, stopping(4, 2), ("resume", "epochs was 2, is now 4; patience was 1, is now 2"),
    ),
    "stopped early, longer": (stopping(9, 2), 4, 3, stopping(18, 2), ("done", "it has 4 epochs and is kept")),
    "stopped early, with more patience": (
        stopping(9, 2), 4, 3, stopping(9, 3), ("resume", "patience was 2, is now 3"),
    ),
    "stopped early, and interrupted after it got more patience": (
        stopping(9, 3), 4, 3, stopping(9, 3), ("resume", "continues after epoch 4"),
    ),
    "shorter with less patience": (stopping(9, 3), 9, 0, stopping(3, 1), ("done", "it has 9 epochs and is kept")),
    "stopped early, shorter with less patience": (
        stopping(9, 3), 6, 4, stopping(8, 1), ("done", "it has 6 epochs and is kept"),
    ),
    "interrupted, shorter with less patience": (stopping(9, 3), 2, 0, stopping(3, 1), ("changed", "patience was 3")),
    "longer with less patience": (stopping(2, 3), 2, 0, stopping(4, 1), ("changed", "patience was 3")),
}  # fmt: skip


@pytest.mark.parametrize("case", STANDINGS)
def test_the_action_of_a_job(case, tmp_path, make_scheduler):
    recorded, epochs, worse, recipe, (action, words) = STANDINGS[case]
    job = make_scheduler()[1].job("a", recipe, 0)
    if epochs is None:
        job.run.create(config_of(recorded), [0, 1])
    else:
        write_run(job.run, recorded, epochs, worse)
    state = standing(job, SPLIT, "fingerprint")
    assert state.action == action
    assert words in state.reason
    assert bool(words) == bool(state.reason)
    if action == "done":
        assert standing(job, {**SPLIT, "fraction": 0.3}, "fingerprint").action == "changed"
        assert standing(job, SPLIT, "another").action == "changed"


def test_a_run_of_version_1_keeps_its_data(tmp_path, make_scheduler):
    """It recorded only the content part of the fingerprint."""
    job = make_scheduler()[1].job("a", RECIPE, 0)
    write_run(job.run, RECIPE, RECIPE.epochs)
    assert standing(job, SPLIT, "2:fingerprint:layout").action == "done"
    assert standing(job, SPLIT, "2:another:layout").action == "changed"
    job.run.write_config({**config_of(RECIPE), "data": {**config_of(RECIPE)["data"], "fingerprint": "2:content:names"}})
    assert standing(job, SPLIT, "2:content:names").action == "done"
    assert standing(job, SPLIT, "2:content:others").action == "changed"


def test_a_half_deleted_run_is_not_trained_again(tmp_path, make_scheduler):
    job = make_scheduler()[1].job("a", RECIPE, 0)
    write_run(job.run, RECIPE, 2)
    job.run.config_path.unlink()  # as a killed `train --overwrite` leaves it
    with pytest.raises(InputError, match=r"config\.json: this file is missing"):
        standing(job, SPLIT, "fingerprint")


def test_only_published_weights_become_random():
    recipe = Recipe(net="resnet50", weights="imagenet", head="pooled")
    assert with_random_weights(recipe).weights == "none"
    assert with_random_weights(RECIPE) is RECIPE


def test_random_weights_instead_of_published_ones_unfreeze_batch_norm():
    """Random weights have no moving moments that could be kept, so `train` refuses frozen batch norm with them."""
    recipe = dataclasses.replace(RECIPES["transfer"].recipe, finetune_epochs=1)
    without = with_random_weights(recipe)
    assert (recipe.freeze_batch_norm, without.freeze_batch_norm, without.weights) == (True, False, "none")
    validate(without, DataShape((64, 64), classes=2, training_images=10, dev_images=2))
