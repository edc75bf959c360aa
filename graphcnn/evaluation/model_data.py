"""The data that the runs of a model were trained on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.data import sources
from graphcnn.data.dataset import Dataset
from graphcnn.evaluation.select_model import Model
from graphcnn.evaluation.trained_run import TrainedRun
from graphcnn.storage.recorded_data import RecordedData, load_recorded_data, recorded_options


@dataclass(frozen=True)
class DataSource:
    """The current location of a run's data.

    Attributes:
        path: value of --data; None for the source that the run recorded.
        options: {field of data.sources.DataOptions: value} for the fields that differ from the recorded ones.
    """

    path: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


RECORDED = DataSource()


def load_run_data(run: TrainedRun, source: DataSource = RECORDED, test: bool = False) -> RecordedData:
    """Return the data of one run, with the test split if `test` is True."""
    return load_recorded_data(run.run, run.config, source.path, test, source.options)


def load_data(model: Model[TrainedRun], source: DataSource = RECORDED, test: bool = False) -> list[RecordedData]:
    """Return the data of each run of a model, with the test split if `test` is True.

    The runs may decode the images of a folder at different sizes.

    Raises:
        InputError: the data are missing, or the runs have different training images, dev splits or test labels.
    """
    runs_data = [load_run_data(run, source, test) for run in model.nets]
    first, *others = zip(model.nets, runs_data, strict=True)
    for other in others:
        check_same_data(first, other, source)
    return runs_data


def check_same_data(
    first: tuple[TrainedRun, RecordedData],
    other: tuple[TrainedRun, RecordedData],
    source: DataSource,
    same_dev: bool = True,
) -> None:
    """Refuse two runs with different data.

    Args:
        first: a run and its data.
        other: another run and its data.
        source: where the data are.
        same_dev: whether runs with different dev splits are refused too.

    Raises:
        InputError: the runs have different training images, dev splits or test labels.
    """
    (first_run, first_data), (run, data) = first, other
    same = {
        "training images": _fingerprint_at(first_data.dataset, run, data, source) == first_data.dataset.fingerprint,
        "dev splits": not same_dev or np.array_equal(data.dev_rows, first_data.dev_rows),
        "test labels": _same_labels(data.dataset.y_test, first_data.dataset.y_test),
    }
    for name, is_same in same.items():
        if not is_same:
            raise InputError(
                f"--run: {run.name} and {first_run.name} have different {name}, so they cannot be scored together; "
                "name runs that were trained on the same data and split"
            )


def _same_labels(labels: np.ndarray | None, others: np.ndarray | None) -> bool:
    """Return whether the two arrays of labels are equal, or both are missing."""
    return labels is others if labels is None or others is None else np.array_equal(labels, others)


def _fingerprint_at(dataset: Dataset, run: TrainedRun, data: RecordedData, source: DataSource) -> str:
    """Return the fingerprint of a run's training images; an image folder is decoded at the dataset's image size."""
    own = data.dataset
    if own.image_shape == dataset.image_shape or not Path(own.file("x_train")).is_dir():
        return own.fingerprint
    options = recorded_options(run.config, {**source.options, "image_size": dataset.image_shape[0]})
    return sources.load(own.source, options=options).fingerprint
