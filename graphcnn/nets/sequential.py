"""Sequential nets: a net is a tuple of rows, first layer first, and `build` makes its graph.

Letters in shapes: N batch, H W height and width, C channels in, K channels or units out.
"""

from __future__ import annotations

from typing import NamedTuple

from graphcnn.nets import blocks
from graphcnn.nets.blocks import NetContext
from graphcnn.ops import layers
from graphcnn.ops.layers import BatchNorm, MaxPool, Padding
from graphcnn.ops.tf1 import tf

NORMS = {  # by Recipe.batch_norm_position
    "before": BatchNorm(epsilon=1e-5, momentum=0.4, scale=False),  # a high momentum, since trainings are short
    "after": BatchNorm(epsilon=1e-3, momentum=0.1),  # with Keras's epsilon
}


class Conv(NamedTuple):
    """A convolution with bias, activation and max pool.

    Attributes:
        scope: of its variables.
        filters: K.
        kernel: height and width of the kernel.
        stride: of the kernel, in pixels.
        padding: SAME, VALID, or the number of zeros (before, after) each axis.
        pool: height and width of the pool's windows; 1 for no pool.
        pool_stride: of the pool; None for the size of its windows.
        pool_padding: SAME, or VALID, which drops the pixels that the last window does not fill.
        norm: whether this row has batch norm where the recipe has it.
    """

    scope: str
    filters: int
    kernel: int = 3
    stride: int = 1
    padding: Padding = "SAME"
    pool: int = 1
    pool_stride: int | None = None
    pool_padding: str = "SAME"
    norm: bool = True


class AdaptiveAveragePool(NamedTuple):
    """The means of size x size windows, for maps of any size."""

    scope: str
    size: int


class GlobalMaxPool(NamedTuple):
    """The maximum of each channel over the map."""

    scope: str


class Dense(NamedTuple):
    """A dense layer; maps are flattened before it.

    Attributes:
        scope: of its variables.
        units: K; None for one unit per class.
        bias: whether it has a bias.
        scale: factor of its output.
        activation: whether the recipe's activation follows, and batch norm where the recipe has it after activations.
    """

    scope: str
    units: int | None = None
    bias: bool = True
    scale: float = 1.0
    activation: bool = False


class Dropout(NamedTuple):
    """Dropout with the graph's keep_prob."""

    scope: str


Row = Conv | AdaptiveAveragePool | GlobalMaxPool | Dense | Dropout
Rows = tuple[Row, ...]


def fits(rows: Rows, size: int) -> bool:
    """Return whether images of that height and width, in pixels, are large enough for each window of the rows."""
    for row in rows:
        if isinstance(row, Conv):
            size = _positions(size, row.kernel, row.stride, row.padding)
            size = _positions(size, row.pool, row.pool_stride or row.pool, row.pool_padding)
    return size > 0


def _positions(size: int, window: int, stride: int, padding: Padding) -> int:
    """Return the number of positions of a window along an axis of that size; at most 0 where it has none."""
    if not isinstance(padding, str):
        size, padding = size + sum(padding), "VALID"
    return -(-size // stride) if padding == "SAME" else (size - window) // stride + 1


def build(rows: Rows, x: tf.Tensor, classes: int | None, context: NetContext) -> tf.Tensor:
    """Return logits [N, classes] of images x [N, H, W, 3]; with classes None the maps before the first dense row.

    Args:
        rows: of the net.
        x, classes, context: see blocks.Build.

    Variables: <scope>/w, b of each Conv and Dense row; those of layers.whitening and layers.batch_norm where the
    recipe has them.
    """
    if context.whitening_patch_size:
        x = layers.whitening(x, "whitening", context.whitening_patch_size)
        x = blocks.activation(x, "whitening", context, "relu")
    for row in rows:
        if classes is None and isinstance(row, (AdaptiveAveragePool, GlobalMaxPool, Dense)):
            break
        if isinstance(row, Conv):
            x = _convolution(x, row, context)
        elif isinstance(row, AdaptiveAveragePool):
            x = layers.adaptive_average_pool(x, row.scope, row.size)
        elif isinstance(row, GlobalMaxPool):
            x = layers.global_max_pool(x, row.scope)
        elif isinstance(row, Dense):
            x = _dense(x, row, classes, context)
        else:
            x = blocks.dropout(x, row.scope, context)
    return x


def _convolution(x: tf.Tensor, row: Conv, context: NetContext) -> tf.Tensor:
    """Return the output of a Conv row: [N, H, W, C] -> [N, H', W', K].

    The pool is the row's last layer. Where no batch norm follows the activation, it is computed first, see
    layers.conv2d.
    """
    position = context.batch_norm_position if row.norm else "none"
    pool = MaxPool(row.pool, row.pool_stride or row.pool, row.pool_padding) if row.pool > 1 else None
    x = blocks.conv(
        x,
        row.scope,
        row.filters,
        row.kernel,
        context,
        stride=row.stride,
        padding=row.padding,
        pool=None if position == "after" else pool,
        bias=position != "before",
    )
    x = _batch_norm(x, row.scope, context) if position == "before" else x
    x = blocks.activation(x, row.scope, context)
    if position == "after":
        x = _batch_norm(x, row.scope, context)
        if pool is not None:
            x = layers.max_pool(x, f"{row.scope}/pool", pool.size, stride=pool.stride, padding=pool.padding)
    return x


def _dense(x: tf.Tensor, row: Dense, classes: int | None, context: NetContext) -> tf.Tensor:
    """Return the output of a Dense row: [N, H, W, C] or [N, C] -> [N, K]."""
    x = layers.flatten(x, "flatten") if x.shape.rank == 4 else x
    units = row.units or classes
    assert units is not None  # without classes, build stops before the first dense row
    x = blocks.dense(x, row.scope, units, context, bias=row.bias)
    x = x if row.scale == 1 else x * row.scale
    if row.activation:
        x = blocks.activation(x, row.scope, context)
        x = _batch_norm(x, row.scope, context) if context.batch_norm_position == "after" else x
    return x


def _batch_norm(x: tf.Tensor, scope: str, context: NetContext) -> tf.Tensor:
    return blocks.batch_norm(x, f"{scope}/norm", NORMS[context.batch_norm_position], context)
