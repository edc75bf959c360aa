"""Predictions of `predict` for image files or an array of images. N images, H x W pixels, K classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphcnn.common.progress import bar, say
from graphcnn.common.replace import atomic_write
from graphcnn.data.checks import check_compatible
from graphcnn.data.images import read_image, suppress_warnings
from graphcnn.data.npy import read_array
from graphcnn.evaluation.ensemble import ensemble_weights, weighted_mean
from graphcnn.evaluation.model_data import load_data
from graphcnn.evaluation.net import Net
from graphcnn.evaluation.select_model import Model

TOP = 3  # number of classes that are printed for each image


def predict(model: Model[Any], paths: Sequence[str], array_path: str | None, out: str | None) -> None:
    """Print the most probable classes of each image.

    Args:
        model: a run, an ensemble of runs or a published net.
        paths: image files; ignored if array_path is given.
        array_path: a .npy file of images with the size and pixel range of the training images.
        out: the .npy file for the softmax outputs, float32 [N, K]; None to write no file.
    """
    weights = ensemble_weights(model, load_data)
    outputs = []
    for net in model.nets:
        pixels = _read_array(array_path, net) if array_path else read_files(paths, net)
        with net.open(net.build()) as predictor, bar("predict", len(pixels)) as advance:
            outputs.append(predictor.probabilities(pixels, advance=advance, tta=model.tta))
    probabilities = weighted_mean(np.stack(outputs), weights)
    if out:
        with atomic_write(out) as file:
            np.save(file, probabilities)
    names = [f"{array_path}[{row}]" for row in range(len(probabilities))] if array_path else paths
    for name, row in zip(names, probabilities, strict=True):
        best = np.argsort(-row, kind="stable")[:TOP]
        say(f"{name}: " + ", ".join(f"{model.class_names[k]} {row[k]:.4f}" for k in best))


def read_files(paths: Sequence[str], net: Net) -> np.ndarray:
    """Return the pixels of image files, float32 [N, H, W, 3], in the image size and pixel range of the net."""
    with suppress_warnings():
        pixels = np.stack([read_image(path, net.image_shape) for path in paths])
    return pixels * np.float32(net.pixel_max / 255)


def _read_array(path: str, net: Net) -> np.ndarray:
    """Return the images of a .npy file; refuse a size or pixel range that differs from the net's."""
    images = read_array(path)
    check_compatible(images, path, net.image_shape, net.pixel_max)
    return images
