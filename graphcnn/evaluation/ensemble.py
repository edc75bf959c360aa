"""Ensembles: the weighted mean of the softmax outputs of several runs.

M members, N images, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.progress import bar, say
from graphcnn.evaluation.select_model import Model
from graphcnn.evaluation.trained_run import TrainedRun
from graphcnn.storage.recorded_data import RecordedData

STEPS = 200  # of expectation maximisation; more steps change the weights by far less than 0.001


def mean_weights(members: int) -> np.ndarray:
    """Return equal ensemble weights, float64 [M]."""
    return np.full(members, 1 / members)


def fit_weights(labels: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """Return the ensemble weights that maximise the likelihood of the labels, float64 [M]; their sum is 1.

    The members are the components of a mixture model. Expectation maximisation starts from equal weights. It converges
    to the maximum, because the log-likelihood is concave in the weights.

    Args:
        labels: int [N], the true classes.
        outputs: softmax outputs of the members, float32 [M, N, K].
    """
    weights = mean_weights(len(outputs))
    tiny = np.finfo(np.float32).tiny
    likelihoods = np.maximum(outputs[:, np.arange(len(labels)), labels].astype(np.float64), tiny)  # [M, N]
    for _ in range(STEPS):
        joint = weights[:, None] * likelihoods
        weights = (joint / joint.sum(axis=0)).mean(axis=1)
    return weights


def weighted_mean(outputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted mean, float32 [N, K], of softmax outputs [M, N, K] with the ensemble weights [M]."""
    return np.tensordot(weights, outputs, axes=1).astype(np.float32)


def agreement(outputs: np.ndarray) -> np.ndarray:
    """Return the fraction of images for which two members predict the same class, float64 [M, M]."""
    predictions = np.argmax(outputs, axis=2)
    return (predictions[:, None] == predictions[None]).mean(axis=2)


def ensemble_weights(model: Model[Any], load: Callable[[Model[TrainedRun]], Sequence[RecordedData]]) -> np.ndarray:
    """Return the ensemble weights of a model, float64 [M]; print them if they are fitted.

    Args:
        model: the model; a single net gets the weight 1.
        load: load(model) returns the data of each run. It is called only if the weights are fitted.

    Raises:
        InputError: the weights must be fitted, but the runs have no dev split.
    """
    if model.ensemble == "mean":
        return mean_weights(len(model.nets))
    runs_data = load(model)
    dataset, dev_rows = runs_data[0].dataset, runs_data[0].dev_rows
    if not len(dev_rows):
        raise InputError("--ensemble=fitted: the runs were trained without a dev split; use --ensemble=mean")
    outputs = []
    for run, data in zip(model.nets, runs_data, strict=True):
        with run.open(run.build()) as predictor, bar(run.name, len(dev_rows)) as advance:
            outputs.append(predictor.probabilities(data.dataset.x_train, data.dev_rows, advance, model.tta))
    weights = fit_weights(dataset.y_train[dev_rows], np.stack(outputs))
    listed = ", ".join(f"{run.name} {weight:.3f}" for run, weight in zip(model.nets, weights, strict=True))
    say(f"ensemble weights, fitted on the dev split: {listed}")
    return weights
