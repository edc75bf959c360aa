"""A sequential net is a tuple of rows, first layer first; `build` makes its graph."""

from typing import NamedTuple

from graphcnn.nets import blocks
from graphcnn.ops import layers

NORMS = {  # batch norm by where it stands to the activation; before: courses are short; after: Keras's epsilon
    "before": layers.Norm(epsilon=1e-5, share=0.4, scale=False),
    "after": layers.Norm(epsilon=1e-3, share=0.1),
}


class Conv(NamedTuple):
    """A square convolution, bias, activation and max pool of side `pool` (1: none), pool_stride (None: pool) apart.

    norm: whether batch norm, where the recipe has it, comes here; before or after the activation, as the recipe says.
    padding, pool_padding: SAME or VALID; VALID drops what the last window does not fill. padding may be zeros (before,
    after) each axis.
    """

    scope: str
    filters: int
    kernel: int = 3
    stride: int = 1
    padding: str | tuple = "SAME"
    pool: int = 1
    pool_stride: int | None = None
    pool_padding: str = "SAME"
    norm: bool = True


class AdaptiveAveragePool(NamedTuple):
    """The means of side x side windows, whatever the map's size."""

    scope: str
    side: int


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
    if not isinstance(padding, str):
        side, padding = side + sum(padding), "VALID"
    return -(-side // stride) if padding == "SAME" else (side - size) // stride + 1


def build(rows, x, classes, mode):
    """Return logits [N, classes] of images x [N, H, W, 3]; with classes None the maps before the first dense row.

    Variables: <scope>/w, b of each Conv and Dense row; with mode.whitening and mode.batch_norm those of
    layers.whitening and layers.batch_norm.
    """
    if mode.whitening:
        x = blocks.activation(layers.whitening(x, "whitening", mode.whitening), "whitening", mode, "relu")
    for row in rows:
        if classes is None and isinstance(row, (AdaptiveAveragePool, GlobalMaxPool, Dense)):
            break
        if isinstance(row, Conv):
            x = _convolution(x, row, mode)
        elif isinstance(row, AdaptiveAveragePool):
            x = layers.adaptive_average_pool(x, row.scope, row.side)
        elif isinstance(row, GlobalMaxPool):
            x = layers.global_max_pool(x, row.scope)
        elif isinstance(row, Dense):
            x = layers.flatten(x, "flatten") if x.shape.rank == 4 else x
            x = blocks.dense(x, row.scope, row.units or classes, mode, bias=row.bias)
            x = x if row.scale == 1 else x * row.scale
            if row.activation:
                x = blocks.activation(x, row.scope, mode)
                x = _norm(x, row.scope, mode) if mode.batch_norm == "after" else x
        else:
            x = blocks.dropout(x, row.scope, mode)
    return x


def _convolution(x, row, mode):
    """Return the Conv row's output [N, H', W', K] for x [N, H, W, C].

    The pool stands last, but where no batch norm comes after the activation it is done first: see layers.conv2d.
    """
    place = mode.batch_norm if row.norm else "none"
    pool = {"pool": row.pool, "pool_stride": row.pool_stride, "pool_padding": row.pool_padding}
    options = {"stride": row.stride, "padding": row.padding, "bias": place != "before"}
    options |= {} if place == "after" else pool
    x = blocks.conv(x, row.scope, row.filters, row.kernel, mode, **options)
    x = _norm(x, row.scope, mode) if place == "before" else x
    x = blocks.activation(x, row.scope, mode)
    if place == "after":
        x = _norm(x, row.scope, mode)
        if row.pool > 1:
            stride = row.pool_stride or row.pool
            x = layers.max_pool(x, f"{row.scope}/pool", row.pool, stride=stride, padding=row.pool_padding)
    return x


def _norm(x, scope, mode):
    return blocks.norm(x, f"{scope}/norm", NORMS[mode.batch_norm], mode)
