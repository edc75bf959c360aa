"""Successive halving: train all experiments of a sweep for a few epochs, then the best third for three times as many.

Each further rung again trains the best third for three times as many epochs. Source: Jamieson and Talwalkar,
"Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from graphcnn.common.files import read_json
from graphcnn.common.progress import format_duration, say
from graphcnn.common.replace import atomic_write
from graphcnn.config.parse import ALIASES
from graphcnn.config.recipe import Recipe
from graphcnn.data.fingerprint import content_of
from graphcnn.sweeps.job import Job

REDUCTION = 3  # a rung has 1/REDUCTION of the experiments of the rung before it
PROBE_EPOCHS = 5  # epochs of the run that predicts the seconds of an epoch; the first ones of a process are slow
PROBE_FRACTION = 0.1  # largest fraction of the budget that they may take, if the first rung has fewer epochs
GROWTH = 3  # a rung has GROWTH times the epochs of the rung before it


@dataclass(frozen=True)
class Timing:
    """The duration of a training.

    Args:
        start: seconds that each start of a training adds, because its first epoch is slow, and seconds of fine-tuning.
        epoch: seconds of an epoch.
    """

    start: float
    epoch: float


class JobTrainer(Protocol):
    """The interface of Scheduler that halving uses."""

    def train(self, jobs: Sequence[Job], budget: float | None = None) -> list[Job]:
        """Train the unfinished jobs and return the failed ones."""


class JobFactory(Protocol):
    """The interface of Setup that halving uses."""

    def job(self, experiment: str, recipe: Recipe, seed_index: int) -> Job:
        """Return the Job that trains an experiment with its recipe's seed + seed_index."""


@dataclass
class Memory:
    """A file with the number of epochs of the first rung, so that a call that continues a sweep uses the same number.

    Args:
        path: the file.
        key: hash of everything that the number depends on; a number with another key is ignored.
    """

    path: Path
    key: str

    def read(self) -> int | None:
        """Return the number of epochs that an earlier call with the same key wrote; None if there is none.

        Raises:
            OSError: the file cannot be read. The sweep must end, because it would choose and write another number.
        """
        try:
            content = read_json(self.path, follow=False)
            epochs = content["first_epochs"]
            return epochs if content["of"] == self.key and type(epochs) is int and epochs >= 1 else None
        except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def write(self, epochs: int) -> None:
        """Write the number of epochs."""
        with atomic_write(self.path) as file:
            file.write(json.dumps({"of": self.key, "first_epochs": epochs}).encode())


