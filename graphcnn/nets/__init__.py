"""Networks by name: NETS maps a name to build(x, classes, mode) -> logits.

x: images [N, H, W, 3], normalised, float32 or bfloat16. classes: K. mode: Mode. logits: [N, K] in x's dtype.
"""

import functools
from typing import Any, NamedTuple

from graphcnn import sequential
from graphcnn.nets import vgg


class Mode(NamedTuple):
    """What a net needs beside its input.

    seed: int, of weights and masks. step: scalar integer tensor, the number of updates so far.
    keep_prob: scalar float32 tensor. training: scalar bool tensor.
    portable: whether to use tf.nn's convolutions alone, as a graph for other programs should.
    """

    seed: int
    step: Any
    keep_prob: Any
    training: Any
    portable: bool = False


SEQUENTIAL = {  # name: rows
    "vgg": vgg.VGG,
    "vgg_tiny": vgg.VGG_TINY,
}
NETS = {name: functools.partial(sequential.build, rows) for name, rows in SEQUENTIAL.items()}
