"""MobileNet v1 (arXiv 1704.04861) and v2 (arXiv 1801.04381), both of width 1. Scopes are named like Keras's layers.

The sizes of maps at the end of the lines are for 224x224 images.
"""

from __future__ import annotations

from typing import NamedTuple

from graphcnn.nets.architecture import Architecture, Published
from graphcnn.nets.blocks import (
    Build,
    NetContext,
    batch_norm,
    batch_norm_activation,
    conv,
    depthwise,
    dropout,
    pooled_classifier,
)
from graphcnn.ops import layers
from graphcnn.ops.layers import BatchNorm
from graphcnn.ops.tf1 import tf


class Block(NamedTuple):
    """A block of v1: the filters of its 1x1 convolution, and the stride of its depthwise convolution."""

    filters: int
    stride: int = 1


class Stage(NamedTuple):
    """Blocks of v2 with the same settings.

    blocks: their number. stride: of the first block. expansion: how many channels the depthwise convolution has for
    each channel of the input. filters: channels of the output.
    """

    blocks: int
    stride: int
    expansion: int
    filters: int


V1 = (
    Block(filters=64),  # 112
    Block(filters=128, stride=2),  # 112 -> 56
    Block(filters=128),
    Block(filters=256, stride=2),  # 56 -> 28
    Block(filters=256),
    Block(filters=512, stride=2),  # 28 -> 14
    *[Block(filters=512)] * 5,
    Block(filters=1024, stride=2),  # 14 -> 7
    Block(filters=1024),
)
V2 = (
    Stage(blocks=1, stride=1, expansion=1, filters=16),  # 112
    Stage(blocks=2, stride=2, expansion=6, filters=24),  # 112 -> 56
    Stage(blocks=3, stride=2, expansion=6, filters=32),  # 56 -> 28
    Stage(blocks=4, stride=2, expansion=6, filters=64),  # 28 -> 14
    Stage(blocks=3, stride=1, expansion=6, filters=96),  # 14
    Stage(blocks=3, stride=2, expansion=6, filters=160),  # 14 -> 7
    Stage(blocks=1, stride=1, expansion=6, filters=320),  # 7
)
NORM_V1 = BatchNorm(epsilon=1e-3, momentum=0.01)
NORM_V2 = BatchNorm(epsilon=1e-3, momentum=0.001)


def v1(x: tf.Tensor, classes: int | None, context: NetContext) -> tf.Tensor:
    """Return logits [N, classes], or the last maps, of images x [N, H, W, 3]. Args: see blocks.Build."""
    x = conv(x, "conv1", 32, 3, context, stride=2, bias=False)  # [N, H / 2, W / 2, 32]
    x = _relu6(x, "conv1_bn", NORM_V1, context)
    for number, block in enumerate(V1, start=1):
        padding = (0, 1) if block.stride == 2 else "SAME"  # Keras pads odd sizes like even ones
        x = depthwise(x, f"conv_dw_{number}/depthwise", 3, context, stride=block.stride, padding=padding)
        x = _relu6(x, f"conv_dw_{number}_bn", NORM_V1, context)
        x = conv(x, f"conv_pw_{number}", block.filters, 1, context, bias=False)
        x = _relu6(x, f"conv_pw_{number}_bn", NORM_V1, context)
    if classes is None:
        return x
    x = dropout(layers.global_average_pool(x, "avg_pool"), "dropout", context)  # [N, C]
    return conv(x[:, None, None], "conv_preds", classes, 1, context)[:, 0, 0]  # Keras's classifier is a convolution


def v2(x: tf.Tensor, classes: int | None, context: NetContext) -> tf.Tensor:
    """Return logits [N, classes], or the last maps, of images x [N, H, W, 3]. Args: see blocks.Build."""
    x = conv(x, "Conv1", 32, 3, context, stride=2, bias=False)  # [N, H / 2, W / 2, 32]
    x = _relu6(x, "bn_Conv1", NORM_V2, context)
    number = 0
    for stage in V2:
        for index in range(stage.blocks):
            name = f"block_{number}" if number else "expanded_conv"
            x = _inverted_residual(x, name, stage, stage.stride if index == 0 else 1, context)
            number += 1
    x = _relu6(conv(x, "Conv_1", 1280, 1, context, bias=False), "Conv_1_bn", NORM_V2, context)
    return pooled_classifier(x, classes, context)


def _inverted_residual(x: tf.Tensor, name: str, stage: Stage, stride: int, context: NetContext) -> tf.Tensor:
    """Return a block: expansion, depthwise convolution, projection. If the output has the shape of x, x is added."""
    channels, before = int(x.shape[3]), x
    if stage.expansion > 1:
        x = conv(x, f"{name}_expand", stage.expansion * channels, 1, context, bias=False)
        x = _relu6(x, f"{name}_expand_BN", NORM_V2, context)
    x = depthwise(x, f"{name}_depthwise/depthwise", 3, context, stride=stride)
    x = _relu6(x, f"{name}_depthwise_BN", NORM_V2, context)
    x = conv(x, f"{name}_project", stage.filters, 1, context, bias=False)
    x = batch_norm(x, f"{name}_project_BN", NORM_V2, context)
    return before + x if stride == 1 and channels == stage.filters else x


def _relu6(x: tf.Tensor, scope: str, norm: BatchNorm, context: NetContext) -> tf.Tensor:
    return batch_norm_activation(x, scope, norm, context, kind="relu6")


def _architecture(build: Build, file: str) -> Architecture:
    return Architecture(
        build=build,
        image_size=224,
        smallest_size=32,
        preprocessing="tf",
        batch_norm=True,
        published=Published(f"https://storage.googleapis.com/tensorflow/keras-applications/{file}.h5", md5=None),
    )


ARCHITECTURES = {
    "mobilenet": _architecture(v1, "mobilenet/mobilenet_1_0_224_tf"),
    "mobilenet_v2": _architecture(v2, "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224"),
}
