"""Preprocessing of images inside the graph: test-time-augmentation views, resizing, channel order, normalisation.

Letters in shapes: N batch, V views, H W size of the stored images, S size at which the net runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphcnn.config.recipe import Recipe
from graphcnn.ops.tf1 import tf, tf1

MOST_VIEWS = 6  # largest number of views of an image that add_views returns


@dataclass(frozen=True)
class Normalisation:
    """The variables of the input normalisation: the input of the net is (x - mean) / scale.

    Args:
        mean: float32 variable, in raw units, by channel.
        scale: float32 variable, in raw units, by channel.
    """

    mean: tf.Variable  # [3]
    scale: tf.Variable  # [3]


def add_normalisation(mean: np.ndarray, scale: np.ndarray) -> Normalisation:
    """Return the variables normalisation/mean and normalisation/scale with these initial values."""
    with tf1.variable_scope("normalisation"):
        return Normalisation(*(_constant_variable(name, value) for name, value in (("mean", mean), ("scale", scale))))


def _constant_variable(name: str, value: np.ndarray) -> tf.Variable:
    return tf1.get_variable(name, initializer=np.asarray(value, np.float32), trainable=False)


def preprocess(x: tf.Tensor, size: int, recipe: Recipe, normalisation: Normalisation) -> tf.Tensor:
    """Return the input of the net for images: resized, channels in the order that its weights expect, normalised.

    Args:
        x: images in raw units, float32 [N, H, W, 3].
        size: height and width of the result, in pixels.
        recipe: Recipe. With the normalisation caffe, the channels are blue, green, red.
        normalisation: the variables of the normalisation.

    Returns: float32 [N, S, S, 3].
    """
    if tuple(x.shape[1:3]) != (size, size):
        # "area" takes a twentieth of the time of antialiasing, which would slow the steps at the early size
        method = {"antialias": True} if size == recipe.image_size else {"method": "area"}
        x = tf.image.resize(x, [size, size], **method)  # [N, S, S, 3]
    x = x[..., ::-1] if recipe.normalisation == "caffe" else x
    return (x - normalisation.mean) / normalisation.scale


def add_views(x: tf.Tensor, tta: tf.Tensor, recipe: Recipe) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Return the test-time-augmentation views of images, and the weight of each view.

    The views depend on the augmentation of the recipe. With `flip`, there are mirrored images. With `translate`, there
    are images shifted by one pixel along a diagonal, in both directions; each has half the weight of the unshifted
    view (arXiv 2404.00498, section 3.7).

    Args:
        x: images in raw units, float32 [N, H, W, 3].
        tta: bool []; if it is false, the only view is x.
        recipe: Recipe.

    Returns: (images [V * N, H, W, 3], weights [V]), or (x, None) for a recipe that neither flips nor translates.
    """
    height, width = x.shape[1:3]

    def all_views() -> tf.Tensor:
        views = [x]
        if recipe.translate:
            padded = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT")  # [N, H + 2, W + 2, 3]
            views += [padded[:, :height, :width], padded[:, 2:, 2:]]
        if recipe.flip != "none":
            views += [view[:, :, ::-1] for view in views]
        return tf.concat(views, axis=0)

    weights = [0.5, 0.25, 0.25] if recipe.translate else [1.0]
    if recipe.flip != "none":
        weights = [weight / 2 for weight in weights] * 2
    if len(weights) == 1:
        return x, None
    images = tf.cond(tta, all_views, lambda: tf.identity(x))
    images.set_shape(x.shape)
    return images, tf.cond(tta, lambda: tf.constant(weights), lambda: tf.constant([1.0]))
