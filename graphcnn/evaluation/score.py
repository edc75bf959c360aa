"""Scores of a model on splits of its data, as `eval` prints and writes them.

M members of an ensemble, N images, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphcnn.common.progress import bar, say
from graphcnn.common.replace import atomic_write
from graphcnn.evaluation import metrics, pictures
from graphcnn.evaluation.class_labels import legend
from graphcnn.evaluation.ensemble import agreement, ensemble_weights, fit_weights, weighted_mean
from graphcnn.evaluation.model_data import DataSource, load_data
from graphcnn.evaluation.pictures import Predictions
from graphcnn.evaluation.select_model import Model
from graphcnn.evaluation.text_report import print_members, print_scores
from graphcnn.evaluation.trained_run import TrainedRun
from graphcnn.graphs.inference import count_parameters
from graphcnn.storage.recorded_data import RecordedData, Split
from graphcnn.weights.loaded import NOT_TRAINED

MEMBER_SCORES = ("macro_f1", "accuracy", "top2_accuracy", "cross_entropy")


class RunOutputs(NamedTuple):
    """The predictions of one run.

    Attributes:
        outputs: {split: softmax outputs, float32 [N, K]}.
        details: {"precision", "tta", "epoch", "parameters"} for the report.
    """

    outputs: dict[str, np.ndarray]
    details: dict[str, Any]


def score(model: Model[TrainedRun], splits: Sequence[str], source: DataSource, precision: str | None) -> None:
    """Print the scores of a model on splits; write them and pictures into the model's report folder.

    The report of an ensemble also has the scores of each member, and the agreement of each pair of members.

    Args:
        model: one run or an ensemble of runs.
        splits: any of dev, train and test.
        source: where the data are.
        precision: see TrainedRun.choose_precision.
    """
    single = len(model.nets) == 1
    if single:
        run, (chosen, reason) = model.nets[0], model.nets[0].choose_precision(precision)
        computed = f"computed in {chosen}{' with tta' * model.tta} ({reason})"
        say(f"{run.description}, trained in {run.recipe.precision}, {computed}")
    else:
        splits = sorted(splits, key=lambda split: split != "dev")  # dev first, because the weights are fitted on it
    runs_data = load_data(model, source, test="test" in splits)
    runs_splits = [data.splits(splits) for data in runs_data]
    results = [
        _run_outputs(run, run_splits, precision, model.tta)
        for run, run_splits in zip(model.nets, runs_splits, strict=True)
    ]
    outputs = {split: np.stack([result.outputs[split] for result in results]) for split in splits}  # [M, N, K] each
    weights = _weights(model, runs_data, outputs)
    for split in splits:
        images, labels, rows = runs_splits[0][split]
        details = results[0].details
        if not single:
            details = _ensemble_details(model, labels[rows], outputs[split], weights)
            print_members(split, details["members"], details["agreement"])
            if model.ensemble == "fitted" and split == "dev":
                say("the ensemble weights were fitted on this split, so this score of the ensemble is biased upwards")
        probabilities = weighted_mean(outputs[split], weights)
        dataset = runs_data[0].dataset
        if split == "test":
            details = {**details, "fingerprint": dataset.test_fingerprint()}
        if split != "test" and any(result.details["epoch"] == 0 for result in results):
            say(NOT_TRAINED)
        predictions = Predictions(images, rows, labels[rows], probabilities, dataset.class_names, dataset.pixel_max)
        _write_report(model, split, predictions, details)


def _run_outputs(run: TrainedRun, splits: dict[str, Split], precision: str | None, tta: bool) -> RunOutputs:
    """Return the predictions of a run for its splits."""
    precision, _ = run.choose_precision(precision)
    outputs = {}
    with run.open(run.build(precision, portable=False)) as predictor:
        details = {"precision": precision, "tta": tta, "epoch": predictor.state["best_epoch"]}
        details["parameters"] = count_parameters(predictor.graph)
        for name, split in splits.items():
            with bar(f"{run.name}, {name}", len(split.rows)) as advance:
                outputs[name] = predictor.probabilities(split.images, split.rows, advance, tta)
    return RunOutputs(outputs, details)


def _weights(model: Model[TrainedRun], runs_data: Sequence[RecordedData], outputs: dict[str, np.ndarray]) -> np.ndarray:
    """Return the ensemble weights [M]; to fit them, use the outputs [M, N, K] for dev if they are already computed."""
    if model.ensemble == "fitted" and "dev" in outputs:
        data = runs_data[0]
        return fit_weights(data.dataset.y_train[data.dev_rows], outputs["dev"])
    return ensemble_weights(model, lambda _: runs_data)


def _ensemble_details(
    model: Model[TrainedRun], labels: np.ndarray, outputs: np.ndarray, weights: np.ndarray
) -> dict[str, Any]:
    """Return the entries of an ensemble's report about its members.

    Args:
        model: the ensemble.
        labels: int [N], the labels of the split.
        outputs: softmax outputs of the members, [M, N, K].
        weights: ensemble weights [M]; their key in the report is "share".
    """
    members = []
    for run, output, weight in zip(model.nets, outputs, weights, strict=True):
        scores = metrics.summary(labels, output)
        members.append({"run": run.name, "share": float(weight)} | {key: scores[key] for key in MEMBER_SCORES})
    return {
        "ensemble": model.ensemble,
        "tta": model.tta,
        "members": members,
        "agreement": agreement(outputs).tolist(),
    }


def _write_report(model: Model[TrainedRun], split: str, predictions: Predictions, details: dict[str, Any]) -> None:
    """Print the scores of a split; write <split>.json and two pictures into the model's report folder.

    Args:
        model: the model that made the predictions.
        split: name of the split.
        predictions: predictions for all images of the split.
        details: entries of <split>.json besides the scores.
    """
    labels, probabilities, names = predictions.labels, predictions.probabilities, predictions.class_names
    scores = metrics.summary(labels, probabilities)
    per_class = print_scores(f"{split} ", scores, labels, probabilities, names)
    folder = model.report_folder
    folder.mkdir(parents=True, exist_ok=True)
    report = {**scores, **details, "per_class": per_class, "confusion": scores["confusion"].tolist()}
    title = f"{model.name}, {split}: macro F1 {scores['macro_f1']:.4f}"
    pictures.confusion(scores["confusion"], names, title, folder / f"{split}_confusion.png")
    title = f"{model.name}, {split}: the most confident mistakes"
    pictures.mistakes(predictions, title, folder / f"{split}_mistakes.png")
    with atomic_write(folder / f"{split}.json") as file:  # last, since `experiments` scores no run with this file
        file.write((json.dumps(report, indent=2) + "\n").encode())
    say("", f"written: {folder}/{split}.json, {split}_confusion.png, {split}_mistakes.png")
    if explained := legend(names, range(len(names))):
        say(explained)
