"""The dev split: the rows of the training file that select the best epoch and are not trained on."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.progress import say
from graphcnn.data.dataset import Dataset

DEV_FRACTION = 0.25  # default fraction of the training images in the dev split
SPLIT_SEED = 0  # of the stratified split; fixed, so that runs with different seeds have the same dev split


def split_settings(
    dataset: Dataset, kind: str | None, fraction: float | None, default_fraction: float = DEV_FRACTION
) -> dict[str, Any]:
    """Return {"kind", "fraction"} of the dev split, as a run records them.

    Args:
        dataset: the Dataset to split.
        kind, fraction: see split_dev; None if the user has not chosen them.
        default_fraction: the fraction if the user has not chosen one.

    Raises:
        InputError: the user has chosen a dev split, but the data have one.
    """
    if dataset.dev_rows is None:
        chosen = default_fraction if fraction is None else fraction
        return {"kind": kind or dataset.dev_split, "fraction": chosen}
    for flag, value in (("dev_split", kind), ("dev_fraction", fraction)):
        if value is not None:
            raise InputError(
                f"--{flag}={value}: {dataset.file('dev')} has the dev split of these data; drop the flag, or make its "
                "images training images"
            )
    return {"kind": dataset.dev_split, "fraction": len(dataset.dev_rows) / len(dataset.y_train)}


def split_dev(dataset: Dataset, kind: str | None, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (training rows, dev rows), sorted int64 arrays.

    A class without a dev row has the F1 score 0, so the dev score then measures little. A line tells this to a user who
    has chosen the kind of the split; otherwise such a split is refused.

    Args:
        dataset: the Dataset to split.
        kind: "first" (the first floor(N * fraction) rows) or "stratified" (the same fraction of each class, chosen at
            random with SPLIT_SEED); None for the default of the data. It has no effect on data with a dev split.
        fraction: fraction of the rows in the dev split, 0 <= fraction < 1.

    Raises:
        InputError: the fraction is out of range, or a class has no row in a split.
    """
    chosen = kind or dataset.dev_split
    labels, rows = dataset.y_train, len(dataset.y_train)
    if not 0 <= fraction < 1:
        raise InputError(f"--dev_fraction: found {fraction:g}, expected a number from 0 to below 1")
    count = dev_count(rows, fraction)
    if dataset.dev_rows is not None:
        dev = dataset.dev_rows
    elif fraction == 0:
        dev = np.arange(0)
    elif count == 0:
        raise InputError(
            f"--dev_fraction: {fraction:g} of {rows} rows leaves the dev split empty; set a larger fraction, or 0"
        )
    elif chosen == "first":
        dev = np.arange(count)
    else:
        dev = _stratified(labels, dataset.classes, count)
    train = np.setdiff1d(np.arange(rows), dev)
    absent = sorted(set(range(dataset.classes)) - set(labels[train].tolist()))
    if absent and dataset.dev_rows is not None:
        raise InputError(f"{dataset.file('y_train')}: class {dataset.class_names[absent[0]]} has no image in train/")
    if absent:
        raise InputError(
            f"{dataset.file('y_train')}: too few rows to split: class {dataset.class_names[absent[0]]} has none among "
            f"the {len(train)} training rows; lower --dev_fraction ({fraction:g}) or use --dev_split=stratified"
        )
    if len(dev):
        _check_dev_classes(dataset, dev, chosen, is_default=kind is None and dataset.dev_rows is None)
    return train, dev


def _check_dev_classes(dataset: Dataset, dev: np.ndarray, kind: str, is_default: bool) -> None:
    """Refuse dev rows without a row of each class if `kind` is the default of the data; else print a line."""
    absent = sorted(set(range(dataset.classes)) - set(dataset.y_train[dev].tolist()))
    if not absent:
        return
    problem = (
        f"{dataset.file('y_train')}: {len(absent)} of {dataset.classes} classes have no row among the {len(dev)} dev "
        f"rows ({kind}), the first is {dataset.class_names[absent[0]]}"
    )
    if is_default:
        advice = "use --dev_split=stratified" if kind == "first" else "set a larger --dev_fraction"
        raise InputError(f"{problem}; {advice}, or keep this split with --dev_split={kind}")
    say(f"warning: {problem}; their F1 score on dev is 0, so the dev score measures little")


def dev_count(rows: int, fraction: float) -> int:
    """Return floor(rows * fraction) for the decimal fraction that the user wrote: 29 for 100 rows and 0.29.

    The product of floats is 28.999999999999996.
    """
    return int(rows * Fraction(repr(float(fraction))))


def _stratified(labels: np.ndarray, classes: int, count: int) -> np.ndarray:
    """Return `count` row indices, sorted, with the same fraction of each class."""
    from sklearn.model_selection import train_test_split

    smallest = np.bincount(labels, minlength=classes).min()
    if smallest < 2 or count < classes or len(labels) - count < classes:
        raise InputError(
            f"--dev_fraction: too few rows to split: {count} dev and {len(labels) - count} training rows for {classes} "
            f"classes, the smallest with {smallest}; expected at least 2 rows per class, and 1 per class in each split"
        )
    _, dev = train_test_split(np.arange(len(labels)), test_size=count, random_state=SPLIT_SEED, stratify=labels)
    return np.sort(dev)
