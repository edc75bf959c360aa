"""The predictions of a model for each image of a split, as a CSV file. N images, K classes."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from graphcnn.common.files import open_regular
from graphcnn.common.progress import bar
from graphcnn.common.replace import atomic_write
from graphcnn.common.text import cell
from graphcnn.evaluation.metrics import label_losses
from graphcnn.evaluation.pictures import Predictions

COLUMNS = ("row", "file", "label", "predicted", "probability", "label_probability", "loss")  # then "p:<class name>"
BLOCK_CELLS = 1 << 16  # cells that are in memory as text at the same time


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write a CSV file with a row for each image: its label, the predicted class and the probability of each class.

    The file is UTF-8. Its columns are COLUMNS and "p:<class name>" of each class. `row` is the index of the image, and
    `file` is empty if the image is not from an image file.
    """
    rows, classes = predictions.probabilities.shape
    names = [cell(name) for name in predictions.class_names]
    block = max(1, BLOCK_CELLS // classes)
    with atomic_write(path) as file, bar(path.name, rows) as advance:
        file.write(_csv([[*COLUMNS, *(cell(f"p:{name}") for name in predictions.class_names)]]))
        for first in range(0, rows, block):
            chosen = slice(first, first + block)
            file.write(_csv(_rows(predictions, chosen, names)))
            advance(len(predictions.rows[chosen]))


class Outcomes(NamedTuple):
    """What a file of predictions says about N images.

    Attributes:
        rows: the indices of the images, int64 [N].
        right: whether the predicted class is the true class, bool [N].
        confidence: the probability of the predicted class, float64 [N].
    """

    rows: np.ndarray
    right: np.ndarray
    confidence: np.ndarray


def read_outcomes(path: Path) -> Outcomes:
    """Return the Outcomes of a CSV file that write_predictions wrote. One line at a time is in memory.

    Raises:
        ValueError, csv.Error: the file has another form.
        OSError: it cannot be read.
    """
    rows, right, confidence = array("q"), array("b"), array("d")
    with open_regular(path, follow=False) as file, io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
        lines = csv.reader(text)
        if tuple(next(lines, [])[: len(COLUMNS)]) != COLUMNS:
            raise ValueError("its first columns are not those of a file of predictions")
        for row, _, label, predicted, probability, label_probability, *_ in lines:
            rows.append(int(row))
            right.append(label == predicted and probability == label_probability)
            confidence.append(float(probability))
    return Outcomes(np.array(rows, np.int64), np.array(right, bool), np.array(confidence, np.float64))


def _rows(predictions: Predictions, chosen: slice, names: list[str]) -> Iterator[list[object]]:
    """Yield the cells of some of the images; names: the cells of the classes."""
    probabilities, labels = predictions.probabilities[chosen], predictions.labels[chosen]
    losses = label_losses(labels, probabilities) + 0.0  # -0.0 becomes 0.0
    predicted = probabilities.argmax(axis=1).tolist()
    columns = (predictions.rows[chosen].tolist(), labels.tolist(), predicted, losses.tolist(), probabilities.tolist())
    for row, label, best, loss, values in zip(*columns, strict=True):
        numbers = [f"{value:.9g}" for value in values]  # nine digits identify a float32
        file = cell(predictions.file_names[row]) if predictions.file_names else ""
        yield [row, file, names[label], names[best], numbers[best], numbers[label], f"{loss:.9g}", *numbers]


def _csv(rows: Iterable[list[object]]) -> bytes:
    """Return rows of cells as CSV in UTF-8."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
