"""Scores of a model on splits of its data, as `eval` prints and writes them.

M members of an ensemble, N images, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphcnn.common.progress import bar, say
from graphcnn.common.replace import atomic_write
from graphcnn.data.sources import DataOptions
from graphcnn.evaluation import metrics, pictures
from graphcnn.evaluation.class_labels import legend
from graphcnn.evaluation.ensemble import agreement, ensemble_weights, fit_weights, weighted_mean
from graphcnn.evaluation.labelled_images import LabelledImages, say_absent
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
    _say_precision(model, precision)
    if len(model.nets) > 1:
        splits = sorted(splits, key=lambda split: split != "dev")  # dev first, because the weights are fitted on it
    runs_data = load_data(model, source, test="test" in splits)

    def details(split: str) -> dict[str, Any]:
        return {"fingerprint": runs_data[0].dataset.test_fingerprint()} if split == "test" else {}

    runs_splits = [data.splits(splits) for data in runs_data]
    _score(model, runs_splits, precision, lambda outputs: _weights(model, runs_data, outputs), details)


def score_labelled(
    model: Model[TrainedRun], labelled: LabelledImages, source: DataSource, precision: str | None
) -> None:
    """Print the scores of a model on labelled images elsewhere; write them and pictures like `score`.

    The data of the runs are read only to fit ensemble weights.

    Args:
        model: one run or an ensemble of runs.
        labelled: the images.
        source: the options for a folder of images; its data are those of the runs.
        precision: see TrainedRun.choose_precision.
    """
    _say_precision(model, precision)
    options = DataOptions(**source.options)
    runs_splits = [{labelled.name: labelled.read(run, options)} for run in model.nets]
    say_absent(runs_splits[0][labelled.name].labels, model.class_names)

    def weights(_: dict[str, np.ndarray]) -> np.ndarray:
        return ensemble_weights(model, lambda model: load_data(model, source))

    _score(model, runs_splits, precision, weights, lambda _: {"source": str(labelled.images.resolve())})


def _say_precision(model: Model[TrainedRun], precision: str | None) -> None:
    """Print the only run of a model with its precisions; print nothing for an ensemble."""
    if len(model.nets) == 1:
        run, (chosen, reason) = model.nets[0], model.nets[0].choose_precision(precision)
        computed = f"computed in {chosen}{' with tta' * model.tta} ({reason})"
        say(f"{run.description}, trained in {run.recipe.precision}, {computed}")


def _score(
    model: Model[TrainedRun],
    runs_splits: Sequence[dict[str, Split]],
    precision: str | None,
    weights_of: Callable[[dict[str, np.ndarray]], np.ndarray],
    details_of: Callable[[str], dict[str, Any]],
) -> None:
    """Predict the splits with each run; print the scores, and write the reports.

    Args:
        model: one run or an ensemble of runs.
        runs_splits: {name: split} for each run; the runs differ only in the size of the images.
        precision: see TrainedRun.choose_precision.
        weights_of: returns the ensemble weights [M] for {split: softmax outputs [M, N, K]}.
        details_of: returns further entries for the report on a split.
    """
    results = [
        _run_outputs(run, run_splits, precision, model.tta)
        for run, run_splits in zip(model.nets, runs_splits, strict=True)
    ]
    splits = runs_splits[0]
    outputs = {split: np.stack([result.outputs[split] for result in results]) for split in splits}  # [M, N, K] each
    weights = weights_of(outputs)
    for split, (images, labels, rows) in splits.items():
        details = results[0].details
        if len(model.nets) > 1:
            details = _ensemble_details(model, labels[rows], outputs[split], weights)
            print_members(split, details["members"], details["agreement"])
            if model.ensemble == "fitted" and split == "dev":
                say("the ensemble weights were fitted on this split, so this score of the ensemble is biased upwards")
        probabilities = weighted_mean(outputs[split], weights)
        if split != "test" and any(result.details["epoch"] == 0 for result in results):
            say(NOT_TRAINED)
        predictions = Predictions(images, rows, labels[rows], probabilities, model.class_names, model.nets[0].pixel_max)
        _write_report(model, split, predictions, {**details, **details_of(split)})


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
