"""Inception v3 (arXiv 1512.00567) and Inception-ResNet v2 (arXiv 1602.07261). Scopes are named like Keras's layers.

A net is a sequence of rows (layers), and each branch of a Fork or Residual is also a sequence of rows. Convolutions
without a scope are numbered from 1 in the order of the rows. The sizes of maps at the end of the lines are for 299x299
images.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from graphcnn.nets.architecture import Architecture, Published
from graphcnn.nets.blocks import NetContext, activation, batch_norm_activation, conv, pooled_classifier
from graphcnn.ops import layers
from graphcnn.ops.layers import BatchNorm
from graphcnn.ops.tf1 import tf

Branches = tuple[tuple[Any, ...], ...]  # rows of each branch

NORM = BatchNorm(epsilon=1e-3, momentum=0.01, scale=False)


class Conv(NamedTuple):
    """A convolution without a bias, then batch norm and ReLU. kernel: height and width, or (height, width)."""

    filters: int
    kernel: int | tuple[int, int]
    stride: int = 1
    padding: str = "SAME"
    scope: str | None = None


class Pool(NamedTuple):
    """A max or average pool of 3x3 windows. The average excludes the padding."""

    pool: Callable[..., tf.Tensor]  # layers.average_pool or layers.max_pool
    stride: int
    padding: str


class Fork(NamedTuple):
    """Several branches of rows with the same input; their outputs are concatenated."""

    scope: str
    branches: Branches


class Residual(NamedTuple):
    """A residual block: input + scale * (1x1 convolution, with a bias, of a Fork), then a ReLU if `relu` is set."""

    scope: str
    scale: float
    branches: Branches
    relu: bool = True


AVERAGE_POOL = Pool(layers.average_pool, stride=1, padding="SAME")
MAX_POOL = Pool(layers.max_pool, stride=2, padding="VALID")
STEM = (
    Conv(32, 3, stride=2, padding="VALID"),  # 149
    Conv(32, 3, padding="VALID"),  # 147
    Conv(64, 3),
    MAX_POOL,  # 73
    Conv(80, 1),
    Conv(192, 3, padding="VALID"),  # 71
    MAX_POOL,  # 35
)


def _up_to_5x5(first: int, pooled: int) -> Branches:
    """Return branches with kernels up to 5x5; arguments: the filters of the first and of the last branch."""
    return (
        (Conv(first, 1),),
        (Conv(48, 1), Conv(64, 5)),
        (Conv(64, 1), Conv(96, 3), Conv(96, 3)),
        (AVERAGE_POOL, Conv(pooled, 1)),
    )


def _factored_7x7(inner: int) -> Branches:
    """Return branches with 7x7 kernels in two factors; inner: the filters of all but a branch's last convolution."""
    row, column = Conv(inner, (1, 7)), Conv(inner, (7, 1))
    return (
        (Conv(192, 1),),
        (Conv(inner, 1), row, Conv(192, (7, 1))),
        (Conv(inner, 1), column, row, column, Conv(192, (1, 7))),
        (AVERAGE_POOL, Conv(192, 1)),
    )


def _split_3x3(scope: str) -> Branches:
    """Return branches that end in 1x3 kernels beside 3x1 kernels."""
    both = ((Conv(384, (1, 3)),), (Conv(384, (3, 1)),))
    return (
        (Conv(320, 1),),
        (Conv(384, 1), Fork(f"{scope}_split", both)),
        (Conv(448, 1), Conv(384, 3), Fork(f"{scope}_dbl_split", both)),
        (AVERAGE_POOL, Conv(192, 1)),
    )


