"""The labelled images on which models are scored: splits of their data, or images elsewhere.

M members, N images, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphcnn.data.sources import DataOptions
from graphcnn.evaluation.ensemble import ensemble_weights, fit_weights
from graphcnn.evaluation.labelled_images import LabelledImages, say_absent
from graphcnn.evaluation.model_data import DataSource, check_same_data, load_data
from graphcnn.evaluation.select_model import Model
from graphcnn.evaluation.trained_run import TrainedRun
from graphcnn.storage.recorded_data import RecordedData, Split

Outputs = dict[str, np.ndarray]  # {split: softmax outputs of the members, float32 [M, N, K]}


class ScoredData(NamedTuple):
    """The labelled images on which a model is scored.

    Attributes:
        splits: {name: Split} for each net of the model; the nets differ only in the size of the images.
        weights: returns the ensemble weights [M] for the outputs of the members.
        details: returns the entries of a report that tell which images a split has.
    """

    splits: list[dict[str, Split]]
    weights: Callable[[Outputs], np.ndarray]
    details: Callable[[str], dict[str, Any]]


def read_splits(models: Sequence[Model[TrainedRun]], splits: Sequence[str], source: DataSource) -> list[ScoredData]:
    """Return splits of the data of each model, with the same images and labels for all models.

    Args:
        models: the models.
        splits: any of dev, train and test.
        source: where the data are.

    Raises:
        InputError: a split is missing, or the models have different data or splits.
    """
    if any(len(model.nets) > 1 for model in models):
        splits = sorted(splits, key=lambda split: split != "dev")  # dev first, because the weights are fitted on it
    loaded = [load_data(model, source, test="test" in splits) for model in models]
    first, *others = [(model.nets[0], runs_data[0]) for model, runs_data in zip(models, loaded, strict=True)]
    for other in others:
        check_same_data(first, other, source, same_dev=set(splits) != {"test"})
    return [_of_model(model, runs_data, splits) for model, runs_data in zip(models, loaded, strict=True)]


def _of_model(model: Model[TrainedRun], runs_data: Sequence[RecordedData], splits: Sequence[str]) -> ScoredData:
    """Return splits of the data of a model's runs."""

    def weights(outputs: Outputs) -> np.ndarray:
        """Return the ensemble weights; to fit them, use the outputs for dev if they are already computed."""
        if model.ensemble == "fitted" and "dev" in outputs:
            data = runs_data[0]
            return fit_weights(data.dataset.y_train[data.dev_rows], outputs["dev"])
        return ensemble_weights(model, lambda _: runs_data)

    def details(split: str) -> dict[str, Any]:
        return {"fingerprint": runs_data[0].dataset.test_fingerprint()} if split == "test" else {}

    return ScoredData([data.splits(splits) for data in runs_data], weights, details)


def read_labelled(
    models: Sequence[Model[TrainedRun]], labelled: LabelledImages, source: DataSource
) -> list[ScoredData]:
    """Return labelled images elsewhere for each model. The data of runs are read only to fit ensemble weights.

    Args:
        models: the models.
        labelled: the images.
        source: the options for a folder of images; its data are those of the runs.
    """
    options, name = DataOptions(**source.options), labelled.name

    def of_model(model: Model[TrainedRun]) -> ScoredData:
        return ScoredData(
            [{name: labelled.read(run, options)} for run in model.nets],
            lambda _: ensemble_weights(model, lambda model: load_data(model, source)),
            lambda _: {"source": str(labelled.images.resolve())},
        )

    data = [of_model(model) for model in models]
    say_absent(data[0].splits[0][name].labels, models[0].class_names)
    return data
