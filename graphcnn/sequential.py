"""A sequential net is a tuple of rows, first layer first; `build` makes its graph."""

from typing import NamedTuple

from graphcnn import layers
from graphcnn.tf1 import tf


class Conv(NamedTuple):
    """A square convolution, bias, activation and max pool of side `pool` (1: none), pool_stride (None: pool) apart.

    norm: whether batch norm, where the recipe has it, comes here; before or after the activation, as the recipe says.
    padding, pool_padding: SAME or VALID; VALID drops what the last window does not fill.
    """

    scope: str
    filters: int
    kernel: int = 3
    stride: int = 1
    padding: str = "SAME"
    pool: int = 1
    pool_stride: int | None = None
    pool_padding: str = "SAME"
    norm: bool = True


class GlobalMaxPool(NamedTuple):
    """The maximum of each channel over what is left of the map."""

    scope: str


class Dense(NamedTuple):
    """A dense layer, times `scale`, maps being flattened before it. units None: one per class.

    activation: whether the recipe's activation follows, and batch norm where the recipe has it after activations.
    """

    scope: str
    units: int | None = None
    bias: bool = True
    scale: float = 1.0
    activation: bool = False


class Dropout(NamedTuple):
    """Dropout of single numbers with the graph's keep_prob; none in a recipe that keeps all."""

    scope: str


def fits(rows, side):
    """Return whether images of that side in pixels leave each window of the rows something to stand on."""
    for row in rows:
        if isinstance(row, Conv):
            side = _windows(side, row.kernel, row.stride, row.padding)
            side = _windows(side, row.pool, row.pool_stride or row.pool, row.pool_padding)
    return side > 0


def _windows(side, size, stride, padding):
    """Return along how many positions a window of that size stands on a map of that side; at most 0 if on none."""
    return -(-side // stride) if padding == "SAME" else (side - size) // stride + 1


def build(rows, x, classes, mode):
    """Return logits [N, classes] of images x [N, H, W, 3].

    Variables: <scope>/w, b of each Conv and Dense row; with mode.whitening and mode.batch_norm those of
    layers.whitening and layers.batch_norm.
    """
    if mode.whitening:
        x = tf.nn.relu(layers.whitening(x, "whitening", mode.whitening))
    for row in rows:
        if isinstance(row, Conv):
            x = _convolution(x, row, mode)
        elif isinstance(row, GlobalMaxPool):
            x = layers.global_max_pool(x, row.scope)
        elif isinstance(row, Dense):
            x = layers.flatten(x, "flatten") if x.shape.rank == 4 else x
            options = {"bias": row.bias, "bias_init": mode.bias_init}
            x = layers.dense(x, row.scope, row.units or classes, seed=mode.seed, **options)
            x = x if row.scale == 1 else x * row.scale
            if row.activation:
                x = _activation(x, row.scope, mode)
                x = _norm(x, row.scope, mode) if mode.batch_norm == "after" else x
        elif mode.keep_prob is not None:
            x = _dropout(x, row, mode)
    return x


def _dropout(x, row, mode):
    """Return x with dropout; outside training only where keep_prob is fed, as drawing masks takes its time."""

    def dropped():
        return layers.dropout(x, row.scope, mode.keep_prob, seed=mode.seed, step=mode.step, part=mode.part)

    if mode.training:
        return dropped()
    y = tf.cond(mode.keep_prob < 1, dropped, lambda: tf.identity(x))
    y.set_shape(x.shape)
    return y


def _convolution(x, row, mode):
    """Return the Conv row's output [N, H', W', K] for x [N, H, W, C].

    The pool stands last, but where no batch norm comes after the activation it is done first: see layers.conv2d.
    """
    place = mode.batch_norm if row.norm else "none"
    pool = {"pool": row.pool, "pool_stride": row.pool_stride, "pool_padding": row.pool_padding}
    options = {"kernel": row.kernel, "stride": row.stride, "padding": row.padding, "portable": mode.portable}
    options |= {"init": mode.init, "bias": place != "before", "bias_init": mode.bias_init}
    options |= {} if place == "after" else pool
    x = layers.conv2d(x, row.scope, row.filters, seed=mode.seed, **options)
    x = _norm(x, row.scope, mode) if place == "before" else x
    x = _activation(x, row.scope, mode)
    if place == "after":
        x = _norm(x, row.scope, mode)
        if row.pool > 1:
            stride = row.pool_stride or row.pool
            x = layers.max_pool(x, f"{row.scope}/pool", row.pool, stride=stride, padding=row.pool_padding)
    return x


def _norm(x, scope, mode):
    return layers.batch_norm(x, f"{scope}/norm", training=mode.training, moments=mode.moments, at=mode.batch_norm)


def _activation(x, scope, mode):
    return layers.activation(x, f"{scope}/{mode.activation}", mode.activation, portable=mode.portable)
