"""Networks by name: NETS maps a name to build(x, classes, mode) -> logits.

x: images [N, H, W, 3], normalised, float32 or bfloat16. classes: K, or None for the maps that the classifier stands on.
mode: blocks.Mode. logits: [N, K] in x's dtype.
"""

import functools

from graphcnn.nets import (
    alexnet,
    densenet,
    efficientnet,
    googlenet,
    inception,
    ladder,
    mobilenet,
    photos,
    resnet,
    resnext,
    sequential,
    vgg,
    xception,
)

ARCHITECTURES = {  # name: Architecture; nets with ImageNet weights
    **alexnet.ARCHITECTURES,
    **vgg.ARCHITECTURES,
    **googlenet.ARCHITECTURES,
    **resnet.ARCHITECTURES,
    **resnext.ARCHITECTURES,
    **inception.ARCHITECTURES,
    **xception.ARCHITECTURES,
    **densenet.ARCHITECTURES,
    **mobilenet.ARCHITECTURES,
    **efficientnet.ARCHITECTURES,
}
SEQUENTIAL = {  # name: rows
    **alexnet.NETS,
    **vgg.NETS,
    **ladder.NETS,
    **photos.NETS,
}
ANY_SIZE = {  # the names of nets whose weights fit images of any size
    name
    for name, rows in SEQUENTIAL.items()
    if any(isinstance(row, (sequential.AdaptiveAveragePool, sequential.GlobalMaxPool)) for row in rows)
}
NETS = {name: functools.partial(sequential.build, rows) for name, rows in SEQUENTIAL.items()}
NETS |= {name: architecture.build for name, architecture in ARCHITECTURES.items()}
