"""What the experiments of a suite share: the folder, the data, the dev split, the nets without published weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphcnn.common.errors import InputError, WeightsUnavailable
from graphcnn.common.progress import say
from graphcnn.config.recipe import Recipe
from graphcnn.config.suite import Suite
from graphcnn.data import sources
from graphcnn.data.splits import split_dev
from graphcnn.storage.run import Run
from graphcnn.sweeps.job import Job


@dataclass(frozen=True)
class SuiteData:
    """The data and the dev split of all experiments of a suite.

    Attributes:
        flags: --data and its options, for the command line of a child process.
        split: {"kind", "fraction"} of the dev split.
        fingerprints: {image size: fingerprint of the dataset}; a folder of images is decoded at each size.
        description: the number of training and dev rows, for the user.
        has_test_labels: whether there is a labelled test split.
        photos: the folder of images with a test split; None for other sources.
    """

    flags: tuple[str, ...]
    split: dict[str, Any]
    fingerprints: dict[int, str]
    description: str
    has_test_labels: bool
    photos: Path | None


def load_data(
    source: str, options: dict[str, Any], split_kind: str | None, fraction: float, image_sizes: Sequence[int]
) -> SuiteData:
    """Return the SuiteData of a data source.

    Args:
        source: as --data of train.
        options: {name: value} of sources.DataOptions that the user set.
        split_kind: first or stratified; None for the source's own.
        fraction: fraction of the training rows in the dev split.
        image_sizes: sizes in pixels of all experiments' images.
    """
    if fraction == 0:
        raise InputError("--dev_fraction: found 0, expected a fraction above 0: the dev split compares experiments")
    dataset = sources.load(source, options=sources.DataOptions(image_sizes[0], **options))
    kind = split_kind or dataset.dev_split
    train_rows, dev_rows = split_dev(dataset, kind, fraction)
    fingerprints = {image_sizes[0]: dataset.fingerprint}
    for size in image_sizes[1:]:
        fingerprints[size] = sources.load(source, options=sources.DataOptions(size, **options)).fingerprint
    photos = dataset.has_test_labels and Path(dataset.file("x_train")).is_dir()
    return SuiteData(
        flags=(f"--data={source}", *(f"--{name}={value}" for name, value in options.items())),
        split={"kind": kind, "fraction": fraction},
        fingerprints=fingerprints,
        description=f"{len(train_rows):,} training, {len(dev_rows):,} dev rows ({kind})",
        has_test_labels=dataset.has_test_labels,
        photos=Path(source).resolve() if photos else None,
    )


@dataclass(frozen=True)
class Setup:
    """A suite of experiments that is to be trained.

    Attributes:
        name: the suite's name, which is its folder under `root` too.
        suite: the experiments.
        root: folder of all runs.
        data: what the experiments are trained on.
        recipe_name: the recipe that a sweep changes; None for a suite of named experiments.
        without_weights: nets whose published weights cannot be had; their runs start with random weights.
    """

    name: str
    suite: Suite
    root: Path
    data: SuiteData
    recipe_name: str | None = None
    without_weights: frozenset[str] = frozenset()

    @property
    def folder(self) -> Path:
        """The folder of the suite's runs and report."""
        return self.root / self.name

    def job(self, experiment: str, recipe: Recipe, seed_index: int) -> Job:
        """Return the Job that trains an experiment with its recipe's seed + seed_index.

        A run whose schedule depends on its number of epochs cannot be made longer, so each length has its own run.
        """
        recipe = dataclasses.replace(recipe, seed=recipe.seed + seed_index)
        length = f"-epochs{recipe.epochs}" if recipe.planned() else ""
        return Job(experiment, recipe, Run(self.root, f"{self.name}/{experiment}-seed{recipe.seed}{length}"))

    def log(self, run: Run) -> Path:
        """Return the file that gets all output of the processes that train and score the run."""
        return self.root / f"{run.name}.log"


def with_random_weights(recipe: Recipe) -> Recipe:
    """Return the recipe with random weights instead of published ones."""
    return dataclasses.replace(recipe, weights="none") if recipe.weights == "imagenet" else recipe


def nets_without_weights(nets: Iterable[str], data_cache: str | None) -> frozenset[str]:
    """Return those of the nets whose published weights cannot be had; print why."""
    from graphcnn.weights.published import published_file  # imports TensorFlow, which nothing else here needs

    missing = set()
    for net in sorted(nets):
        try:
            published_file(net, data_cache)
        except WeightsUnavailable as error:
            missing.add(net)
            say(f"{net}: no published weights ({error}); new runs start with random weights, as the report will say")
    return frozenset(missing)
