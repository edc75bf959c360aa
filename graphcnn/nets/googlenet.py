"""GoogLeNet (arXiv 1409.4842) as in torchvision: with batch norm, and 3x3 kernels instead of 5x5.

Scopes are named like torchvision's modules. The sizes of maps at the end of the lines are for 224x224 images.
"""

from __future__ import annotations

from typing import NamedTuple

from graphcnn.nets.architecture import Architecture
from graphcnn.nets.blocks import (
    Auxiliary,
    NetContext,
    WithAuxiliary,
    activation,
    batch_norm_activation,
    conv,
    dense,
    dropout,
    pooled_classifier,
)
from graphcnn.ops import layers
from graphcnn.ops.layers import BatchNorm, Padding
from graphcnn.ops.tf1 import tf


class Inception(NamedTuple):
    """The filters of an inception block's four branches."""

    branch1: int  # of its 1x1 convolution
    branch2: tuple[int, int]  # of its 1x1 convolution, and of the 3x3 convolution after it
    branch3: tuple[int, int]  # the same as branch2
    branch4: int  # of the 1x1 convolution after its max pool


class Pool(NamedTuple):
    """A max pool of windows size x size with stride 2."""

    scope: str
    size: int


INCEPTIONS = {
    "inception3a": Inception(branch1=64, branch2=(96, 128), branch3=(16, 32), branch4=32),  # 28
    "inception3b": Inception(branch1=128, branch2=(128, 192), branch3=(32, 96), branch4=64),  # 28 -> 14
    "inception4a": Inception(branch1=192, branch2=(96, 208), branch3=(16, 48), branch4=64),  # 14
    "inception4b": Inception(branch1=160, branch2=(112, 224), branch3=(24, 64), branch4=64),  # 14
    "inception4c": Inception(branch1=128, branch2=(128, 256), branch3=(24, 64), branch4=64),  # 14
    "inception4d": Inception(branch1=112, branch2=(144, 288), branch3=(32, 64), branch4=64),  # 14
    "inception4e": Inception(branch1=256, branch2=(160, 320), branch3=(32, 128), branch4=128),  # 14 -> 7
    "inception5a": Inception(branch1=256, branch2=(160, 320), branch3=(32, 128), branch4=128),  # 7
    "inception5b": Inception(branch1=384, branch2=(192, 384), branch3=(48, 128), branch4=128),  # 7
}
POOLS = {"inception3b": Pool("maxpool3", size=3), "inception4e": Pool("maxpool4", size=2)}  # after that block
AUXILIARY = {"inception4a": "aux1", "inception4d": "aux2"}  # scope of the auxiliary classifier after that block
AUXILIARY_WEIGHT = 0.3  # weight of an auxiliary classifier in the loss
NORM = BatchNorm(epsilon=1e-3, momentum=0.1)


def build(x: tf.Tensor, classes: int | None, context: NetContext) -> WithAuxiliary:
    """Return logits [N, classes], or the last maps, of images x [N, H, W, 3]; in training, a WithAuxiliary.

    All dropouts have the same keep_prob. Args: see blocks.Build.
    """
    auxiliary = []
    x = _conv(x, "conv1", 64, 7, context, stride=2, padding=(3, 3))  # 224 -> 112
    x = _pool(x, Pool("maxpool1", size=3))  # 112 -> 56
    x = _conv(_conv(x, "conv2", 64, 1, context), "conv3", 192, 3, context)  # 56
    x = _pool(x, Pool("maxpool2", size=3))  # 56 -> 28
    for name, filters in INCEPTIONS.items():
        x = _inception(x, name, filters, context)
        if name in POOLS:
            x = _pool(x, POOLS[name])
        if name in AUXILIARY and classes is not None:
            logits = _auxiliary(x, AUXILIARY[name], classes, context)
            if context.training:
                auxiliary.append(Auxiliary(AUXILIARY_WEIGHT, tf.cast(logits, tf.float32)))
    logits = pooled_classifier(x, classes, context, pool="avgpool", dropout_scope="dropout", dense_scope="fc")
    return WithAuxiliary(logits, tuple(auxiliary))


def _inception(x: tf.Tensor, name: str, filters: Inception, context: NetContext) -> tf.Tensor:
    """Concatenate four branches: [N, H, W, C] -> [N, H, W, K]."""
    branches = [_conv(x, f"{name}/branch1", filters.branch1, 1, context)]
    for branch, (thin, wide) in enumerate((filters.branch2, filters.branch3), start=2):
        y = _conv(x, f"{name}/branch{branch}/0", thin, 1, context)
        branches.append(_conv(y, f"{name}/branch{branch}/1", wide, 3, context))
    y = layers.max_pool(x, f"{name}/branch4/0", 3, stride=1)
    branches.append(_conv(y, f"{name}/branch4/1", filters.branch4, 1, context))
    return tf.concat(branches, axis=3, name=f"{name}/concat")


def _auxiliary(x: tf.Tensor, name: str, classes: int, context: NetContext) -> tf.Tensor:
    """Return the logits [N, classes] of an auxiliary classifier for maps x [N, H, W, C]."""
    x = _conv(layers.adaptive_average_pool(x, f"{name}/pool", 4), f"{name}/conv", 128, 1, context)  # [N, 4, 4, 128]
    x = dense(layers.flatten(x, f"{name}/flatten"), f"{name}/fc1", 1024, context)  # [N, 1024]
    x = dropout(activation(x, f"{name}/fc1", context, "relu"), f"{name}/dropout", context)
    return dense(x, f"{name}/fc2", classes, context)


def _pool(x: tf.Tensor, pool: Pool) -> tf.Tensor:
    """Return the max pool of non-negative x [N, H, W, C], padded by one row and one column of zeros at the end."""
    return layers.max_pool(layers.pad(x, 0, 1), pool.scope, pool.size, stride=2, padding="VALID")


def _conv(
    x: tf.Tensor,
    scope: str,
    filters: int,
    kernel: int,
    context: NetContext,
    *,
    stride: int = 1,
    padding: Padding = "SAME",
) -> tf.Tensor:
    x = conv(x, f"{scope}/conv", filters, kernel, context, stride=stride, padding=padding, bias=False)
    return batch_norm_activation(x, f"{scope}/bn", NORM, context, name=scope)


ARCHITECTURES = {
    "googlenet": Architecture(
        build=build, image_size=224, smallest_size=15, preprocessing="torch", batch_norm=True, published=None
    )
}
