"""The softmax outputs of a model on labelled images. M members, N images, K classes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from graphcnn.common.progress import bar, say
from graphcnn.evaluation.ensemble import weighted_mean
from graphcnn.evaluation.scored_data import Outputs, ScoredData
from graphcnn.evaluation.select_model import Model
from graphcnn.evaluation.trained_run import TrainedRun
from graphcnn.graphs.inference import count_parameters
from graphcnn.ops.tf1 import choose_precision
from graphcnn.storage.recorded_data import Split
from graphcnn.weights.loaded import NOT_TRAINED


class RunOutputs(NamedTuple):
    """The predictions of one run.

    Attributes:
        outputs: {split: softmax outputs, float32 [N, K]}.
        details: {"precision", "tta", "epoch", "parameters"} for the report, and "temperature" of calibrated outputs.
    """

    outputs: dict[str, np.ndarray]
    details: dict[str, Any]


class ModelOutputs(NamedTuple):
    """The predictions of a model.

    Attributes:
        members: the softmax outputs of its members.
        weights: ensemble weights, float64 [M].
        details: the details of each run; see RunOutputs.
    """

    members: Outputs
    weights: np.ndarray
    details: list[dict[str, Any]]

    def probabilities(self, split: str) -> np.ndarray:
        """Return the softmax outputs of the model for a split, float32 [N, K]."""
        return weighted_mean(self.members[split], self.weights)


def say_precision(model: Model[TrainedRun], precision: str) -> None:
    """Print the only run of a model with its precisions; print nothing for an ensemble."""
    if len(model.nets) == 1:
        run, (chosen, reason) = model.nets[0], choose_precision(precision)
        computed = f"computed in {chosen}{' with tta' * model.tta} ({reason})"
        say(f"{run.description}, trained in {run.recipe.precision}, {computed}")


def compute_outputs(model: Model[TrainedRun], data: ScoredData, precision: str) -> ModelOutputs:
    """Return the predictions of a model for its splits.

    Args:
        model: one run or an ensemble of runs.
        data: the splits for each run.
        precision: precision of the computation: auto, float32 or bfloat16.
    """
    results = [
        _run_outputs(run, splits, precision, model.tta) for run, splits in zip(model.nets, data.splits, strict=True)
    ]
    members = {split: np.stack([result.outputs[split] for result in results]) for split in data.splits[0]}
    return ModelOutputs(members, data.weights(members), [result.details for result in results])


def _run_outputs(run: TrainedRun, splits: dict[str, Split], precision: str, tta: bool) -> RunOutputs:
    """Return the predictions of a run for its splits."""
    precision, _ = choose_precision(precision)
    outputs = {}
    with run.open(run.build(precision)) as predictor:
        details = {"precision": precision, "tta": tta, "epoch": predictor.state["best_epoch"]}
        details["parameters"] = count_parameters(predictor.graph)
        if run.temperature:
            details["temperature"] = run.temperature
        for name, split in splits.items():
            with bar(f"{run.name}, {name}", len(split.rows)) as advance:
                outputs[name] = predictor.probabilities(split.images, split.rows, advance, tta)
    return RunOutputs(outputs, details)


def say_biases(model: Model[TrainedRun], outputs: ModelOutputs, split: str) -> None:
    """Print a note if the score of a model on a split is biased upwards."""
    if len(model.nets) > 1 and model.ensemble == "fitted" and split == "dev":
        say("the ensemble weights were fitted on this split, so this score of the ensemble is biased upwards")
    if model.temperature and split == "dev":
        say("the temperature was fitted on this split, so its cross-entropy and calibration error are biased downwards")
    if split != "test" and any(details["epoch"] == 0 for details in outputs.details):
        say(NOT_TRAINED)
