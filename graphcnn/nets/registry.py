"""The networks by name.

NETS maps each name to its function build(x, classes, context), see blocks.Build. SEQUENTIAL maps the names of
sequential nets to their rows. ARCHITECTURES maps the names of ImageNet networks to their Architecture.
"""

from __future__ import annotations

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
from graphcnn.nets.architecture import Architecture
from graphcnn.nets.blocks import Build

ARCHITECTURES: dict[str, Architecture] = {
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
SEQUENTIAL: dict[str, sequential.Rows] = {
    **alexnet.NETS,
    **vgg.NETS,
    **ladder.NETS,
    **photos.NETS,
}
ANY_SIZE = {  # the sequential nets whose weights fit images of any size
    name
    for name, rows in SEQUENTIAL.items()
    if any(isinstance(row, (sequential.AdaptiveAveragePool, sequential.GlobalMaxPool)) for row in rows)
}
NETS: dict[str, Build] = {name: functools.partial(sequential.build, rows) for name, rows in SEQUENTIAL.items()}
NETS |= {name: architecture.build for name, architecture in ARCHITECTURES.items()}
