"""Successive halving: all experiments of a sweep for some epochs, the best third for three times as many, and so on.

Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016.
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

from graphcnn.common.files import atomic_write
from graphcnn.common.progress import say
from graphcnn.config.recipe import ALIASES, Recipe
from graphcnn.sweeps.job import Job

KEPT = 3  # one in so many experiments of a rung is trained in the next rung
LONGER = 3  # the next rung has so many times as many epochs


class Trains(Protocol):
    """Trains jobs; see Scheduler."""

    def train(self, jobs: Sequence[Job], budget: float | None = None) -> list[Job]:
        """Train the jobs that are not done and return those that failed."""


class MakesJobs(Protocol):
    """Makes jobs; see Setup."""

    def job(self, experiment: str, recipe: Recipe, seed_index: int) -> Job:
        """Return the Job that trains an experiment with its recipe's seed + seed_index."""


@dataclass
class Memory:
    """Remembers the number of epochs of the first rung, so that a call that continues a sweep uses the same number.

    Args:
        path: the file.
        key: of everything that the number depends on; the number of another key is not used.
    """

    path: Path
    key: str

    def read(self) -> int | None:
        """Return the number of epochs that an earlier call with the same key has written, or None."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            epochs = content["first_epochs"]
            return epochs if content["of"] == self.key and type(epochs) is int and epochs >= 1 else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, epochs: int) -> None:
        """Write the number of epochs."""
        with atomic_write(self.path) as file:
            file.write(json.dumps({"of": self.key, "first_epochs": epochs}).encode())


class Halving:
    """A sweep by successive halving.

    Args:
        setup: makes the jobs.
        scheduler: trains them.
        recipes: {experiment: Recipe}. `train` gives each recipe the number of epochs that its experiment gets.
        budget: seconds of epochs of all jobs together.
        seeds: the number of seeds of each experiment.
    """

    def __init__(
        self, setup: MakesJobs, scheduler: Trains, recipes: dict[str, Recipe], budget: float, seeds: int
    ) -> None:
        self.setup, self.scheduler = setup, scheduler
        self.recipes, self.budget, self.seeds = recipes, budget, seeds
        self.counts = [len(recipes)]  # experiments of each rung
        while self.counts[-1] > 1:
            self.counts.append(math.ceil(self.counts[-1] / KEPT))
        self.factors = [LONGER**rung for rung in range(len(self.counts))]  # epochs of each rung, in first rung's epochs
        self.most_epochs = next(iter(recipes.values())).epochs

    def memory(self, folder: Path, fingerprints: dict[int, str]) -> Memory:
        """Return the Memory of this sweep in the suite's folder; fingerprints are those of the data."""
        old_names = {name: old for old, name in ALIASES.items()}  # so that the key of a sweep of version 1 stays valid
        recipes = {
            experiment: {old_names.get(name, name): value for name, value in dataclasses.asdict(recipe).items()}
            for experiment, recipe in self.recipes.items()
        }
        text = json.dumps([recipes, self.budget, self.seeds, fingerprints], sort_keys=True)
        return Memory(folder / ".halving.json", hashlib.sha256(text.encode()).hexdigest())

    def train(self, memory: Memory) -> list[Job]:
        """Train all rungs that the budget allows and return the jobs that failed."""
        first = memory.read()
        if first is None:
            probe, failed = self._probe()
            if probe is None:
                return failed
            first = self._first_epochs(probe)
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
                say(f"the budget of {self.budget / 60:g} minutes is spent")
                break
            if not experiments:
                break
        return failed

    def _jobs(self, experiments: Sequence[str], epochs: int) -> list[Job]:
        """Return the jobs of a rung, and note its number of epochs in the recipes."""
        for experiment in experiments:
            recipe = dataclasses.replace(self.recipes[experiment], epochs=min(epochs, self.most_epochs))
            self.recipes[experiment] = recipe
        return [
            self.setup.job(experiment, self.recipes[experiment], index)
            for index in range(self.seeds)
            for experiment in experiments
        ]

    def _probe(self) -> tuple[Job | None, list[Job]]:
        """Train one epoch of the first experiment that does not fail; return (its job or None, the failed jobs)."""
        failed: list[Job] = []
        for experiment in list(self.recipes):
            job = self._jobs([experiment], 1)[0]
            failures = self.scheduler.train([job])
            if not failures:
                return job, failed
            failed += failures
        return None, failed

    def _first_epochs(self, probe: Job) -> int:
        """Return how many epochs the first rung gets, by the seconds of the probe's epochs.

        A run continues from one rung to the next one, unless its schedule depends on the number of epochs.
        """
        already = [0] * len(self.factors) if probe.recipe.planned() else [0, *self.factors]
        rungs = zip(self.counts, self.factors, already, strict=False)
        units = self.seeds * sum(count * (factor - earlier) for count, factor, earlier in rungs)
        finetuning = self.seeds * sum(self.counts) * probe.recipe.finetune_epochs
        affordable = self.budget * probe.epoch / probe.seconds - finetuning
        return max(1, min(self.most_epochs // self.factors[-1], int(affordable / units)))


def _best_first(jobs: Sequence[Job]) -> list[str]:
    """Return the experiments that have a finished job, the highest mean dev macro F1 first."""
    scores: dict[str, list[float]] = {}
    for job in jobs:
        if job.state == "done" and job.score is not None:
            scores.setdefault(job.experiment, []).append(job.score)
    return sorted(scores, key=lambda experiment: -sum(scores[experiment]) / len(scores[experiment]))
