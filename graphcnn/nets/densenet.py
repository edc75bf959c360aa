"""Densely connected nets (arXiv 1608.06993), scopes named as in Keras."""

import functools

from graphcnn.nets.blocks import Architecture, Published, activation, conv, dense, norm
from graphcnn.ops import layers
from graphcnn.ops.tf1 import tf

BLOCKS = {"densenet201": (6, 12, 48, 32)}  # in each stage
GROWTH = 32  # channels that a block adds; the 1x1 convolution before it has four times as many filters
NORM = layers.Norm(epsilon=1.001e-5, share=0.01)


def build(blocks, x, classes, mode):
    """Return logits [N, classes], or the maps, of images x [N, H, W, 3]; between stages channels and sides halve."""
    x = conv(x, "conv1/conv", 64, 7, mode, stride=2, padding=(3, 3), bias=False)  # H / 2
    x = _relu(x, "conv1/bn", mode)
    x = layers.max_pool(layers.pad(x, 1, 1), "pool1", 3, stride=2, padding="VALID")  # H / 4
    for stage, count in enumerate(blocks, start=2):  # H / 4, 8, 16, 32
        for block in range(1, count + 1):
            name = f"conv{stage}_block{block}"
            new = conv(_relu(x, f"{name}_0_bn", mode), f"{name}_1_conv", 4 * GROWTH, 1, mode, bias=False)
            new = conv(_relu(new, f"{name}_1_bn", mode), f"{name}_2_conv", GROWTH, 3, mode, bias=False)
            x = tf.concat([x, new], axis=3, name=f"{name}_concat")
        if stage <= len(blocks):  # all but the last
            name = f"pool{stage}"
            x = conv(_relu(x, f"{name}_bn", mode), f"{name}_conv", int(x.shape[3]) // 2, 1, mode, bias=False)
            x = layers.average_pool(x, f"{name}_pool", 2, stride=2, padding="VALID")
    x = _relu(x, "bn", mode)
    return x if classes is None else dense(layers.global_average_pool(x, "avg_pool"), "predictions", classes, mode)


def _relu(x, scope, mode):
    return activation(norm(x, scope, NORM, mode), scope, mode, "relu")


def _architecture(name, md5):
    folder = "https://storage.googleapis.com/tensorflow/keras-applications/densenet"
    weights = Published(f"{folder}/{name}_weights_tf_dim_ordering_tf_kernels.h5", md5)
    return Architecture(functools.partial(build, BLOCKS[name]), 224, 32, "torch", True, weights)


ARCHITECTURES = {"densenet201": _architecture("densenet201", "1ceb130c1ea1b78c3bf6114dbdfd8807")}
