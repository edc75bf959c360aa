"""Inception v3 (arXiv 1512.00567) and Inception-ResNet v2 (arXiv 1602.07261), scopes named as in Keras.

A net is a chain of rows, and so is each branch of a Fork or Residual. Convolutions without a scope are numbered from 1
in the order of the rows. Sizes in the margin are for 299x299.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

from graphcnn.nets.blocks import Architecture, Published, activation, conv, dense, norm
from graphcnn.ops import layers
from graphcnn.ops.tf1 import tf

NORM = layers.Norm(epsilon=1e-3, share=0.01, scale=False)


class Conv(NamedTuple):
    """A convolution without a bias, then batch norm and ReLU. kernel: its side, or (height, width)."""

    filters: int
    kernel: int | tuple
    stride: int = 1
    padding: str = "SAME"
    scope: str | None = None


class Pool(NamedTuple):
    """The means or maxima of 3x3 windows, padding left out of the means."""

    pool: Callable  # layers.average_pool or layers.max_pool
    stride: int
    padding: str


class Fork(NamedTuple):
    """The ends of several chains, which all start from what comes in, as one map."""

    scope: str
    chains: tuple


class Residual(NamedTuple):
    """What comes in plus `scale` times a 1x1 convolution, with a bias, of a Fork; ReLU after the sum where `relu`."""

    scope: str
    scale: float
    chains: tuple
    relu: bool = True


MEANS = Pool(layers.average_pool, 1, "SAME")
MAXIMA = Pool(layers.max_pool, 2, "VALID")
STEM = (
    Conv(32, 3, 2, "VALID"),  # 149
    Conv(32, 3, 1, "VALID"),  # 147
    Conv(64, 3),
    MAXIMA,  # 73
    Conv(80, 1),
    Conv(192, 3, 1, "VALID"),  # 71
    MAXIMA,  # 35
)


def _fives(first, pooled):
    """Return branches with windows up to 5x5; arguments: the filters of the first and the last."""
    return (
        (Conv(first, 1),),
        (Conv(48, 1), Conv(64, 5)),
        (Conv(64, 1), Conv(96, 3), Conv(96, 3)),
        (MEANS, Conv(pooled, 1)),
    )


def _sevens(inner):
    """Return branches with 7x7 windows in two factors; inner: the filters of all but a branch's last convolution."""
    lying, standing = Conv(inner, (1, 7)), Conv(inner, (7, 1))
    return (
        (Conv(192, 1),),
        (Conv(inner, 1), lying, Conv(192, (7, 1))),
        (Conv(inner, 1), standing, lying, standing, Conv(192, (1, 7))),
        (MEANS, Conv(192, 1)),
    )


def _threes(scope):
    """Return branches that end in 1x3 beside 3x1 windows."""
    both = ((Conv(384, (1, 3)),), (Conv(384, (3, 1)),))
    return (
        (Conv(320, 1),),
        (Conv(384, 1), Fork(f"{scope}_split", both)),
        (Conv(448, 1), Conv(384, 3), Fork(f"{scope}_dbl_split", both)),
        (MEANS, Conv(192, 1)),
    )


