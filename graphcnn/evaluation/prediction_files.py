"""The file of `predict --out`: softmax outputs as .npy, or the most probable classes as .csv or .json. K classes."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.replace import atomic_write
from graphcnn.common.text import cell

ENDINGS = (".npy", ".csv", ".json")


class Prediction(NamedTuple):
    """The prediction for one image.

    name: the file or the row of an array. probabilities: float32 [K]; NaN if the file could not be read.
    problem: why the file could not be read, or None.
    """

    name: str
    probabilities: np.ndarray
    problem: str | None


def check_out(path: str) -> None:
    """Refuse a path whose ending is not one of ENDINGS, or whose folder is missing or cannot be written."""
    if Path(path).suffix not in ENDINGS:
        raise InputError(f"--out={path}: expected a name that ends in {', '.join(ENDINGS)}")
    folder = Path(path).parent
    if not folder.is_dir():
        raise InputError(f"--out={path}: the folder {folder} does not exist; create it first")
    if Path(path).is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"--out={path}: cannot be written; name another file")


def ranked(probabilities: np.ndarray, top: int) -> np.ndarray:
    """Return the `top` most probable classes, int; of equal probabilities, the lower class id comes first."""
    return np.argsort(-probabilities, kind="stable")[:top]


def write_predictions(path: str, predictions: Sequence[Prediction], class_names: Sequence[str], top: int) -> None:
    """Write the predictions into a file; its ending decides the format.

    Args:
        path: the file. A .npy file gets the softmax outputs, float32 [N, K].
        predictions: N predictions.
        class_names: K names.
        top: number of classes of each image in a .csv or .json file, at most K.
    """
    with atomic_write(path) as file:
        if path.endswith(".npy"):
            np.save(file, np.stack([prediction.probabilities for prediction in predictions]))
        else:
            lines = _csv if path.endswith(".csv") else _json
            for line in lines(predictions, class_names, top):
                file.write(line.encode())


def _csv(predictions: Sequence[Prediction], class_names: Sequence[str], top: int) -> Iterator[str]:
    """Yield the lines of a CSV file."""
    names = [cell(name) for name in class_names]
    others = [name for n in range(2, top + 1) for name in (f"top{n}", f"top{n}_probability")]
    yield _line(["file", "predicted", "probability", *others, "error"])
    for name, probabilities, problem in predictions:
        cells = [""] * (2 * top)
        if problem is None:
            best = ranked(probabilities, top)
            cells = [text for k in best for text in (names[k], f"{probabilities[k]:.9g}")]  # nine digits: a float32
        yield _line([cell(name), *cells, cell(problem or "")])


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _json(predictions: Sequence[Prediction], class_names: Sequence[str], top: int) -> Iterator[str]:
    """Yield the lines of a JSON array with an object for each image."""
    for n, (name, probabilities, problem) in enumerate(predictions):
        entry: dict[str, Any] = {"file": name, "predicted": None, "probability": None, "top": []}
        if problem is None:
            best = ranked(probabilities, top)
            entry["top"] = [{"class": class_names[k], "probability": float(f"{probabilities[k]:.9g}")} for k in best]
            entry |= {"predicted": entry["top"][0]["class"], "probability": entry["top"][0]["probability"]}
        yield ("[\n" if n == 0 else ",\n") + json.dumps({**entry, "error": problem})
    yield "\n]\n"
