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
from graphcnn.storage.recorded_data import RecordedData, load_recorded_data


@dataclass(frozen=True)
class DataSource:
    """Where the data of a run are now.

    Attributes:
        path: what --data says; None for the source that the run recorded.
        options: {name: value} of the fields of data.sources.DataOptions that differ from the recorded ones.
    """

    path: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


RECORDED = DataSource()


def load_run_data(run: TrainedRun, source: DataSource = RECORDED, test: bool = False) -> RecordedData:
    """Return the data of one run, with the test split if `test` is True."""
    return load_recorded_data(run.run, run.config, source.path, test, source.options)


def load_data(model: Model[TrainedRun], source: DataSource = RECORDED, test: bool = False) -> list[RecordedData]:
    """Return the data of each run of a model, with the test split if `test` is True.

    The images of a folder may be decoded at another size for each run.

    Raises:
        InputError: the data are missing, or the runs differ in their training images, dev rows or test labels.
    """
    runs_data = [load_run_data(run, source, test) for run in model.nets]
    first, first_data = model.nets[0], runs_data[0]
    for run, data in zip(model.nets[1:], runs_data[1:], strict=True):
        same = {
            "training images": _fingerprint_at_size_of(first_data.dataset, run, data) == first_data.dataset.fingerprint,
            "dev rows": np.array_equal(data.dev_rows, first_data.dev_rows),
            "test labels": _same_labels(data.dataset.y_test, first_data.dataset.y_test),
        }
        for what, is_same in same.items():
            if not is_same:
                raise InputError(
                    f"--run: {run.name} and {first.name} have other {what}, so one of them would be scored on rows "
                    "that the other was trained on; train them on the same data and split"
                )
    return runs_data


def _same_labels(labels: np.ndarray | None, others: np.ndarray | None) -> bool:
    """Whether both are the same labels, or both are missing."""
    return labels is others if labels is None or others is None else np.array_equal(labels, others)


def _fingerprint_at_size_of(dataset: Dataset, run: TrainedRun, data: RecordedData) -> str:
    """Return the fingerprint of a run's training images; those of an image folder are decoded at the dataset's size."""
    own = data.dataset
    if own.image_shape == dataset.image_shape or not Path(own.file("x_train")).is_dir():
        return own.fingerprint
    options = {**run.config["data"].get("options", {}), "image_size": dataset.image_shape[0]}
    return sources.load(own.source, options=sources.DataOptions(**options)).fingerprint
