"""Augmentation of training batches on the CPU, in the thread that makes the next batch while a step computes.

Letters in shapes: N batch, H height, W width, C channels.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from graphcnn.config.recipe import Recipe
from graphcnn.data import batches
from graphcnn.ops.tf1 import session, tf, tf1

PARAMETERS = np.dtype(  # of one image's augmentation
    [
        ("mirrored", bool),  # left to right
        ("down", int),  # pixels, from 0 to 2 * translate: `translate` means no shift
        ("right", int),
        ("scale", float),  # above 1: larger
        ("angle", float),  # of the rotation, radians, counter-clockwise
        ("shear", float),  # radians by which vertical lines lean
        ("brightness", float),  # factor of the pixels
        ("sigma", float),  # of the blur, pixels
    ]
)


def draw_parameters(recipe: Recipe, rows: int, epoch: int) -> np.ndarray:
    """Return the augmentation parameters of each row of the data set in an epoch, PARAMETERS [rows].

    They depend on (seed, epoch, row) alone. With flip "alternating" (arXiv 2404.00498, section 3.6) each row has a coin
    that is the same in every epoch; it says whether the row is mirrored in even or in odd epochs. Two epochs in a row
    therefore show each image both ways.
    """
    uniform = np.random.default_rng([recipe.seed, epoch, 1]).random((rows, len(PARAMETERS.names or ()))).T
    coins = np.random.default_rng([recipe.seed, 0, 1]).random(rows) < 0.5
    symmetric = 2 * uniform - 1
    alternating = coins ^ (epoch % 2 == 1)
    parameters = np.empty(rows, PARAMETERS)
    parameters["mirrored"] = {"none": False, "random": uniform[0] < 0.5, "alternating": alternating}[recipe.flip]
    parameters["down"], parameters["right"] = uniform[1:3] * (2 * recipe.translate + 1)
    parameters["scale"] = 1 + recipe.zoom * symmetric[3]
    parameters["angle"] = np.radians(recipe.rotate) * symmetric[4]
    parameters["shear"] = np.radians(recipe.shear) * symmetric[5]
    parameters["brightness"] = 1 + recipe.brightness * symmetric[6]
    parameters["sigma"] = recipe.blur * uniform[7]
    return parameters


def augmented(images: np.ndarray, recipe: Recipe, parameters: np.ndarray, pixel_max: int) -> np.ndarray:
    """Return the images as training sees them: float32 [N, H, W, 3] in raw units.

    Args:
        images: [N, H, W], [N, H, W, 1] or [N, H, W, 3] in raw units, 0..pixel_max.
        recipe: Recipe; an augmentation that it leaves at 0 is not applied.
        parameters: PARAMETERS [N], the images' rows of `draw_parameters`.
        pixel_max: value of a white pixel, 255 or 1.
    """
    if recipe.flip != "none":
        mirrored = parameters["mirrored"].reshape(-1, *[1] * (images.ndim - 1))
        images = np.where(mirrored, images[:, :, ::-1], images)
    if recipe.translate:
        images = translated(images, recipe.translate, parameters["down"], parameters["right"])
    images = batches.as_rgb(images)
    if recipe.zoom or recipe.rotate or recipe.shear:
        shape = (images.shape[1], images.shape[2])
        images = warped(images, transforms(shape, parameters["scale"], parameters["angle"], parameters["shear"]))
    if recipe.blur:
        images = blurred(images, parameters["sigma"], math.ceil(3 * recipe.blur))
    if recipe.brightness:
        factors = parameters["brightness"].astype(np.float32)[:, None, None, None]
        images = np.clip(images * factors, 0, pixel_max)
    return images


def translated(images: np.ndarray, pixels: int, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the images [N, H, W(, C)] shifted by (down - pixels, right - pixels), their edges mirrored.

    Args:
        images: the images.
        pixels: the largest shift.
        down, right: int [N], 0..2 * pixels.
    """
    height, width = images.shape[1:3]
    borders = [(0, 0), (pixels, pixels), (pixels, pixels)] + [(0, 0)] * (images.ndim - 3)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(images, borders, "reflect"), (height, width), (1, 2))
    windows = np.moveaxis(windows, (-2, -1), (3, 4))  # [N, 2 * pixels + 1, 2 * pixels + 1, H, W(, C)]
    return windows[np.arange(len(images)), down, right]


def transforms(image_shape: tuple[int, int], scale: np.ndarray, angle: np.ndarray, shear: np.ndarray) -> np.ndarray:
    """Return float32 [N, 8] for `warped`: sheared, then rotated and scaled, about the centre of the image.

    A row holds a0 a1 a2 b0 b1 b2 0 0: the pixel at (x, y) comes from (a0 x + a1 y + a2, b0 x + b1 y + b2).

    Args:
        image_shape: (H, W).
        scale, angle, shear: float [N], as in PARAMETERS.
    """
    cosine, sine, lean = np.cos(angle), np.sin(angle), np.tan(shear)
    a = np.stack([cosine - lean * sine, -sine - lean * cosine]) / scale  # [2, N], rows of the inverse
    b = np.stack([sine, cosine]) / scale
    x, y = (image_shape[1] - 1) / 2, (image_shape[0] - 1) / 2
    rows = [*a, x - a[0] * x - a[1] * y, *b, y - b[0] * x - b[1] * y]
    return np.stack([*rows, 0 * scale, 0 * scale], axis=1).astype(np.float32)


def warped(images: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Return float32 [N, H, W, C] images, each through its transform (float32 [N, 8]); bilinear, edges mirrored."""
    return _warp()(images, transforms)


@functools.cache
def _warp() -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return the function behind `warped`: a graph of one operation in a session of its own."""
    with tf1.Graph().as_default() as graph:
        images, matrices = tf1.placeholder(tf.float32, [None] * 4), tf1.placeholder(tf.float32, [None, 8])
        result = tf.raw_ops.ImageProjectiveTransformV3(
            images=images, transforms=matrices, output_shape=tf.shape(images)[1:3], fill_value=0.0,
            interpolation="BILINEAR", fill_mode="REFLECT",
        )  # fmt: skip
    graph.finalize()
    warp_session = session(graph)
    caller = tf1.RunOptions(inter_op_thread_pool=-1)  # in the caller's thread: the pool has one, and training is on it
    return lambda pixels, rows: warp_session.run(result, {images: pixels, matrices: rows}, options=caller)


def blurred(images: np.ndarray, sigma: np.ndarray, radius: int) -> np.ndarray:
    """Return the images, float32 [N, H, W, C], blurred by a Gaussian, edges mirrored. A sigma of 0 changes nothing.

    Args:
        images: the images.
        sigma: of each image's Gaussian in pixels, float [N].
        radius: distance in pixels at which the Gaussian is cut off.
    """
    distance = np.arange(-radius, radius + 1) / np.maximum(sigma, 1e-3)[:, None]  # [N, taps], in sigmas
    taps = np.exp(-(distance**2) / 2)
    taps = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
    for axis in (1, 2):
        size, borders = images.shape[axis], np.zeros((4, 2), int)
        borders[axis] = radius
        padded = np.moveaxis(np.pad(images, borders, "reflect"), axis, 0)
        images, product = np.zeros_like(images), np.empty_like(images)
        for tap in range(2 * radius + 1):
            shifted = np.moveaxis(padded[tap : tap + size], 0, axis)
            images += np.multiply(shifted, taps[:, tap, None, None, None], out=product)
    return images
