"""Densely connected nets (arXiv 1608.06993). Scopes are named like Keras's layers."""

from __future__ import annotations

import functools

from graphcnn.nets.architecture import Architecture, Published
from graphcnn.nets.blocks import NetContext, batch_norm_activation, conv, pooled_classifier
from graphcnn.ops import layers
from graphcnn.ops.layers import BatchNorm
from graphcnn.ops.tf1 import tf

BLOCKS = {"densenet201": (6, 12, 48, 32)}  # number of blocks in each stage
GROWTH = 32  # channels that a block adds; its 1x1 convolution has four times as many filters
NORM = BatchNorm(epsilon=1.001e-5, momentum=0.01)


def build(blocks: tuple[int, ...], x: tf.Tensor, classes: int | None, context: NetContext) -> tf.Tensor:
    """Return logits [N, classes], or the last maps, of images x [N, H, W, 3]. Channels and sizes halve between stages.

    Args:
        blocks: number of blocks in each stage.
        x, classes, context: see blocks.Build.
    """
    x = conv(x, "conv1/conv", 64, 7, context, stride=2, padding=(3, 3), bias=False)  # H / 2
    x = _relu(x, "conv1/bn", context)
    x = layers.max_pool(layers.pad(x, 1, 1), "pool1", 3, stride=2, padding="VALID")  # H / 4
    for stage, count in enumerate(blocks, start=2):  # H / 4, 8, 16, 32
        for block in range(1, count + 1):
            name = f"conv{stage}_block{block}"
            new = conv(_relu(x, f"{name}_0_bn", context), f"{name}_1_conv", 4 * GROWTH, 1, context, bias=False)
            new = conv(_relu(new, f"{name}_1_bn", context), f"{name}_2_conv", GROWTH, 3, context, bias=False)
            x = tf.concat([x, new], axis=3, name=f"{name}_concat")
        if stage <= len(blocks):  # all but the last
            name = f"pool{stage}"
            x = conv(_relu(x, f"{name}_bn", context), f"{name}_conv", int(x.shape[3]) // 2, 1, context, bias=False)
            x = layers.average_pool(x, f"{name}_pool", 2, stride=2, padding="VALID")
    x = _relu(x, "bn", context)
    return pooled_classifier(x, classes, context)


def _relu(x: tf.Tensor, scope: str, context: NetContext) -> tf.Tensor:
    return batch_norm_activation(x, scope, NORM, context)


def _architecture(name: str, md5: str) -> Architecture:
    folder = "https://storage.googleapis.com/tensorflow/keras-applications/densenet"
    return Architecture(
        build=functools.partial(build, BLOCKS[name]),
        image_size=224,
        smallest_size=32,
        preprocessing="torch",
        batch_norm=True,
        published=Published(f"{folder}/{name}_weights_tf_dim_ordering_tf_kernels.h5", md5),
    )


ARCHITECTURES = {"densenet201": _architecture("densenet201", "1ceb130c1ea1b78c3bf6114dbdfd8807")}
