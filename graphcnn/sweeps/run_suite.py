"""Train a suite or a sweep and write its report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphcnn.common.errors import InputError
from graphcnn.common.files import refuse_links
from graphcnn.common.locks import lock
from graphcnn.common.progress import say
from graphcnn.common.signals import keyboard_interrupt
from graphcnn.config.recipe import Recipe
from graphcnn.config.suite import Suite
from graphcnn.data import sources
from graphcnn.sweeps.child import ChildProcesses
from graphcnn.sweeps.halving import Halving
from graphcnn.sweeps.scheduler import Scheduler
from graphcnn.sweeps.setup import Setup, load_data, nets_without_weights
from graphcnn.sweeps.write_report import Report


@dataclass(frozen=True)
class Request:
    """The settings of one call of `experiments`.

    Attributes:
        name: name of the suite.
        suite: the suite.
        recipes: {experiment: Recipe} of all experiments; the report includes the finished ones.
        selected: names of the experiments to train.
        recipe_name: the recipe that a sweep changes; None for a suite of named experiments.
        root: folder of all runs.
        source: value of --data; None for the default.
        options: {DataOptions field: value} for the flags that were given.
        dev_split: first or stratified; None for the default of the data.
        dev_fraction: fraction of the training images in the dev split; None for the default of the suite.
        records: folder with records of finished runs, see records.py; None for no records.
        retrain: whether runs with another recipe, data, dev split or net are renamed and trained again.
        seeds: number of seeds of each experiment.
        jobs: number of simultaneous trainings.
        budget: seconds of training epochs for successive halving; None to train all experiments for all epochs.
        command: the command line without the user's folders, for the report.
        full_command: the command line that continues the suite.
    """

    name: str
    suite: Suite
    recipes: dict[str, Recipe]
    selected: list[str]
    recipe_name: str | None
    root: Path
    source: str | None
    options: dict[str, Any]
    dev_split: str | None
    dev_fraction: float | None
    records: Path | None
    retrain: bool
    seeds: int
    jobs: int
    budget: float | None
    command: str
    full_command: str


def run_suite(request: Request) -> int:
    """Train the unfinished experiments and write the report.

    Returns:
        The exit status: 1 if an experiment failed, 130 after SIGINT or SIGTERM, else 0.
    """
    setup = _setup(request)
    scheduler = Scheduler(setup, request.jobs, ChildProcesses(), request.retrain)
    busy = f"--suite={setup.name}: another training is writing {setup.folder}; wait for it"
    recipes = dict(request.recipes)
    try:
        with lock(setup.folder / ".lock", busy), keyboard_interrupt():
            if request.budget is None:
                jobs = [
                    setup.job(experiment, recipes[experiment], index)
                    for index in range(request.seeds)
                    for experiment in request.selected
                ]
                scheduler.refuse_changed(jobs)
                failed = scheduler.train(jobs)
            else:
                selected = {experiment: recipes[experiment] for experiment in request.selected}
                scheduler.refuse_changed(
                    [
                        job
                        for experiment, recipe in selected.items()
                        for job in setup.existing_jobs(experiment, recipe, request.seeds)
                    ]
                )
                halving = Halving(setup, scheduler, selected, request.budget, request.seeds)
                failed = halving.train(halving.memory(setup.folder, setup.data.fingerprints))
                recipes |= selected  # with the number of epochs that halving chose
            report = Report(scheduler, recipes)
            report.write(request.command, failed)
    except KeyboardInterrupt:
        say(f"interrupted; finished epochs are saved. Continue with: {request.full_command}")
        return 130
    return 1 if failed or report.failed else 0


def _setup(request: Request) -> Setup:
    """Load the data and return the Setup of the suite; print the suite and the data."""
    folder = request.root / request.name
    refuse_links(folder, request.root)
    if (folder / "config.json").exists():
        raise InputError(f"--suite={request.name}: {folder} is a single run; delete or rename it")
    published = {request.recipes[name].net for name in request.selected if request.recipes[name].weights == "imagenet"}
    without_weights = frozenset[str]()
    if published:
        without_weights = nets_without_weights(published, request.options.get("data_cache"))
    source = request.source or sources.default_source()
    sizes = sorted({recipe.image_size for recipe in request.recipes.values()})
    split = (request.dev_split, request.dev_fraction, request.suite.dev_fraction)
    data = load_data(source, request.options, *split, sizes)
    say(f"suite {request.name}: {request.suite.source}")
    say(f"data: {source}, {data.description}")
    return Setup(request.name, request.suite, request.root, data, request.recipe_name, without_weights, request.records)
