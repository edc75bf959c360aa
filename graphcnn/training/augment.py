"""Augmentation of training batches on the CPU, in the thread that makes the next batch while a step computes.

Letters in shapes: N batch, H W height and width.
"""

import functools
import math

import numpy as np

from graphcnn.data import batches
from graphcnn.ops.tf1 import session, tf, tf1

DRAWN = np.dtype(
    [
        ("mirrored", bool),  # left to right
        ("down", int),  # pixels, from 0 to 2 * translate: translate is no shift
        ("right", int),
        ("scale", float),  # above 1 is larger
        ("turn", float),  # radians, counter-clockwise
        ("slant", float),  # radians by which upright lines lean
        ("light", float),  # factor of the pixels
        ("sigma", float),  # pixels
    ]
)


def draws(recipe, rows, epoch):
    """Return what an epoch does to each row of the data set: DRAWN [rows], by (seed, epoch, row) alone.

    flip "alternating" (arXiv 2404.00498, section 3.6) mirrors in even epochs the rows whose coin, the same in every
    epoch, says so, and the others in odd ones: two epochs in a row show each image both ways.
    """
    chance = np.random.default_rng([recipe.seed, epoch, 1]).random((rows, len(DRAWN))).T
    coins = np.random.default_rng([recipe.seed, 0, 1]).random(rows) < 0.5
    either_way = 2 * chance - 1
    drawn = np.empty(rows, DRAWN)
    drawn["mirrored"] = {"none": False, "random": chance[0] < 0.5, "alternating": coins ^ (epoch % 2 == 1)}[recipe.flip]
    drawn["down"], drawn["right"] = chance[1:3] * (2 * recipe.translate + 1)
    drawn["scale"] = 1 + recipe.zoom * either_way[3]
    drawn["turn"] = np.radians(recipe.rotate) * either_way[4]
    drawn["slant"] = np.radians(recipe.shear) * either_way[5]
    drawn["light"] = 1 + recipe.brightness * either_way[6]
    drawn["sigma"] = recipe.blur * chance[7]
    return drawn


def augmented(images, recipe, drawn, pixel_max):
    """Return the images as training sees them: float32 [N, H, W, 3] in raw units.

    Args:
        images: [N, H, W], [N, H, W, 1] or [N, H, W, 3] in raw units, 0..pixel_max.
        recipe: Recipe; what it leaves at 0 is not done.
        drawn: DRAWN [N], the images' rows of `draws`.
        pixel_max: the brightest pixel, 255 or 1.
    """
    if recipe.flip != "none":
        images = np.where(drawn["mirrored"].reshape(-1, *[1] * (images.ndim - 1)), images[:, :, ::-1], images)
    if recipe.translate:
        images = translated(images, recipe.translate, drawn["down"], drawn["right"])
    images = batches.as_rgb(images)
    if recipe.zoom or recipe.rotate or recipe.shear:
        images = warped(images, transforms(images.shape[1:3], drawn["scale"], drawn["turn"], drawn["slant"]))
    if recipe.blur:
        images = blurred(images, drawn["sigma"], math.ceil(3 * recipe.blur))
    if recipe.brightness:
        images = np.clip(images * drawn["light"].astype(np.float32)[:, None, None, None], 0, pixel_max)
    return images


def translated(images, pixels, down, right):
    """Return the images [N, H, W(, C)] shifted by `down`, `right` - pixels (int [N], 0..2 * pixels), edges mirrored."""
    height, width = images.shape[1:3]
    borders = [(0, 0), (pixels, pixels), (pixels, pixels)] + [(0, 0)] * (images.ndim - 3)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(images, borders, "reflect"), (height, width), (1, 2))
    windows = np.moveaxis(windows, (-2, -1), (3, 4))  # [N, 2 * pixels + 1, 2 * pixels + 1, H, W(, C)]
    return windows[np.arange(len(images)), down, right]


def transforms(image_shape, scale, turn, slant):
    """Return float32 [N, 8] for `warped`: sheared by `slant`, turned by `turn` and scaled, about the image's centre.

    image_shape: (H, W). scale, turn, slant: float [N], as in DRAWN.

    A row holds a0 a1 a2 b0 b1 b2 0 0: the pixel at (x, y) comes from (a0 x + a1 y + a2, b0 x + b1 y + b2).
    """
    cosine, sine, lean = np.cos(turn), np.sin(turn), np.tan(slant)
    a = np.stack([cosine - lean * sine, -sine - lean * cosine]) / scale  # [2, N], the inverse's rows
    b = np.stack([sine, cosine]) / scale
    x, y = (image_shape[1] - 1) / 2, (image_shape[0] - 1) / 2
    rows = [*a, x - a[0] * x - a[1] * y, *b, y - b[0] * x - b[1] * y]
    return np.stack([*rows, 0 * scale, 0 * scale], axis=1).astype(np.float32)


def warped(images, transforms):
    """Return float32 [N, H, W, C] images, each through its transform (float32 [N, 8]); bilinear, edges mirrored."""
    return _warp()(images, transforms)


@functools.cache
def _warp():
    """Return `warped`: a graph of one operation in a session of its own."""
    with tf1.Graph().as_default() as graph:
        images, given = tf1.placeholder(tf.float32, [None] * 4), tf1.placeholder(tf.float32, [None, 8])
        result = tf.raw_ops.ImageProjectiveTransformV3(
            images=images, transforms=given, output_shape=tf.shape(images)[1:3], fill_value=0.0,
            interpolation="BILINEAR", fill_mode="REFLECT",
        )  # fmt: skip
    graph.finalize()
    own = session(graph)
    here = tf1.RunOptions(inter_op_thread_pool=-1)  # in the caller's thread: the pool has one, and training is on it
    return lambda each, transforms: own.run(result, {images: each, given: transforms}, options=here)


def blurred(images, sigma, radius):
    """Return the images, float32 [N, H, W, C], under a Gaussian of `sigma` (pixels, float [N]), edges mirrored.

    radius: pixels at which the Gaussian is cut off. A sigma of 0 changes nothing.
    """
    away = np.arange(-radius, radius + 1) / np.maximum(sigma, 1e-3)[:, None]  # [N, taps], in sigmas
    taps = np.exp(-(away**2) / 2)
    taps = (taps / taps.sum(axis=1, keepdims=True)).astype(np.float32)
    for axis in (1, 2):
        size, borders = images.shape[axis], np.zeros((4, 2), int)
        borders[axis] = radius
        padded = np.moveaxis(np.pad(images, borders, "reflect"), axis, 0)
        images, part = np.zeros_like(images), np.empty_like(images)
        for tap in range(2 * radius + 1):
            shifted = np.moveaxis(padded[tap : tap + size], 0, axis)
            images += np.multiply(shifted, taps[:, tap, None, None, None], out=part)
    return images
