"""The folder, data and dev split that are common to all experiments of a suite."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphcnn.common.errors import InputError, WeightsUnavailable
from graphcnn.common.progress import say
from graphcnn.config.recipe import Recipe
from graphcnn.config.suite import Suite
from graphcnn.data import sources
from graphcnn.data.splits import split_dev, split_settings
from graphcnn.storage.run import Run
from graphcnn.sweeps.job import Job


@dataclass(frozen=True)
class SuiteData:
    """The data and the dev split of all experiments of a suite.

    Attributes:
        flags: --data and its options, for the command line of a child process.
        split: {"kind", "fraction"} of the dev split.
        fingerprints: {image size: fingerprint of the dataset}; a folder of images is decoded at each size.
        test_fingerprints: {image size: fingerprint of the labelled test split, or None without one}.
        description: text with the numbers of training and dev images, for the user.
        has_test_labels: whether the data have a labelled test split.
        image_folder: the folder with the class folders of image files, if it has a labelled test split; else None.
        train_flags: further flags for the command line of `train`; other commands follow the run.
    """

    flags: tuple[str, ...]
    split: dict[str, Any]
    fingerprints: dict[int, str]
    test_fingerprints: dict[int, str | None]
    description: str
    has_test_labels: bool
    image_folder: Path | None
    train_flags: tuple[str, ...] = ()


def load_data(
    source: str,
    options: dict[str, Any],
    split_kind: str | None,
    fraction: float | None,
    default_fraction: float,
    image_sizes: Sequence[int],
) -> SuiteData:
    """Return the SuiteData of a data source.

    Args:
        source: value of --data.
        options: {DataOptions field: value} for the flags that were given.
        split_kind: first or stratified; None for the default of the data.
        fraction: fraction of the training images in the dev split; None if the user has not chosen one.
        default_fraction: the fraction if the user has not chosen one.
        image_sizes: image sizes of all experiments, in pixels.
    """
    if fraction == 0:
        raise InputError(
            "--dev_fraction: found 0, expected a fraction above 0, because the experiments are compared on dev"
        )
    datasets = {
        size: sources.load(source, test=True, options=sources.DataOptions(size, **options)) for size in image_sizes
    }
    dataset = datasets[image_sizes[0]]
    split = split_settings(dataset, split_kind, fraction, default_fraction)
    train_rows, dev_rows = split_dev(dataset, split_kind, split["fraction"])
    flags: list[str] = []
    train_flags: list[str] = []
    for name, value in options.items():
        (train_flags if name == "fit" else flags).append(f"--{name}={value}")
    has_image_files = dataset.has_test_labels and Path(dataset.file("y_train")).is_dir()
    return SuiteData(
        flags=(f"--data={dataset.source}", *flags),
        train_flags=tuple(train_flags),
        split=split,
        fingerprints={size: loaded.fingerprint for size, loaded in datasets.items()},
        test_fingerprints={size: loaded.test_fingerprint() for size, loaded in datasets.items()},
        description=f"{len(train_rows):,} training, {len(dev_rows):,} dev images ({split['kind']})",
        has_test_labels=dataset.has_test_labels,
        image_folder=Path(source).resolve() if has_image_files else None,
    )


@dataclass(frozen=True)
class Setup:
    """A suite with its data and folder.

    Attributes:
        name: name of the suite, and of its folder under `root`.
        suite: the experiments.
        root: folder of all runs.
        data: data of all experiments.
        recipe_name: the recipe that a sweep changes; None for a suite of named experiments.
        without_weights: nets whose published weights are not available; their runs start with random weights.
        records: folder with records of finished runs, see records.py; None for no records.
    """

    name: str
    suite: Suite
    root: Path
    data: SuiteData
    recipe_name: str | None = None
    without_weights: frozenset[str] = frozenset()
    records: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder of the suite's runs and report."""
        return self.root / self.name

    def job(self, experiment: str, recipe: Recipe, seed_index: int) -> Job:
        """Return the Job that trains an experiment with its recipe's seed + seed_index.

        A run whose schedule depends on its number of epochs cannot be extended, so each number of epochs has its own
        run.
        """
        recipe = dataclasses.replace(recipe, seed=recipe.seed + seed_index)
        length = f"-epochs{recipe.epochs}" if recipe.planned() else ""
        return Job(experiment, recipe, Run(self.root, f"{self.name}/{experiment}-seed{recipe.seed}{length}"))

    def runs(self, experiment: str, seed: int) -> Iterator[tuple[Run, int, int | None]]:
        """Yield the runs of an experiment that exist in the suite's folder or in the folder of records.

        Args:
            experiment: name of the experiment.
            seed: seed of its recipe.

        Yields:
            (Run in the suite's folder, its seed minus `seed`, the number of epochs in its name or None). Smaller seeds
            are left out.
        """
        pattern = re.compile(re.escape(experiment) + r"-seed(\d+)(?:-epochs(\d+))?")
        folders = [folder for folder in (self.folder, self.records) if folder is not None]
        paths = [path for folder in folders for path in folder.glob(f"{experiment}-seed*") if path.is_dir()]
        for name in dict.fromkeys(path.name for path in paths):
            match = pattern.fullmatch(name)
            index = int(match[1]) - seed if match else -1
            if match and index >= 0:
                yield Run(self.root, f"{self.name}/{name}"), index, int(match[2]) if match[2] else None

    def existing_jobs(self, experiment: str, recipe: Recipe, seeds: int) -> Iterator[Job]:
        """Yield a Job for each existing run of an experiment with one of its first `seeds` seeds and any epochs."""
        for run, index, epochs in self.runs(experiment, recipe.seed):
            job = self.job(experiment, dataclasses.replace(recipe, epochs=epochs or recipe.epochs), index)
            if index < seeds and job.run.path == run.path:
                yield job

    def log(self, run: Run) -> Path:
        """Return the log file for all output of the processes that train and score the run."""
        return self.root / f"{run.name}.log"


def with_random_weights(recipe: Recipe) -> Recipe:
    """Return the recipe with random weights instead of published ones, and with batch norm that is not frozen."""
    if recipe.weights != "imagenet":
        return recipe
    return dataclasses.replace(recipe, weights="none", freeze_batch_norm=False)


def nets_without_weights(nets: Iterable[str], data_cache: str | None) -> frozenset[str]:
    """Return the nets whose published weights are not available; print the reasons."""
    from graphcnn.weights.published import published_file  # imports TensorFlow, which no other function here needs

    missing = set()
    for net in sorted(nets):
        try:
            published_file(net, data_cache)
        except WeightsUnavailable as error:
            missing.add(net)
            say(f"{net}: no published weights ({error}); new runs start with random weights, as the report will say")
    return frozenset(missing)
