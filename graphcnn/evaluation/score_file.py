"""Scores of a file of softmax outputs, such as the result.npy of a submission. N images, K classes."""

from __future__ import annotations

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.data.checks import MAX_CLASSES, check_labels
from graphcnn.data.npy import read_array
from graphcnn.evaluation import metrics
from graphcnn.evaluation.text_report import print_scores


def score_file(predictions_path: str, labels_path: str) -> None:
    """Print the scores of a .npy file of softmax outputs [N, K] against a .npy file of N labels.

    Raises:
        InputError: a row is not a probability distribution, or the labels do not have N values below K.
    """
    probabilities = _open_probabilities(predictions_path)
    rows, classes = probabilities.shape
    labels, _ = check_labels(read_array(labels_path), labels_path, rows)
    if labels.max() >= classes:
        raise InputError(
            f"{labels_path}: found label {labels.max()}, expected 0 to {classes - 1}, because {predictions_path} has "
            f"{classes} columns; name files of the same data"
        )
    _check_probabilities(probabilities, predictions_path)
    print_scores("", metrics.summary(labels, probabilities), labels, probabilities, list(map(str, range(classes))))


def _open_probabilities(path: str) -> np.ndarray:
    """Return the array of a .npy file, float [N, K], memory-mapped; do not read its values."""
    probabilities = read_array(path)
    rows, classes = probabilities.shape if probabilities.ndim == 2 else (0, 0)
    if rows < 1 or classes < 2 or probabilities.dtype.kind != "f":
        raise InputError(
            f"{path}: found {probabilities.dtype} {probabilities.shape}, expected float softmax outputs (N, K), one "
            "column per class"
        )
    if classes > MAX_CLASSES:  # the confusion counts of K classes are K x K numbers
        raise InputError(f"{path}: found {classes:,} columns, expected one column per class, at most {MAX_CLASSES:,}")
    return probabilities


def _check_probabilities(probabilities: np.ndarray, path: str) -> None:
    """Refuse an array unless each row is a probability distribution."""
    if not (np.isfinite(probabilities).all() and (probabilities >= 0).all()):
        raise InputError(f"{path}: found negative, NaN or infinite numbers, expected probabilities")
    sums = probabilities.sum(axis=1, dtype=np.float64)
    if np.abs(sums - 1).max() > 1e-3:
        row = int(np.abs(sums - 1).argmax())
        raise InputError(f"{path}: row {row} sums to {sums[row]:g}, expected 1; apply softmax to it")
