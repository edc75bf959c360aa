"""Xception (arXiv 1610.02357), scopes named as in Keras; sizes in the margin are for 299x299."""

from graphcnn.nets.blocks import Architecture, Published, activation, conv, dense, depthwise, norm
from graphcnn.ops import layers

BLOCKS = {  # number: filters of its separable convolutions
    2: (128, 128),  # 147 -> 74
    3: (256, 256),  # 37
    4: (728, 728),  # 19
    **{number: (728, 728, 728) for number in range(5, 13)},
    13: (728, 1024),  # 10
}
PROJECTIONS = {2: 1, 3: 2, 4: 3, 13: 4}  # block that halves the map: the number of its shortcut's convolution
LAST = (1536, 2048)  # filters of block 14, which has no shortcut
NORM = layers.Norm(epsilon=1e-3, share=0.01)


def build(x, classes, mode):
    """Return logits [N, classes], or the maps, of images x [N, H, W, 3]."""
    x = conv(x, "block1_conv1", 32, 3, mode, stride=2, padding="VALID", bias=False)  # 149
    x = _relu(norm(x, "block1_conv1_bn", NORM, mode), "block1_conv1", mode)
    x = conv(x, "block1_conv2", 64, 3, mode, padding="VALID", bias=False)  # 147
    x = _relu(norm(x, "block1_conv2_bn", NORM, mode), "block1_conv2", mode)
    for number, widths in BLOCKS.items():
        x = _block(x, number, widths, mode)
    for place, filters in enumerate(LAST, start=1):
        scope = f"block14_sepconv{place}"
        x = _relu(_separable(x, scope, filters, mode), scope, mode)
    return x if classes is None else dense(layers.global_average_pool(x, "avg_pool"), "predictions", classes, mode)


def _block(x, number, widths, mode):
    """Add ReLUs and separable convolutions, pooled where the block halves the map, to x or to its projection."""
    shortcut = x
    if number in PROJECTIONS:
        projection = PROJECTIONS[number]
        shortcut = conv(shortcut, f"conv2d_{projection}", widths[-1], 1, mode, stride=2, bias=False)
        shortcut = norm(shortcut, f"batch_normalization_{projection}", NORM, mode)
    for place, filters in enumerate(widths, start=1):
        scope = f"block{number}_sepconv{place}"
        x = x if (number, place) == (2, 1) else _relu(x, scope, mode)  # what block 1 gives has been through it
        x = _separable(x, scope, filters, mode)
    if number in PROJECTIONS:
        x = layers.max_pool(x, f"block{number}_pool", 3, stride=2)
    return shortcut + x


def _separable(x, scope, filters, mode):
    """Convolve each channel, then each pixel, and normalise: [N, H, W, C] -> [N, H, W, K]."""
    x = depthwise(x, f"{scope}/depthwise", 3, mode)
    x = conv(x, f"{scope}/pointwise", filters, 1, mode, bias=False)
    return norm(x, f"{scope}_bn", NORM, mode)


def _relu(x, scope, mode):
    return activation(x, scope, mode, "relu")


FOLDER = "https://storage.googleapis.com/tensorflow/keras-applications/xception"
WEIGHTS = Published(f"{FOLDER}/xception_weights_tf_dim_ordering_tf_kernels.h5", "0a58e3b7378bc2990ea3b43d5981f1f6")
ARCHITECTURES = {"xception": Architecture(build, 299, 71, "tf", True, WEIGHTS)}
