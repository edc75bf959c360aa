"""Scores of a file of softmax outputs, such as the result.npy of a submission. N images, K classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.progress import say
from graphcnn.data.labels import MAX_CLASSES, Labels, mapping_text, numbers, training_labels
from graphcnn.data.npy import read_array
from graphcnn.evaluation import metrics
from graphcnn.evaluation.comparison import compare, print_comparison
from graphcnn.evaluation.intervals import score_intervals
from graphcnn.evaluation.probability_checks import check_probabilities
from graphcnn.evaluation.text_report import print_scores


def score_file(predictions_path: str, labels_path: str) -> None:
    """Print the scores of a .npy file of softmax outputs [N, K] against a .npy file of N labels.

    Raises:
        InputError: a row is not a probability distribution, or the labels do not have N values below K.
    """
    labels, (probabilities,) = _read([predictions_path], labels_path)
    class_ids = labels.class_ids
    scores, intervals = metrics.summary(class_ids, probabilities), score_intervals(class_ids, probabilities)
    print_scores("", scores, intervals, class_ids, probabilities, list(labels.class_names))


def compare_files(predictions_path: str, against_path: str, labels_path: str) -> None:
    """Print the comparison of two .npy files of softmax outputs [N, K] for the same N labels.

    Raises:
        InputError: as in `score_file`, or the files have different shapes.
    """
    labels, (probabilities, against) = _read([predictions_path, against_path], labels_path)
    print_comparison("", predictions_path, against_path, compare(labels.class_ids, probabilities, against))


def _read(paths: Sequence[str], labels_path: str) -> tuple[Labels, list[np.ndarray]]:
    """Return the labels of N images, and the softmax outputs float [N, K] of each file."""
    outputs = [_open_probabilities(path) for path in paths]
    rows, classes = outputs[0].shape
    for path, probabilities in zip(paths, outputs, strict=True):
        if probabilities.shape != (rows, classes):
            raise InputError(
                f"{path}: found shape {probabilities.shape}, expected {(rows, classes)} as in {paths[0]}; name files "
                "of the same images and classes"
            )
    labels = _read_labels(labels_path, rows, classes, paths[0])
    for path, probabilities in zip(paths, outputs, strict=True):
        check_probabilities(probabilities, path)
    if labels.first != 0:
        say(f"labels: {labels_path}: {mapping_text(labels.class_names, labels.first)}")
    return labels, outputs


def _read_labels(path: str, rows: int, classes: int, predictions_path: str) -> Labels:
    """Return the Labels of a .npy file: 0 .. K-1, 1 .. K with at least one K, or K different strings."""
    array = read_array(path)
    if array.dtype.kind in "US":
        labels = training_labels(array, path, rows)
        if len(labels.class_names) == classes:
            return labels
        problem, expected = f"{len(labels.class_names)} different strings", str(classes)
    else:
        values, columns = numbers(array, path, rows)
        first = 1 if columns is None and values.min() >= 1 and values.max() == classes else 0
        if values.max() - first < classes:
            return Labels(values - np.int32(first), tuple(str(first + k) for k in range(classes)), first)
        problem, expected = f"label {values.max()}", f"0 to {classes - 1}"
    raise InputError(
        f"{path}: found {problem}, expected {expected}, because {predictions_path} has {classes} columns; name files "
        "of the same data"
    )


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
