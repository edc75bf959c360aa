"""ResNeXt-50, a residual net of grouped convolutions (arXiv 1611.05431). Scopes are named like torchvision's modules.

The sizes of maps at the end of the lines are for 224x224 images.
"""

from __future__ import annotations

from typing import NamedTuple

from graphcnn.nets.architecture import Architecture
from graphcnn.nets.blocks import (
    NetContext,
    activation,
    batch_norm,
    batch_norm_activation,
    conv,
    grouped,
    pooled_classifier,
)
from graphcnn.ops import layers
from graphcnn.ops.layers import BatchNorm
from graphcnn.ops.tf1 import tf


class Stage(NamedTuple):
    """Bottlenecks with the same settings: their number, and their filters. Their outputs have 2 * filters channels."""

    blocks: int
    filters: int


STAGES = (
    Stage(blocks=3, filters=128),  # 56
    Stage(blocks=4, filters=256),  # 56 -> 28
    Stage(blocks=6, filters=512),  # 28 -> 14
    Stage(blocks=3, filters=1024),  # 14 -> 7
)
GROUPS = 32  # of a grouped convolution; a group has 4 channels in the first stage
NORM = BatchNorm(epsilon=1e-5, momentum=0.1)


def build(x: tf.Tensor, classes: int | None, context: NetContext) -> tf.Tensor:
    """Return logits [N, classes], or the last maps, of images x [N, H, W, 3].

    Args: see blocks.Build.
    """
    x = conv(x, "conv1", 64, 7, context, stride=2, padding=(3, 3), bias=False)  # 224 -> 112
    x = _relu(x, "bn1", context)
    x = layers.max_pool(layers.pad(x, 1, 1), "maxpool", 3, stride=2, padding="VALID")  # 112 -> 56
    for number, stage in enumerate(STAGES, start=1):
        for block in range(stage.blocks):
            stride = 2 if block == 0 and number > 1 else 1
            x = _bottleneck(x, f"layer{number}/{block}", stage.filters, stride, block == 0, context)
    return pooled_classifier(x, classes, context, pool="avgpool", dense_scope="fc")


def _bottleneck(x: tf.Tensor, name: str, filters: int, stride: int, projected: bool, context: NetContext) -> tf.Tensor:
    """Add 1x1, grouped 3x3 and 1x1 convolutions, each normalised, to x or to its projection; ReLU after the sum."""
    shortcut = x
    if projected:
        shortcut = conv(x, f"{name}/downsample/0", 2 * filters, 1, context, stride=stride, bias=False)
        shortcut = batch_norm(shortcut, f"{name}/downsample/1", NORM, context)
    x = _relu(conv(x, f"{name}/conv1", filters, 1, context, bias=False), f"{name}/bn1", context)
    x = grouped(x, f"{name}/conv2", filters, GROUPS, context, stride=stride, padding=(1, 1))
    x = _relu(x, f"{name}/bn2", context)
    x = conv(x, f"{name}/conv3", 2 * filters, 1, context, bias=False)
    x = batch_norm(x, f"{name}/bn3", NORM, context)
    return activation(shortcut + x, f"{name}/out", context, "relu")


def _relu(x: tf.Tensor, scope: str, context: NetContext) -> tf.Tensor:
    return batch_norm_activation(x, scope, NORM, context)


ARCHITECTURES = {
    "resnext50_32x4d": Architecture(
        build=build, image_size=224, smallest_size=32, preprocessing="torch", batch_norm=True, published=None
    )
}
