"""Successive halving: the number of epochs of each experiment for a budget."""

import errno
import os

import pytest

from graphcnn.config.recipe import Recipe
from graphcnn.sweeps.halving import Halving, Memory
from graphcnn.sweeps.job import Job


class Rungs:
    """Replaces Setup and Scheduler. It records the jobs; a score is the learning rate, and an epoch takes 1 s."""

    def __init__(self, before=0):
        self.trained, self.spent = [], 0.0
        self.reached = {"e0": before}  # epochs that an earlier call has left

    def job(self, experiment, recipe, seed_index):
        return Job(experiment, recipe, None)

    def train(self, jobs, budget=None):
        for job in jobs:
            if budget is not None and self.spent >= budget:
                break
            reached = self.reached.get(job.experiment, 0)
            self.spent += max(0, job.recipe.epochs - reached)
            job.epoch = self.reached[job.experiment] = max(job.recipe.epochs, reached)
            job.state, job.score, job.seconds = "done", job.recipe.learning_rate, float(job.epoch)
            job.epoch_seconds = 1.0
            self.trained.append((job.experiment, job.recipe.epochs))
        return []


class FirstFails(Rungs):
    """Fails to train the experiment e0."""

    def train(self, jobs, budget=None):
        failed = [job for job in jobs if job.experiment == "e0"]
        for job in failed:
            job.state = "failed"
        return super().train([job for job in jobs if job.experiment != "e0"], budget) + failed


def recipes(count, epochs):
    return {f"e{n}": Recipe(learning_rate=(n + 1) / 100, epochs=epochs) for n in range(count)}


@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize(
    ("budget", "first"), [(9 * 5 + 3 * 10 + 1 * 30, 5), (9 * 10 + 3 * 20 + 1 * 15, 10), (21.5, 1), (1, 1), (10_000, 45)]
)  # seconds: 9 experiments x first epochs, 3 x two times as many more, 1 x six times as many more
def test_each_rung_trains_a_third_of_the_experiments_three_times_as_long(budget, first, before, tmp_path):
    work, memory = Rungs(before), Memory(tmp_path / "memory", "key")
    assert Halving(work, work, recipes(9, 45), budget, 1).train(memory) == []
    assert memory.read() == first
    probe, *trained = work.trained
    assert probe == ("e0", 1)
    if first >= 5:
        assert trained.pop(0) == ("e0", 5)  # more epochs, because the first one is slow
    if budget == 1 and not before:  # the probe has spent it
        assert trained == []
        return
    if budget == 1:
        assert trained == [("e0", 1), ("e1", 1)]
        return
    assert trained[:9] == [(f"e{n}", first) for n in range(9)]
    if first == 45:  # no rung has more epochs than the recipe
        assert trained[9:] == []
        return
    assert trained[9:12] == [(f"e{n}", 3 * first) for n in (8, 7, 6)]
    assert trained[12:] == [("e8", min(45, 9 * first))]
    assert work.spent <= max(budget, 21)


class SlowStarts(Rungs):
    """The first epoch after each start takes 9 s longer."""

    def train(self, jobs, budget=None):
        for job in jobs:
            if budget is None or self.spent < budget:
                starts = self.reached.get(job.experiment, 0) < job.recipe.epochs
                super().train([job])
                self.spent += 9 * starts
                job.seconds += 9
        return []


@pytest.mark.parametrize("budget", [600, 2000])
def test_most_of_the_budget_is_used_though_each_start_is_slow(budget, tmp_path):
    work = SlowStarts()
    Halving(work, work, recipes(9, 1000), budget, 1).train(Memory(tmp_path / "memory", "key"))
    assert 0.8 * budget < work.spent <= budget + 20  # the two epochs of the probe are started apart
    assert len(work.trained) == 2 + 9 + 3 + 1


def test_a_sweep_whose_first_experiment_fails_is_timed_by_the_next(tmp_path):
    work = FirstFails()
    failed = Halving(work, work, recipes(3, 9), 1000, 1).train(Memory(tmp_path / "memory", "key"))
    assert {job.experiment for job in failed} == {"e0"}
    assert work.trained[-1] == ("e2", 9)


def test_a_sweep_in_which_all_experiments_fail_returns_all_jobs(tmp_path):
    work = FirstFails()
    failed = Halving(work, work, recipes(1, 9), 1000, 1).train(Memory(tmp_path / "memory", "key"))
    assert [job.experiment for job in failed] == ["e0"]


def test_the_first_rung_is_remembered_only_for_the_same_sweep(tmp_path):
    Memory(tmp_path / "memory", "key").write(4)
    work = Rungs()
    Halving(work, work, recipes(3, 45), 10_000, 1).train(Memory(tmp_path / "memory", "key"))
    assert work.trained[:3] == [("e0", 4), ("e1", 4), ("e2", 4)]  # no probe
    assert Memory(tmp_path / "memory", "another").read() is None
    for content in ("", "[]", '{"of": "key"}', '{"of": "key", "first_epochs": "4"}'):
        (tmp_path / "memory").write_text(content)
        assert Memory(tmp_path / "memory", "key").read() is None


def test_a_first_rung_that_cannot_be_read_is_not_chosen_again(tmp_path, monkeypatch):
    memory = Memory(tmp_path / "memory", "key")
    memory.write(4)

    def failing(path, *arguments):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    work = Rungs()
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing)
        with pytest.raises(OSError, match="Input/output error"):
            Halving(work, work, recipes(3, 45), 10_000, 1).train(memory)
    assert work.trained == []
    assert memory.read() == 4


def test_the_key_depends_on_all_that_decides_the_first_rung(tmp_path):
    def key(count=3, budget=60.0, seeds=1, fingerprint="a"):
        return Halving(None, None, recipes(count, 9), budget, seeds).memory(tmp_path, {32: fingerprint}).key

    assert key() == key()
    assert len({key(), key(count=2), key(budget=61.0), key(seeds=2), key(fingerprint="b")}) == 5
    assert key(fingerprint="2:a:layout") == key()  # the key of version 1


class SlowFirst(Rungs):
    """The first epoch of a run takes 100 s, and each later one takes 1 s."""

    def train(self, jobs, budget=None):
        for job in jobs:
            if budget is None or self.spent < budget:
                self.spent += 99 * (job.experiment not in self.reached or not self.reached[job.experiment])
                super().train([job])
                job.seconds += 99
        return []


def test_a_slow_first_epoch_does_not_make_the_rungs_short(tmp_path):
    """With 100 s for each epoch, the budget would be enough for 4 first epochs."""
    work = SlowFirst()
    Halving(work, work, recipes(9, 1000), 9_000, 1).train(Memory(tmp_path / "memory", "key"))
    assert work.trained[:2] == [("e0", 1), ("e0", 5)]
    assert work.trained[2][1] > 100
    assert work.spent <= 9_000