class Halving:
    """A sweep by successive halving.

    Args:
        setup: creates the jobs.
        scheduler: trains the jobs.
        recipes: {experiment: Recipe}. `train` replaces the number of epochs of each recipe.
        budget: total seconds of training epochs.
        seeds: number of seeds of each experiment.
    """

    def __init__(
        self, setup: JobFactory, scheduler: JobTrainer, recipes: dict[str, Recipe], budget: float, seeds: int
    ) -> None:
        self.setup, self.scheduler = setup, scheduler
        self.recipes, self.budget, self.seeds = recipes, budget, seeds
        self.counts = [len(recipes)]  # number of experiments in each rung
        while self.counts[-1] > 1:
            self.counts.append(math.ceil(self.counts[-1] / REDUCTION))
        self.factors = [GROWTH**rung for rung in range(len(self.counts))]  # epochs relative to the first rung
        self.most_epochs = next(iter(recipes.values())).epochs

    def memory(self, folder: Path, fingerprints: dict[int, str]) -> Memory:
        """Return the Memory of this sweep in the suite's folder; fingerprints: {image size: data fingerprint}."""
        old_names = {name: old for old, name in ALIASES.items()}  # so that the key of a sweep of version 1 stays valid
        recipes = {
            experiment: {old_names.get(name, name): value for name, value in dataclasses.asdict(recipe).items()}
            for experiment, recipe in self.recipes.items()
        }
        contents = {size: content_of(fingerprint) for size, fingerprint in fingerprints.items()}
        text = json.dumps([recipes, self.budget, self.seeds, contents], sort_keys=True)
        return Memory(folder / ".halving.json", hashlib.sha256(text.encode()).hexdigest())

    def train(self, memory: Memory) -> list[Job]:
        """Train as many rungs as the budget allows; return the failed jobs."""
        first = memory.read()
        if first is None:
            probe, failed = self._probe()
            if probe is None:
                return failed
            epoch = probe.seconds / probe.epoch
            timing = Timing(probe.recipe.finetune_epochs * epoch, epoch)
            first = self._first_epochs(timing)
            if first >= PROBE_EPOCHS or PROBE_EPOCHS * epoch <= PROBE_FRACTION * self.budget:
                timing = self._after_more_epochs(probe, timing)
                first = self._first_epochs(timing)
            self._say_plan(first, self._seconds(first, timing))
            memory.write(first)
        experiments, failed = list(self.recipes), []
        for rung, count in enumerate(self.counts):
            experiments = experiments[:count]
            jobs = self._jobs(experiments, first * self.factors[rung])
            epochs = jobs[0].recipe.epochs
            say(f"rung {rung + 1}/{len(self.counts)}: {len(experiments)} experiments for {epochs} epochs")
            failed += self.scheduler.train(jobs, self.budget)
            experiments = _best_first(jobs)
            if any(job.state == "waiting" for job in jobs):
                say(f"the budget of {self.budget / 60:g} minutes is used up")
                break
            if not experiments or epochs == self.most_epochs:
                break
        return failed

    def _jobs(self, experiments: Sequence[str], epochs: int) -> list[Job]:
        """Return the jobs of a rung; set its number of epochs in the recipes."""
        for experiment in experiments:
            recipe = dataclasses.replace(self.recipes[experiment], epochs=min(epochs, self.most_epochs))
            self.recipes[experiment] = recipe
        return [
            self.setup.job(experiment, self.recipes[experiment], index)
            for index in range(self.seeds)
            for experiment in experiments
        ]

    def _probe(self) -> tuple[Job | None, list[Job]]:
        """Train experiments for one epoch until one succeeds; return (its job or None, the failed jobs)."""
        failed: list[Job] = []
        for experiment in list(self.recipes):
            job = self._jobs([experiment], 1)[0]
            failures = self.scheduler.train([job])
            if not failures:
                return job, failed
            failed += failures
        return None, failed

    def _after_more_epochs(self, probe: Job, timing: Timing) -> Timing:
        """Return the Timing after training the probe for more epochs; `timing` if it already has them or fails."""
        job = self._jobs([probe.experiment], PROBE_EPOCHS)[0]
        if self.scheduler.train([job]) or job.epoch <= probe.epoch:
            return timing
        more = probe.seconds - (probe.epoch - probe.recipe.finetune_epochs) * job.epoch_seconds
        return Timing(max(0.0, more), job.epoch_seconds)

    def _first_epochs(self, timing: Timing) -> int:
        """Return the largest number of epochs of the first rung for which all rungs fit into the budget, at least 1."""
        fitting = (first for first in range(self.most_epochs, 1, -1) if self._seconds(first, timing) <= self.budget)
        return next(fitting, 1)

    def _seconds(self, first: int, timing: Timing) -> float:
        """Return the seconds of all rungs if the first one has `first` epochs.

        A run continues from one rung to the next one, unless its schedule depends on the number of epochs. No rung has
        more epochs than the recipe, so a run with this number of epochs is not trained again.
        """
        planned = next(iter(self.recipes.values())).planned()
        seconds, earlier = 0.0, 0
        for count, factor in zip(self.counts, self.factors, strict=True):
            epochs = min(first * factor, self.most_epochs)
            if epochs > earlier:
                seconds += (
                    self.seeds * count * (timing.start + timing.epoch * (epochs if planned else epochs - earlier))
                )
            earlier = epochs
        return seconds

    def _say_plan(self, first: int, seconds: float) -> None:
        most = "; each experiment gets all of its epochs, so only a larger --epochs uses more of the budget"
        say(
            f"successive halving: {first} epochs in the first rung, about {format_duration(seconds)} of training; the "
            f"budget is {format_duration(self.budget)}{most if first == self.most_epochs else ''}"
        )


def _best_first(jobs: Sequence[Job]) -> list[str]:
    """Return the experiments with a finished job, in decreasing order of mean dev macro F1."""
    scores: dict[str, list[float]] = {}
    for job in jobs:
        if job.state == "done" and job.score is not None:
            scores.setdefault(job.experiment, []).append(job.score)
    return sorted(scores, key=lambda experiment: -sum(scores[experiment]) / len(scores[experiment]))
