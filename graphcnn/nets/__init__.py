"""Networks by name: NETS maps a name to build(x, classes, mode) -> logits.

x: images [N, H, W, 3], normalised, float32 or bfloat16. classes: K. mode: Mode. logits: [N, K] in x's dtype.
"""

import functools
from typing import Any, NamedTuple

from graphcnn import sequential
from graphcnn.nets import ladder, photos, vgg


class Mode(NamedTuple):
    """What a net needs beside its input.

    seed: int, of weights and masks. step: scalar integer tensor, the number of updates so far.
    keep_prob: scalar float32 tensor, None for a net without dropout. part: see layers.dropout.
    whitening, init, bias_init, activation: as in recipes.Recipe. batch_norm: none, or its batch_norm_at.
    training: whether batch norm takes the batch's moments, and appends them to `moments`; see layers.batch_norm.
    portable: whether to use tf.nn's convolutions alone, as a graph for other programs should.
    """

    seed: int
    step: Any
    keep_prob: Any
    part: Any
    whitening: int
    init: str
    bias_init: str
    activation: str
    batch_norm: str
    training: bool
    moments: list
    portable: bool


SEQUENTIAL = {  # name: rows
    **vgg.NETS,
    **ladder.NETS,
    **photos.NETS,
}
ANY_SIZE = {  # the names of nets whose weights fit images of any size
    name for name, rows in SEQUENTIAL.items() if any(isinstance(row, sequential.GlobalMaxPool) for row in rows)
}
NETS = {name: functools.partial(sequential.build, rows) for name, rows in SEQUENTIAL.items()}