V3 = (
    *STEM,
    Fork("mixed0", _fives(64, 32)),
    Fork("mixed1", _fives(64, 64)),
    Fork("mixed2", _fives(64, 64)),
    Fork(  # 17
        "mixed3",
        ((Conv(384, 3, 2, "VALID"),), (Conv(64, 1), Conv(96, 3), Conv(96, 3, 2, "VALID")), (MAXIMA,)),
    ),
    Fork("mixed4", _sevens(128)),
    Fork("mixed5", _sevens(160)),
    Fork("mixed6", _sevens(160)),
    Fork("mixed7", _sevens(192)),
    Fork(  # 8
        "mixed8",
        (
            (Conv(192, 1), Conv(320, 3, 2, "VALID")),
            (Conv(192, 1), Conv(192, (1, 7)), Conv(192, (7, 1)), Conv(192, 3, 2, "VALID")),
            (MAXIMA,),
        ),
    ),
    Fork("mixed9", _threes("mixed9")),
    Fork("mixed10", _threes("mixed10")),
)
BLOCK35 = ((Conv(32, 1),), (Conv(32, 1), Conv(32, 3)), (Conv(32, 1), Conv(48, 3), Conv(64, 3)))
BLOCK17 = ((Conv(192, 1),), (Conv(128, 1), Conv(160, (1, 7)), Conv(192, (7, 1))))
BLOCK8 = ((Conv(192, 1),), (Conv(192, 1), Conv(224, (1, 3)), Conv(256, (3, 1))))
RESNET_V2 = (
    *STEM,
    Fork("mixed_5b", _fives(96, 64)),
    *(Residual(f"block35_{n}", 0.17, BLOCK35) for n in range(1, 11)),
    Fork(  # 17
        "mixed_6a",
        ((Conv(384, 3, 2, "VALID"),), (Conv(256, 1), Conv(256, 3), Conv(384, 3, 2, "VALID")), (MAXIMA,)),
    ),
    *(Residual(f"block17_{n}", 0.1, BLOCK17) for n in range(1, 21)),
    Fork(  # 8
        "mixed_7a",
        (
            (Conv(256, 1), Conv(384, 3, 2, "VALID")),
            (Conv(256, 1), Conv(288, 3, 2, "VALID")),
            (Conv(256, 1), Conv(288, 3), Conv(320, 3, 2, "VALID")),
            (MAXIMA,),
        ),
    ),
    *(Residual(f"block8_{n}", 0.2, BLOCK8) for n in range(1, 10)),
    Residual("block8_10", 1.0, BLOCK8, relu=False),
    Conv(1536, 1, scope="conv_7b"),
)


def build(rows, x, classes, mode):
    """Return logits [N, classes], or the maps, of images x [N, H, W, 3]."""
    x = _chain(x, rows, [], mode)
    return x if classes is None else dense(layers.global_average_pool(x, "avg_pool"), "predictions", classes, mode)


def _chain(x, rows, numbered, mode):
    """Return the chain's last maps for x [N, H, W, C]. numbered: the list of Conv rows without a scope so far."""
    for row in rows:
        if isinstance(row, Conv):
            x = _convolution(x, row, numbered, mode)
        elif isinstance(row, Pool):
            x = row.pool(x, "pool", 3, stride=row.stride, padding=row.padding)
        elif isinstance(row, Fork):
            x = _fork(x, row, numbered, mode)
        else:
            branch = conv(_fork(x, row, numbered, mode), f"{row.scope}_conv", int(x.shape[3]), 1, mode)
            x = x + row.scale * branch
            x = activation(x, row.scope, mode, "relu") if row.relu else x
    return x


def _convolution(x, row, numbered, mode):
    if row.scope:
        scope, norm_scope = row.scope, f"{row.scope}_bn"
    else:
        numbered.append(row)
        scope, norm_scope = f"conv2d_{len(numbered)}", f"batch_normalization_{len(numbered)}"
    x = conv(x, scope, row.filters, row.kernel, mode, stride=row.stride, padding=row.padding, bias=False)
    return activation(norm(x, norm_scope, NORM, mode), norm_scope, mode, "relu")


def _fork(x, row, numbered, mode):
    ends = [_chain(x, chain, numbered, mode) for chain in row.chains]
    return tf.concat(ends, axis=3, name=f"{row.scope}/concat")


def _architecture(name, rows, md5):
    folder = f"https://storage.googleapis.com/tensorflow/keras-applications/{name}"
    weights = Published(f"{folder}/{name}_weights_tf_dim_ordering_tf_kernels.h5", md5)
    return Architecture(functools.partial(build, rows), 299, 75, "tf", True, weights)


ARCHITECTURES = {
    "inception_v3": _architecture("inception_v3", V3, "9a0d58056eeedaa3f26cb7ebd46da564"),
    "inception_resnet_v2": _architecture("inception_resnet_v2", RESNET_V2, "e693bd0210a403b3192acc6073ad2e96"),
}
