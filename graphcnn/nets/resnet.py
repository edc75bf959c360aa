"""Residual nets of bottlenecks, scopes named as in Keras: v1 (arXiv 1512.03385) and v2 (arXiv 1603.05027)."""

import functools

from graphcnn.nets.blocks import Architecture, Published, activation, conv, dense, norm
from graphcnn.ops import layers

FILTERS = (64, 128, 256, 512)  # of each stage's bottlenecks, whose outputs have four times as many
BLOCKS = {  # in each stage
    "resnet50": (3, 4, 6, 3),
    "resnet50_v2": (3, 4, 6, 3),
    "resnet152_v2": (3, 8, 36, 3),
}
NORM = layers.Norm(epsilon=1.001e-5, share=0.01)


def v1(blocks, x, classes, mode):
    """Return logits [N, classes], or the maps, of images x [N, H, W, 3]; a stage's first block has its stride."""
    x = conv(x, "conv1_conv", 64, 7, mode, stride=2, padding=(3, 3))  # H / 2
    x = _relu(x, "conv1_bn", mode)
    x = layers.max_pool(layers.pad(x, 1, 1), "pool1_pool", 3, stride=2, padding="VALID")  # H / 4
    for stage, (filters, count) in enumerate(zip(FILTERS, blocks, strict=True), start=2):  # H / 4, 8, 16, 32
        for block in range(1, count + 1):
            stride = 2 if block == 1 and stage > 2 else 1
            x = _bottleneck_v1(x, f"conv{stage}_block{block}", filters, stride, block == 1, mode)
    return _top(x, classes, mode)


def v2(blocks, x, classes, mode):
    """Return logits [N, classes], or the maps, of images x [N, H, W, 3]; a stage's last block has its stride."""
    x = conv(x, "conv1_conv", 64, 7, mode, stride=2, padding=(3, 3))  # H / 2
    x = layers.max_pool(layers.pad(x, 1, 1), "pool1_pool", 3, stride=2, padding="VALID")  # H / 4
    for stage, (filters, count) in enumerate(zip(FILTERS, blocks, strict=True), start=2):  # H / 8, 16, 32, 32
        for block in range(1, count + 1):
            stride = 2 if block == count and stage < 5 else 1
            x = _bottleneck_v2(x, f"conv{stage}_block{block}", filters, stride, block == 1, mode)
    return _top(_relu(x, "post_bn", mode), classes, mode)


def _bottleneck_v1(x, name, filters, stride, projected, mode):
    """Add 1x1, 3x3 and 1x1 convolutions, each normalised, to x or to its projection; ReLU after the sum."""
    shortcut = x
    if projected:
        shortcut = conv(x, f"{name}_0_conv", 4 * filters, 1, mode, stride=stride)
        shortcut = norm(shortcut, f"{name}_0_bn", NORM, mode)
    x = _relu(conv(x, f"{name}_1_conv", filters, 1, mode, stride=stride), f"{name}_1_bn", mode)
    x = _relu(conv(x, f"{name}_2_conv", filters, 3, mode), f"{name}_2_bn", mode)
    x = norm(conv(x, f"{name}_3_conv", 4 * filters, 1, mode), f"{name}_3_bn", NORM, mode)
    return activation(shortcut + x, f"{name}_out", mode, "relu")


def _bottleneck_v2(x, name, filters, stride, projected, mode):
    """Add 1x1, 3x3 and 1x1 convolutions of the normalised x to x, its every stride-th pixel or its projection."""
    before = _relu(x, f"{name}_preact_bn", mode)
    if projected:
        shortcut = conv(before, f"{name}_0_conv", 4 * filters, 1, mode, stride=stride)
    else:
        shortcut = x if stride == 1 else layers.max_pool(x, f"{name}_pool", 1, stride=stride, padding="VALID")
    x = _relu(conv(before, f"{name}_1_conv", filters, 1, mode, bias=False), f"{name}_1_bn", mode)
    x = conv(x, f"{name}_2_conv", filters, 3, mode, stride=stride, padding=(1, 1), bias=False)
    x = _relu(x, f"{name}_2_bn", mode)
    return shortcut + conv(x, f"{name}_3_conv", 4 * filters, 1, mode)


def _relu(x, scope, mode):
    return activation(norm(x, scope, NORM, mode), scope, mode, "relu")


def _top(x, classes, mode):
    return x if classes is None else dense(layers.global_average_pool(x, "avg_pool"), "predictions", classes, mode)


def _architecture(name, build, preprocessing, file, md5):
    url = f"https://storage.googleapis.com/tensorflow/keras-applications/resnet/{file}_tf_dim_ordering_tf_kernels.h5"
    build = functools.partial(build, BLOCKS[name])
    return Architecture(build, 224, 32, preprocessing, True, Published(url, md5))


ARCHITECTURES = {
    "resnet50": _architecture("resnet50", v1, "caffe", "resnet50_weights", "2cb95161c43110f7111970584f804107"),
    "resnet50_v2": _architecture("resnet50_v2", v2, "tf", "resnet50v2_weights", "3ef43a0b657b3be2300d5770ece849e0"),
    "resnet152_v2": _architecture("resnet152_v2", v2, "tf", "resnet152v2_weights", "a49b44d1979771252814e80f8ec446f9"),
}
