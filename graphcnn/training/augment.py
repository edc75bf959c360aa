"""Augmentation of training batches on the CPU, in the thread that prefetches the next batch.

N images, H x W pixels, C channels.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from graphcnn.config.recipe import Recipe
from graphcnn.data import batches
from graphcnn.ops.tf1 import session, tf, tf1

PARAMETERS = np.dtype(  # augmentation parameters of one image
    [
        ("mirrored", bool),  # horizontally
        ("down", int),  # pixels, 0 to 2 * translate; the value `translate` means no shift
        ("right", int),
        ("scale", float),  # factor; above 1 enlarges
        ("angle", float),  # rotation in radians, counter-clockwise
        ("shear", float),  # angle of vertical lines in radians
        ("brightness", float),  # factor of the pixels
        ("sigma", float),  # standard deviation of the blur in pixels
    ]
)


def draw_parameters(recipe: Recipe, rows: int, epoch: int) -> np.ndarray:
    """Return the augmentation parameters of all images of the dataset in an epoch, PARAMETERS [rows].

    They depend only on the seed, the epoch and the index of the image. With flip "alternating" (arXiv 2404.00498,
    section 3.6), a random bit for each image decides whether it is mirrored in even or in odd epochs. Any two
    consecutive epochs therefore show each image once mirrored and once not.
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
    """Return the augmented images, float32 [N, H, W, 3] in raw units.

    Args:
        images: [N, H, W], [N, H, W, 1] or [N, H, W, 3] in raw units, 0..pixel_max.
        recipe: the recipe; augmentations whose setting is 0 are not applied.
        parameters: PARAMETERS [N], the entries of `draw_parameters` for these images.
        pixel_max: largest pixel value, 255 or 1.
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
    """Return the images [N, H, W(, C)], shifted by (down - pixels, right - pixels). The borders are reflected.

    Args:
        images: the images.
        pixels: the largest shift in pixels.
        down, right: int [N], 0..2 * pixels.
    """
    height, width = images.shape[1:3]
    borders = [(0, 0), (pixels, pixels), (pixels, pixels)] + [(0, 0)] * (images.ndim - 3)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(images, borders, "reflect"), (height, width), (1, 2))
    windows = np.moveaxis(windows, (-2, -1), (3, 4))  # [N, 2 * pixels + 1, 2 * pixels + 1, H, W(, C)]
    return windows[np.arange(len(images)), down, right]


def transforms(image_shape: tuple[int, int], scale: np.ndarray, angle: np.ndarray, shear: np.ndarray) -> np.ndarray:
    """Return transforms for `warped`, float32 [N, 8], that shear, rotate and scale about the centre of the image.

    A transform is (a0, a1, a2, b0, b1, b2, 0, 0). The output pixel at (x, y) is the input pixel at
    (a0 x + a1 y + a2, b0 x + b1 y + b2).

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
    """Return images float32 [N, H, W, C], warped by transforms float32 [N, 8], bilinearly, with reflected borders."""
    return _warp()(images, transforms)


@functools.cache
def _warp() -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return the function that `warped` calls. It runs a graph of one operation in a separate session."""
    with tf1.Graph().as_default() as graph:
        images, matrices = tf1.placeholder(tf.float32, [None] * 4), tf1.placeholder(tf.float32, [None, 8])
        result = tf.raw_ops.ImageProjectiveTransformV3(
            images=images, transforms=matrices, output_shape=tf.shape(images)[1:3], fill_value=0.0,
            interpolation="BILINEAR", fill_mode="REFLECT",
        )  # fmt: skip
    graph.finalize()
    warp_session = session(graph)
    caller = tf1.RunOptions(
        inter_op_thread_pool=-1
    )  # the caller's thread, because training uses the pool's only thread
    return lambda pixels, rows: warp_session.run(result, {images: pixels, matrices: rows}, options=caller)


def blurred(images: np.ndarray, sigma: np.ndarray, radius: int) -> np.ndarray:
    """Return the images, float32 [N, H, W, C], after a Gaussian blur with reflected borders.

    Args:
        images: the images.
        sigma: standard deviation for each image in pixels, float [N]; 0 means no blur.
        radius: distance in pixels beyond which the Gaussian is cut off.
    """
    distance = np.arange(-radius, radius + 1) / np.maximum(sigma, 1e-3)[:, None]  # [N, taps], in units of sigma
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
