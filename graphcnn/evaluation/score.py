"""Scores of a model on labelled images, as `eval` prints and writes them.

M members of an ensemble, N images, K classes.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from graphcnn.common.progress import say
from graphcnn.common.replace import atomic_write
from graphcnn.common.text import shortened
from graphcnn.evaluation import metrics, pictures
from graphcnn.evaluation.calibration import expected_calibration_error, reliability
from graphcnn.evaluation.class_labels import legend
from graphcnn.evaluation.ensemble import agreement
from graphcnn.evaluation.intervals import score_intervals
from graphcnn.evaluation.model_outputs import ModelOutputs, compute_outputs, say_biases
from graphcnn.evaluation.pictures import Predictions
from graphcnn.evaluation.predictions_csv import write_predictions
from graphcnn.evaluation.reliability_picture import draw_reliability
from graphcnn.evaluation.scored_data import ScoredData
from graphcnn.evaluation.select_model import Model
from graphcnn.evaluation.text_report import print_members, print_scores
from graphcnn.evaluation.trained_run import TrainedRun

TITLE_LETTERS = 100  # largest number of characters of a model's name in the title of a picture
MEMBER_SCORES = ("macro_f1", "accuracy", "top2_accuracy", "cross_entropy")


def score(model: Model[TrainedRun], data: ScoredData, precision: str) -> None:
    """Print the scores of a model on its splits; write them and pictures into the model's report folder.

    The report of an ensemble also has the scores of each member, and the agreement of each pair of members.

    Args:
        model: one run or an ensemble of runs.
        data: the splits.
        precision: precision of the computation: auto, float32 or bfloat16.
    """
    outputs = compute_outputs(model, data, precision)
    for split, (images, labels, rows, file_names) in data.splits[0].items():
        details = outputs.details[0]
        if len(model.nets) > 1:
            details = _ensemble_details(model, labels[rows], outputs, split)
            print_members(split, details["members"], details["agreement"])
        say_biases(model, outputs, split)
        classes, pixel_max = model.class_names, model.nets[0].pixel_max
        probabilities = outputs.probabilities(split)
        predictions = Predictions(images, rows, labels[rows], probabilities, classes, pixel_max, file_names)
        name = f"{split}_calibrated" if model.temperature else split
        _write_report(model, name, predictions, {**details, **data.details(split)})


def _ensemble_details(
    model: Model[TrainedRun], labels: np.ndarray, outputs: ModelOutputs, split: str
) -> dict[str, Any]:
    """Return the entries of an ensemble's report about its members.

    Args:
        model: the ensemble.
        labels: int [N], the labels of the split.
        outputs: the predictions of the ensemble. The key of an ensemble weight in the report is "share".
        split: name of the split.
    """
    members = []
    for run, output, weight in zip(model.nets, outputs.members[split], outputs.weights, strict=True):
        scores = metrics.summary(labels, output)
        members.append({"run": run.name, "share": float(weight)} | {key: scores[key] for key in MEMBER_SCORES})
    return {
        "ensemble": model.ensemble,
        "tta": model.tta,
        "members": members,
        "agreement": agreement(outputs.members[split]).tolist(),
    }


def _write_report(model: Model[TrainedRun], split: str, predictions: Predictions, details: dict[str, Any]) -> None:
    """Print the scores of a split; write <split>.csv, three pictures and <split>.json into the model's report folder.

    Args:
        model: the model that made the predictions.
        split: name of the split, or <split>_calibrated for calibrated outputs.
        predictions: predictions for all images of the split.
        details: entries of <split>.json besides the scores.
    """
    labels, probabilities, names = predictions.labels, predictions.probabilities, predictions.class_names
    scores = metrics.summary(labels, probabilities)
    intervals = score_intervals(labels, probabilities)
    bins = reliability(labels, probabilities)
    scores["ece"] = expected_calibration_error(bins)
    per_class = print_scores(f"{split} ", scores, intervals, labels, probabilities, names)
    folder = model.report_folder
    folder.mkdir(parents=True, exist_ok=True)
    confusion = scores["confusion"].tolist()
    report = {**scores, "intervals": intervals, **details, "per_class": per_class, "confusion": confusion}
    report["reliability"] = [each._asdict() for each in bins]
    write_predictions(predictions, folder / f"{split}.csv")
    name = shortened(model.name, TITLE_LETTERS)
    title = f"{name}, {split}: macro F1 {scores['macro_f1']:.4f}"
    pictures.confusion(scores["confusion"], names, title, folder / f"{split}_confusion.png")
    title = f"{name}, {split}: the most confident mistakes"
    pictures.mistakes(predictions, title, folder / f"{split}_mistakes.png")
    draw_reliability(bins, f"{name}, {split}", folder / f"{split}_reliability.png")
    with atomic_write(folder / f"{split}.json") as file:  # last, since `experiments` scores no run with this file
        file.write((json.dumps(report, indent=2) + "\n").encode())
    drawn = ", ".join(f"{split}_{kind}.png" for kind in ("confusion", "mistakes", "reliability"))
    say("", f"written: {folder}/{split}.json, {split}.csv, {drawn}")
    if explained := legend(names, range(len(names))):
        say(explained)
