"""Residual nets with bottleneck blocks: v1 (arXiv 1512.03385) and v2 (arXiv 1603.05027).

Scopes are named like Keras's layers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from graphcnn.nets.architecture import Architecture, Published
from graphcnn.nets.blocks import (
    NetContext,
    activation,
    batch_norm,
    batch_norm_activation,
    conv,
    pooled_classifier,
)
from graphcnn.ops import layers
from graphcnn.ops.layers import BatchNorm
from graphcnn.ops.tf1 import tf

FILTERS = (64, 128, 256, 512)  # of each stage's bottlenecks; their outputs have four times as many
BLOCKS = {  # number of bottlenecks in each stage
    "resnet50": (3, 4, 6, 3),
    "resnet50_v2": (3, 4, 6, 3),
    "resnet152_v2": (3, 8, 36, 3),
}
NORM = BatchNorm(epsilon=1.001e-5, momentum=0.01)


def v1(blocks: tuple[int, ...], x: tf.Tensor, classes: int | None, context: NetContext) -> tf.Tensor:
    """Return logits [N, classes], or the last maps, of images x [N, H, W, 3].

    The first block of each stage except the first stage has stride 2.

    Args:
        blocks: number of bottlenecks in each stage.
        x, classes, context: see blocks.Build.
    """
    x = conv(x, "conv1_conv", 64, 7, context, stride=2, padding=(3, 3))  # H / 2
    x = _relu(x, "conv1_bn", context)
    x = layers.max_pool(layers.pad(x, 1, 1), "pool1_pool", 3, stride=2, padding="VALID")  # H / 4
    for stage, (filters, count) in enumerate(zip(FILTERS, blocks, strict=True), start=2):  # H / 4, 8, 16, 32
        for block in range(1, count + 1):
            stride = 2 if block == 1 and stage > 2 else 1
            x = _bottleneck_v1(x, f"conv{stage}_block{block}", filters, stride, block == 1, context)
    return pooled_classifier(x, classes, context)


def v2(blocks: tuple[int, ...], x: tf.Tensor, classes: int | None, context: NetContext) -> tf.Tensor:
    """Return logits [N, classes], or the last maps, of images x [N, H, W, 3].

    The last block of each stage except the last stage has stride 2.

    Args: see v1.
    """
    x = conv(x, "conv1_conv", 64, 7, context, stride=2, padding=(3, 3))  # H / 2
    x = layers.max_pool(layers.pad(x, 1, 1), "pool1_pool", 3, stride=2, padding="VALID")  # H / 4
    for stage, (filters, count) in enumerate(zip(FILTERS, blocks, strict=True), start=2):  # H / 8, 16, 32, 32
        for block in range(1, count + 1):
            stride = 2 if block == count and stage < 5 else 1
            x = _bottleneck_v2(x, f"conv{stage}_block{block}", filters, stride, block == 1, context)
    return pooled_classifier(_relu(x, "post_bn", context), classes, context)


def _bottleneck_v1(
    x: tf.Tensor, name: str, filters: int, stride: int, projected: bool, context: NetContext
) -> tf.Tensor:
    """Add 1x1, 3x3 and 1x1 convolutions, each normalised, to x or to its projection; ReLU after the sum."""
    shortcut = x
    if projected:
        shortcut = conv(x, f"{name}_0_conv", 4 * filters, 1, context, stride=stride)
        shortcut = batch_norm(shortcut, f"{name}_0_bn", NORM, context)
    x = _relu(conv(x, f"{name}_1_conv", filters, 1, context, stride=stride), f"{name}_1_bn", context)
    x = _relu(conv(x, f"{name}_2_conv", filters, 3, context), f"{name}_2_bn", context)
    x = batch_norm(conv(x, f"{name}_3_conv", 4 * filters, 1, context), f"{name}_3_bn", NORM, context)
    return activation(shortcut + x, f"{name}_out", context, "relu")


def _bottleneck_v2(
    x: tf.Tensor, name: str, filters: int, stride: int, projected: bool, context: NetContext
) -> tf.Tensor:
    """Add 1x1, 3x3 and 1x1 convolutions of the normalised x to a shortcut.

    The shortcut is a projection, or x itself. With a stride, it is every stride-th pixel of x.
    """
    before = _relu(x, f"{name}_preact_bn", context)
    if projected:
        shortcut = conv(before, f"{name}_0_conv", 4 * filters, 1, context, stride=stride)
    else:
        shortcut = x if stride == 1 else layers.max_pool(x, f"{name}_pool", 1, stride=stride, padding="VALID")
    x = _relu(conv(before, f"{name}_1_conv", filters, 1, context, bias=False), f"{name}_1_bn", context)
    x = conv(x, f"{name}_2_conv", filters, 3, context, stride=stride, padding=(1, 1), bias=False)
    x = _relu(x, f"{name}_2_bn", context)
    return shortcut + conv(x, f"{name}_3_conv", 4 * filters, 1, context)


def _relu(x: tf.Tensor, scope: str, context: NetContext) -> tf.Tensor:
    return batch_norm_activation(x, scope, NORM, context)


def _architecture(name: str, build: Callable[..., tf.Tensor], preprocessing: str, file: str, md5: str) -> Architecture:
    folder = "https://storage.googleapis.com/tensorflow/keras-applications/resnet"
    return Architecture(
        build=functools.partial(build, BLOCKS[name]),
        image_size=224,
        smallest_size=32,
        preprocessing=preprocessing,
        batch_norm=True,
        published=Published(f"{folder}/{file}_weights_tf_dim_ordering_tf_kernels.h5", md5),
    )


ARCHITECTURES = {
    "resnet50": _architecture("resnet50", v1, "caffe", "resnet50", "2cb95161c43110f7111970584f804107"),
    "resnet50_v2": _architecture("resnet50_v2", v2, "tf", "resnet50v2", "3ef43a0b657b3be2300d5770ece849e0"),
    "resnet152_v2": _architecture("resnet152_v2", v2, "tf", "resnet152v2", "a49b44d1979771252814e80f8ec446f9"),
}