V3 = (
    *STEM,
    Fork("mixed0", _up_to_5x5(64, 32)),
    Fork("mixed1", _up_to_5x5(64, 64)),
    Fork("mixed2", _up_to_5x5(64, 64)),
    Fork(  # 17
        "mixed3",
        (
            (Conv(384, 3, stride=2, padding="VALID"),),
            (Conv(64, 1), Conv(96, 3), Conv(96, 3, stride=2, padding="VALID")),
            (MAX_POOL,),
        ),
    ),
    Fork("mixed4", _factored_7x7(128)),
    Fork("mixed5", _factored_7x7(160)),
    Fork("mixed6", _factored_7x7(160)),
    Fork("mixed7", _factored_7x7(192)),
    Fork(  # 8
        "mixed8",
        (
            (Conv(192, 1), Conv(320, 3, stride=2, padding="VALID")),
            (Conv(192, 1), Conv(192, (1, 7)), Conv(192, (7, 1)), Conv(192, 3, stride=2, padding="VALID")),
            (MAX_POOL,),
        ),
    ),
    Fork("mixed9", _split_3x3("mixed9")),
    Fork("mixed10", _split_3x3("mixed10")),
)
BLOCK35 = ((Conv(32, 1),), (Conv(32, 1), Conv(32, 3)), (Conv(32, 1), Conv(48, 3), Conv(64, 3)))
BLOCK17 = ((Conv(192, 1),), (Conv(128, 1), Conv(160, (1, 7)), Conv(192, (7, 1))))
BLOCK8 = ((Conv(192, 1),), (Conv(192, 1), Conv(224, (1, 3)), Conv(256, (3, 1))))
RESNET_V2 = (
    *STEM,
    Fork("mixed_5b", _up_to_5x5(96, 64)),
    *(Residual(f"block35_{n}", scale=0.17, branches=BLOCK35) for n in range(1, 11)),
    Fork(  # 17
        "mixed_6a",
        (
            (Conv(384, 3, stride=2, padding="VALID"),),
            (Conv(256, 1), Conv(256, 3), Conv(384, 3, stride=2, padding="VALID")),
            (MAX_POOL,),
        ),
    ),
    *(Residual(f"block17_{n}", scale=0.1, branches=BLOCK17) for n in range(1, 21)),
    Fork(  # 8
        "mixed_7a",
        (
            (Conv(256, 1), Conv(384, 3, stride=2, padding="VALID")),
            (Conv(256, 1), Conv(288, 3, stride=2, padding="VALID")),
            (Conv(256, 1), Conv(288, 3), Conv(320, 3, stride=2, padding="VALID")),
            (MAX_POOL,),
        ),
    ),
    *(Residual(f"block8_{n}", scale=0.2, branches=BLOCK8) for n in range(1, 10)),
    Residual("block8_10", scale=1.0, branches=BLOCK8, relu=False),
    Conv(1536, 1, scope="conv_7b"),
)


def build(rows: tuple[Any, ...], x: tf.Tensor, classes: int | None, context: NetContext) -> tf.Tensor:
    """Return logits [N, classes], or the last maps, of images x [N, H, W, 3].

    Args:
        rows: rows of the net.
        x, classes, context: see blocks.Build.
    """
    return pooled_classifier(_apply(x, rows, itertools.count(1), context), classes, context)


def _apply(x: tf.Tensor, rows: Iterable[Any], numbers: Iterator[int], context: NetContext) -> tf.Tensor:
    """Return the maps of the last row for x [N, H, W, C].

    Args:
        rows: rows of a net or of a branch.
        numbers: iterator over the numbers of the convolutions without a scope.
    """
    for row in rows:
        if isinstance(row, Conv):
            x = _convolution(x, row, numbers, context)
        elif isinstance(row, Pool):
            x = row.pool(x, "pool", 3, stride=row.stride, padding=row.padding)
        elif isinstance(row, Fork):
            x = _fork(x, row, numbers, context)
        else:
            branch = conv(_fork(x, row, numbers, context), f"{row.scope}_conv", int(x.shape[3]), 1, context)
            x = x + row.scale * branch
            x = activation(x, row.scope, context, "relu") if row.relu else x
    return x


def _convolution(x: tf.Tensor, row: Conv, numbers: Iterator[int], context: NetContext) -> tf.Tensor:
    if row.scope:
        scope, norm_scope = row.scope, f"{row.scope}_bn"
    else:
        number = next(numbers)
        scope, norm_scope = f"conv2d_{number}", f"batch_normalization_{number}"
    x = conv(x, scope, row.filters, row.kernel, context, stride=row.stride, padding=row.padding, bias=False)
    return batch_norm_activation(x, norm_scope, NORM, context)


def _fork(x: tf.Tensor, row: Fork | Residual, numbers: Iterator[int], context: NetContext) -> tf.Tensor:
    outputs = [_apply(x, branch, numbers, context) for branch in row.branches]
    return tf.concat(outputs, axis=3, name=f"{row.scope}/concat")


def _architecture(name: str, rows: tuple[Any, ...], md5: str) -> Architecture:
    folder = f"https://storage.googleapis.com/tensorflow/keras-applications/{name}"
    return Architecture(
        build=functools.partial(build, rows),
        image_size=299,
        smallest_size=75,
        preprocessing="tf",
        batch_norm=True,
        published=Published(f"{folder}/{name}_weights_tf_dim_ordering_tf_kernels.h5", md5),
    )


ARCHITECTURES = {
    "inception_v3": _architecture("inception_v3", V3, "9a0d58056eeedaa3f26cb7ebd46da564"),
    "inception_resnet_v2": _architecture("inception_resnet_v2", RESNET_V2, "e693bd0210a403b3192acc6073ad2e96"),
}
