"""Xception (arXiv 1610.02357). Scopes are named like Keras's layers.

The sizes of maps at the end of the lines are for 299x299 images.
"""

from __future__ import annotations

from graphcnn.nets.architecture import Architecture, Published
from graphcnn.nets.blocks import (
    NetContext,
    activation,
    batch_norm,
    batch_norm_activation,
    conv,
    depthwise,
    pooled_classifier,
)
from graphcnn.ops import layers
from graphcnn.ops.layers import BatchNorm
from graphcnn.ops.tf1 import tf

BLOCKS = {  # number of the block: filters of its separable convolutions
    2: (128, 128),  # 147 -> 74
    3: (256, 256),  # 37
    4: (728, 728),  # 19
    **{number: (728, 728, 728) for number in range(5, 13)},
    13: (728, 1024),  # 10
}
PROJECTIONS = {2: 1, 3: 2, 4: 3, 13: 4}  # number of a block that halves the map: number of its shortcut's convolution
LAST = (1536, 2048)  # filters of block 14, which has no shortcut
NORM = BatchNorm(epsilon=1e-3, momentum=0.01)


def build(x: tf.Tensor, classes: int | None, context: NetContext) -> tf.Tensor:
    """Return logits [N, classes], or the last maps, of images x [N, H, W, 3]. Args: see blocks.Build."""
    x = conv(x, "block1_conv1", 32, 3, context, stride=2, padding="VALID", bias=False)  # 149
    x = batch_norm_activation(x, "block1_conv1_bn", NORM, context, name="block1_conv1")
    x = conv(x, "block1_conv2", 64, 3, context, padding="VALID", bias=False)  # 147
    x = batch_norm_activation(x, "block1_conv2_bn", NORM, context, name="block1_conv2")
    for number, widths in BLOCKS.items():
        x = _block(x, number, widths, context)
    for index, filters in enumerate(LAST, start=1):
        scope = f"block14_sepconv{index}"
        x = _relu(_separable(x, scope, filters, context), scope, context)
    return pooled_classifier(x, classes, context)


def _block(x: tf.Tensor, number: int, widths: tuple[int, ...], context: NetContext) -> tf.Tensor:
    """Add the separable convolutions of x to x, or to its projection. A block that halves the map ends with a pool."""
    shortcut = x
    if number in PROJECTIONS:
        projection = PROJECTIONS[number]
        shortcut = conv(shortcut, f"conv2d_{projection}", widths[-1], 1, context, stride=2, bias=False)
        shortcut = batch_norm(shortcut, f"batch_normalization_{projection}", NORM, context)
    for index, filters in enumerate(widths, start=1):
        scope = f"block{number}_sepconv{index}"
        x = x if (number, index) == (2, 1) else _relu(x, scope, context)  # block 1 ends with a ReLU
        x = _separable(x, scope, filters, context)
    if number in PROJECTIONS:
        x = layers.max_pool(x, f"block{number}_pool", 3, stride=2)
    return shortcut + x


def _separable(x: tf.Tensor, scope: str, filters: int, context: NetContext) -> tf.Tensor:
    """Convolve each channel, then each pixel, and normalise: [N, H, W, C] -> [N, H, W, K]."""
    x = depthwise(x, f"{scope}/depthwise", 3, context)
    x = conv(x, f"{scope}/pointwise", filters, 1, context, bias=False)
    return batch_norm(x, f"{scope}_bn", NORM, context)


def _relu(x: tf.Tensor, scope: str, context: NetContext) -> tf.Tensor:
    return activation(x, scope, context, "relu")


ARCHITECTURES = {
    "xception": Architecture(
        build=build,
        image_size=299,
        smallest_size=71,
        preprocessing="tf",
        batch_norm=True,
        published=Published(
            url="https://storage.googleapis.com/tensorflow/keras-applications/xception/"
            "xception_weights_tf_dim_ordering_tf_kernels.h5",
            md5="0a58e3b7378bc2990ea3b43d5981f1f6",
        ),
    )
}
