"""ResNeXt-50, a residual net of grouped convolutions (arXiv 1611.05431), scopes named as torchvision's modules.

Sizes in the margin are for 224x224.
"""

from graphcnn.nets.blocks import Architecture, activation, conv, dense, norm
from graphcnn.ops import layers

STAGES = (  # blocks, filters within them; their outputs have twice as many
    (3, 128),  # 56
    (4, 256),  # 56 -> 28
    (6, 512),  # 28 -> 14
    (3, 1024),  # 14 -> 7
)
GROUPS = 32  # of 4 channels and more
NORM = layers.Norm(epsilon=1e-5, share=0.1)


def build(x, classes, mode):
    """Return logits [N, classes], or the maps, of images x [N, H, W, 3]; a stage's first block has its stride."""
    x = conv(x, "conv1", 64, 7, mode, stride=2, padding=(3, 3), bias=False)  # 224 -> 112
    x = _relu(x, "bn1", mode)
    x = layers.max_pool(layers.pad(x, 1, 1), "maxpool", 3, stride=2, padding="VALID")  # 112 -> 56
    for stage, (count, filters) in enumerate(STAGES, start=1):
        for block in range(count):
            stride = 2 if block == 0 and stage > 1 else 1
            x = _bottleneck(x, f"layer{stage}/{block}", filters, stride, block == 0, mode)
    return x if classes is None else dense(layers.global_average_pool(x, "avgpool"), "fc", classes, mode)


def _bottleneck(x, name, filters, stride, projected, mode):
    """Add 1x1, grouped 3x3 and 1x1 convolutions, each normalised, to x or to its projection; ReLU after the sum."""
    shortcut = x
    if projected:
        shortcut = conv(x, f"{name}/downsample/0", 2 * filters, 1, mode, stride=stride, bias=False)
        shortcut = norm(shortcut, f"{name}/downsample/1", NORM, mode)
    x = _relu(conv(x, f"{name}/conv1", filters, 1, mode, bias=False), f"{name}/bn1", mode)
    x = _relu(_grouped(x, f"{name}/conv2", filters, stride, mode), f"{name}/bn2", mode)
    x = norm(conv(x, f"{name}/conv3", 2 * filters, 1, mode, bias=False), f"{name}/bn3", NORM, mode)
    return activation(shortcut + x, f"{name}/out", mode, "relu")


def _grouped(x, scope, filters, stride, mode):
    init = "he" if mode.init == "he" else "xavier"
    return layers.grouped_conv2d(
        x, scope, filters, GROUPS, seed=mode.seed, stride=stride, padding=(1, 1), init=init, portable=mode.portable
    )


def _relu(x, scope, mode):
    return activation(norm(x, scope, NORM, mode), scope, mode, "relu")


ARCHITECTURES = {"resnext50_32x4d": Architecture(build, 224, 32, "torch", True, None)}
