"""Predictions of `predict` for image files or an array of images. N images, H x W pixels, K classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from graphcnn.common.errors import InputError
from graphcnn.common.progress import bar, complain, print_table, say
from graphcnn.common.text import printable
from graphcnn.data.checks import check_compatible
from graphcnn.data.npy import read_array
from graphcnn.data.photo_files import PhotoFiles, find_files
from graphcnn.evaluation.ensemble import ensemble_weights, weighted_mean
from graphcnn.evaluation.model_data import load_data
from graphcnn.evaluation.net import Net
from graphcnn.evaluation.prediction_files import Prediction, check_out, ranked, write_predictions
from graphcnn.evaluation.select_model import Model

FEW = 40  # more images are counted by class instead of printed one by one


class Images(NamedTuple):
    """The images to predict: the arguments of the command line, or a .npy file with the size and range of training."""

    arguments: Sequence[str]
    array: str | None


def predict(model: Model[Any], images: Images, out: str | None, top: int) -> int:
    """Predict images; print the nets and the most probable classes; return the exit status.

    A file that cannot be read does not end the command, unless it is the only file. It makes the exit status 2.

    Args:
        model: a run, an ensemble of runs or a published net.
        images: the images.
        out: the file for the predictions; None to write no file.
        top: number of classes for each image.
    """
    if out:
        check_out(out)
    paths = [] if images.array else find_files(images.arguments)
    say(*(net.description for net in model.nets))
    weights = ensemble_weights(model, load_data)
    outputs = []
    problems: dict[int, str] = {}
    for net in model.nets:
        photos = PhotoFiles(paths, net.image_shape, net.fit, net.pixel_max)
        pixels = _read_array(images.array, net) if images.array else photos
        with net.open(net.build()) as predictor, bar("predict", len(pixels)) as advance:
            outputs.append(predictor.probabilities(pixels, advance=advance, tta=model.tta))
        problems |= photos.problems
    if problems and len(paths) == 1:
        raise InputError(f"{paths[0]}: {problems[0]}")
    probabilities = weighted_mean(np.stack(outputs), weights)
    probabilities[list(problems)] = np.nan
    names = [f"{images.array}[{row}]" for row in range(len(probabilities))] if images.array else paths
    predictions = [Prediction(name, probabilities[n], problems.get(n)) for n, name in enumerate(names)]
    _print(predictions, model.class_names, top)
    if out:
        write_predictions(out, predictions, model.class_names, min(top, len(model.class_names)))
    if problems:
        complain(f"graphcnn predict: {len(problems):,} of {len(paths):,} files could not be read; stdout names them")
    return 2 if problems else 0


def _print(predictions: Sequence[Prediction], class_names: Sequence[str], top: int) -> None:
    """Print a line for each image, or for many images the number of images of each predicted class."""
    few = len(predictions) <= FEW
    for name, row, problem in predictions:
        if problem:
            say(f"{name}: {problem}")
        elif few:
            say(f"{name}: " + ", ".join(f"{class_names[k]} ({row[k]:.4f})" for k in ranked(row, top)))
    if few:
        return
    table = Table("predicted class", box=None)
    table.add_column("images", justify="right")
    counts = Counter(int(row.argmax()) for _, row, problem in predictions if not problem)
    for k, count in counts.most_common():
        table.add_row(printable(class_names[k]), f"{count:,}")
    print_table(table)


def _read_array(path: str, net: Net) -> np.ndarray:
    """Return the images of a .npy file; refuse a size or pixel range that differs from the net's."""
    images = read_array(path)
    check_compatible(images, path, net.image_shape, net.pixel_max)
    return images
