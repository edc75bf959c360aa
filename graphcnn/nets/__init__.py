"""Networks by name: NETS maps a name to build(x, classes, mode) -> logits.

x: images [N, H, W, 3], normalised, float32 or bfloat16. classes: K. mode: Mode. logits: [N, K] in x's dtype.
"""

from typing import Any, NamedTuple

from graphcnn.nets import vgg


class Mode(NamedTuple):
    """What a net needs beside its input.

    seed: int, of weights and masks. step: scalar integer tensor, the number of updates so far.
    keep_prob: scalar float32 tensor. training: scalar bool tensor.
    """

    seed: int
    step: Any
    keep_prob: Any
    training: Any


NETS = {
    "vgg": vgg.build,
    "vgg_tiny": vgg.build_tiny,
}
