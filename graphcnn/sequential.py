"""A sequential net is a tuple of rows, first layer first; `build` makes its graph."""

from typing import NamedTuple

from graphcnn import layers
from graphcnn.tf1 import tf


class Conv(NamedTuple):
    """A square SAME convolution of stride 1 with bias and ReLU, then a max pool of side and stride `pool` (1: none)."""

    scope: str
    filters: int
    kernel: int = 3
    pool: int = 1


class Dense(NamedTuple):
    """A dense layer without activation; maps are flattened before the first one. units None: one per class."""

    scope: str
    units: int | None = None


class Dropout(NamedTuple):
    """Dropout with the graph's keep_prob."""

    scope: str


def build(rows, x, classes, mode):
    """Return logits [N, classes] of images x [N, H, W, 3]. Variables: <scope>/w, b of each Conv and Dense row."""
    for row in rows:
        if isinstance(row, Conv):
            options = {"kernel": row.kernel, "pool": row.pool, "portable": mode.portable}
            x = layers.conv2d(x, row.scope, row.filters, seed=mode.seed, **options)
            x = tf.nn.relu(x, name=f"{row.scope}/relu")
        elif isinstance(row, Dense):
            x = layers.flatten(x, "flatten") if x.shape.rank == 4 else x
            x = layers.dense(x, row.scope, row.units or classes, seed=mode.seed)
        else:
            x = layers.dropout(x, row.scope, mode.keep_prob, seed=mode.seed, step=mode.step)
    return x
