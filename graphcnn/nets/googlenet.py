"""GoogLeNet (arXiv 1409.4842) with batch norm and torchvision's 3x3 windows for 5x5; scopes are its modules' names.

Sizes in the margin are for 224x224.
"""

from graphcnn.nets.blocks import Architecture, activation, conv, dense, dropout, norm
from graphcnn.ops import layers
from graphcnn.ops.tf1 import tf

INCEPTIONS = {  # filters: of 1x1; of 1x1 and the 3x3 after it, twice; of the 1x1 after a pool
    "inception3a": (64, (96, 128), (16, 32), 32),  # 28
    "inception3b": (128, (128, 192), (32, 96), 64),  # 28 -> 14
    "inception4a": (192, (96, 208), (16, 48), 64),  # 14
    "inception4b": (160, (112, 224), (24, 64), 64),
    "inception4c": (128, (128, 256), (24, 64), 64),
    "inception4d": (112, (144, 288), (32, 64), 64),
    "inception4e": (256, (160, 320), (32, 128), 128),  # 14 -> 7
    "inception5a": (256, (160, 320), (32, 128), 128),  # 7
    "inception5b": (384, (192, 384), (48, 128), 128),
}
HALVED = {"inception3b": ("maxpool3", 3), "inception4e": ("maxpool4", 2)}  # after it: the pool, its side
AUXILIARY = {"inception4a": "aux1", "inception4d": "aux2"}  # after it: the classifier
AUXILIARY_WEIGHT = 0.3  # in the loss
NORM = layers.Norm(epsilon=1e-3, share=0.1)


def build(x, classes, mode):
    """Return logits [N, classes], or the maps, of images x [N, H, W, 3]; all dropout has the one keep_prob."""
    x = _conv(x, "conv1", 64, 7, mode, stride=2, padding=(3, 3))  # 224 -> 112
    x = _halved(x, "maxpool1", 3)  # 112 -> 56
    x = _conv(_conv(x, "conv2", 64, 1, mode), "conv3", 192, 3, mode)  # 56
    x = _halved(x, "maxpool2", 3)  # 56 -> 28
    for name, filters in INCEPTIONS.items():
        x = _inception(x, name, filters, mode)
        if name in HALVED:
            x = _halved(x, *HALVED[name])
        if name in AUXILIARY and classes is not None:
            _auxiliary(x, AUXILIARY[name], classes, mode)
    if classes is None:
        return x
    return dense(dropout(layers.global_average_pool(x, "avgpool"), "dropout", mode), "fc", classes, mode)


def _inception(x, name, filters, mode):
    """Join four branches: [N, H, W, C] -> [N, H, W, K]."""
    single, *pairs, pooled = filters
    ends = [_conv(x, f"{name}/branch1", single, 1, mode)]
    for branch, (thin, wide) in enumerate(pairs, start=2):
        y = _conv(x, f"{name}/branch{branch}/0", thin, 1, mode)
        ends.append(_conv(y, f"{name}/branch{branch}/1", wide, 3, mode))
    y = layers.max_pool(x, f"{name}/branch4/0", 3, stride=1)
    ends.append(_conv(y, f"{name}/branch4/1", pooled, 1, mode))
    return tf.concat(ends, axis=3, name=f"{name}/concat")


def _auxiliary(x, name, classes, mode):
    """Append a classifier's logits to mode.auxiliary while training; its variables are always made."""
    x = _conv(layers.adaptive_average_pool(x, f"{name}/pool", 4), f"{name}/conv", 128, 1, mode)  # 4
    x = dense(layers.flatten(x, f"{name}/flatten"), f"{name}/fc1", 1024, mode)
    x = dropout(activation(x, f"{name}/fc1", mode, "relu"), f"{name}/dropout", mode)
    x = dense(x, f"{name}/fc2", classes, mode)
    if mode.training:
        mode.auxiliary.append((AUXILIARY_WEIGHT, tf.cast(x, tf.float32)))


def _halved(x, scope, size):
    """Take the maxima of windows 2 apart, the last over the edge where the side wants it; x is not negative."""
    return layers.max_pool(layers.pad(x, 0, 1), scope, size, stride=2, padding="VALID")


def _conv(x, scope, filters, kernel, mode, **options):
    x = conv(x, f"{scope}/conv", filters, kernel, mode, bias=False, **options)
    return activation(norm(x, f"{scope}/bn", NORM, mode), scope, mode, "relu")


ARCHITECTURES = {"googlenet": Architecture(build, 224, 15, "torch", True, None)}
