"""A sequential net is a tuple of rows, first layer first; `build` makes its graph."""

from typing import NamedTuple

from graphcnn import layers
from graphcnn.tf1 import tf


class Conv(NamedTuple):
    """A square SAME convolution of stride 1, a max pool of side and stride `pool` (1: none), bias and activation.

    With mode.batch_norm a batch norm takes the bias's place. pool_padding VALID drops a map's odd row and column.
    """

    scope: str
    filters: int
    kernel: int = 3
    pool: int = 1
    pool_padding: str = "SAME"


class GlobalMaxPool(NamedTuple):
    """The maximum of each channel over what is left of the map."""

    scope: str


class Dense(NamedTuple):
    """A dense layer without activation, times `scale`; maps are flattened before it. units None: one per class."""

    scope: str
    units: int | None = None
    bias: bool = True
    scale: float = 1.0


class Dropout(NamedTuple):
    """Dropout with the graph's keep_prob."""

    scope: str


def build(rows, x, classes, mode):
    """Return logits [N, classes] of images x [N, H, W, 3].

    Variables: <scope>/w, b of each Conv and Dense row; with mode.whitening and mode.batch_norm those of
    layers.whitening and layers.batch_norm.
    """
    if mode.whitening:
        x = tf.nn.relu(layers.whitening(x, "whitening", mode.whitening))
    for row in rows:
        if isinstance(row, Conv):
            options = {"kernel": row.kernel, "pool": row.pool, "pool_padding": row.pool_padding, "init": mode.init}
            options |= {"bias": not mode.batch_norm, "portable": mode.portable}
            x = layers.conv2d(x, row.scope, row.filters, seed=mode.seed, **options)
            if mode.batch_norm:
                x = layers.batch_norm(x, f"{row.scope}/norm", training=mode.training, moments=mode.moments)
            x = layers.activation(x, f"{row.scope}/{mode.activation}", mode.activation, portable=mode.portable)
        elif isinstance(row, GlobalMaxPool):
            x = layers.global_max_pool(x, row.scope)
        elif isinstance(row, Dense):
            x = layers.flatten(x, "flatten") if x.shape.rank == 4 else x
            x = layers.dense(x, row.scope, row.units or classes, seed=mode.seed, bias=row.bias)
            x = x if row.scale == 1 else x * row.scale
        else:
            x = layers.dropout(x, row.scope, mode.keep_prob, seed=mode.seed, step=mode.step)
    return x
