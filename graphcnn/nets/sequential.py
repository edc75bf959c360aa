"""Sequential nets: a net is a tuple of rows (layers) in order, and `build` adds its layers to the graph.

Letters in shapes: N batch, H W height and width, C channels in, K channels or units out.
"""

from __future__ import annotations

from typing import NamedTuple

from graphcnn.nets import blocks
from graphcnn.nets.blocks import NetContext
from graphcnn.ops import layers
from graphcnn.ops.layers import BatchNorm, Padding, Window
from graphcnn.ops.tf1 import tf

NORMS = {  # by Recipe.batch_norm_position
    "before": BatchNorm(epsilon=1e-5, momentum=0.4, scale=False),  # high momentum for short trainings
    "after": BatchNorm(epsilon=1e-3, momentum=0.1),  # epsilon as in Keras
}


class Conv(NamedTuple):
    """A convolution with bias, activation and max pool.

    Attributes:
        scope: variable scope.
        filters: K.
        kernel: height and width of the kernel.
        stride: stride of the kernel, in pixels.
        padding: SAME, VALID, or the number of zeros (before, after) each axis.
        pool: height and width of the windows of the max pool; 1 for no pool.
        pool_stride: stride of the max pool; None for the size of its windows.
        pool_padding: SAME, or VALID, which drops pixels at the end that do not fill a window.
        norm: whether this layer has batch norm, if the recipe has batch_norm.
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
    """The means over size x size windows that cover the map, whatever its size."""

    scope: str
    size: int


class GlobalMaxPool(NamedTuple):
    """The maximum of each channel over the map."""

    scope: str


class Dense(NamedTuple):
    """A dense layer. Its input is flattened if it is a map.

    Attributes:
        scope: variable scope.
        units: K; None for one unit per class.
        bias: whether it has a bias.
        scale: factor of its output.
        activation: whether the activation of the recipe follows, and then batch norm if its position is "after". If
            not, the layer is linear.
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
    """Return whether images of size x size pixels are large enough for all windows of the rows."""
    for row in rows:
        if isinstance(row, Conv):
            size = _positions(size, row.kernel, row.stride, row.padding)
            size = _positions(size, row.pool, row.pool_stride or row.pool, row.pool_padding)
    return size > 0


def _positions(size: int, window: int, stride: int, padding: Padding) -> int:
    """Return the number of positions of a window along an axis of `size` pixels; 0 or less if it does not fit."""
    if not isinstance(padding, str):
        size, padding = size + sum(padding), "VALID"
    return -(-size // stride) if padding == "SAME" else (size - window) // stride + 1


def build(rows: Rows, x: tf.Tensor, classes: int | None, context: NetContext) -> tf.Tensor:
    """Return logits [N, classes] of images x [N, H, W, 3]; with classes None the last maps before the classifier.

    Args:
        rows: rows of the net.
        x, classes, context: see blocks.Build.

    Variables: <scope>/w and <scope>/b of each Conv and Dense row; the variables of layers.whitening and
    layers.batch_norm if the recipe uses them.
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

    The max pool comes last. If no batch norm follows the activation, it is computed before the bias, which gives the
    same result: see layers.conv2d.
    """
    position = context.batch_norm_position if row.norm else "none"
    pool = Window(row.pool, row.pool_stride or row.pool, row.pool_padding) if row.pool > 1 else None
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
