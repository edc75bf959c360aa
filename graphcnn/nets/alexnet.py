"""AlexNet with one column (arXiv 1404.5997), scopes named as torchvision's modules; sizes in the margin for 224x224."""

import functools

from graphcnn.nets import sequential
from graphcnn.nets.blocks import Architecture
from graphcnn.nets.sequential import AdaptiveAveragePool, Conv, Dense, Dropout

POOL = {"pool": 3, "pool_stride": 2, "pool_padding": "VALID"}
NETS = {
    "alexnet": (
        Conv("features/0", 64, kernel=11, stride=4, padding=(2, 2), **POOL),  # 224 -> 55 -> 27
        Conv("features/3", 192, kernel=5, **POOL),  # 27 -> 13
        Conv("features/6", 384),  # 13
        Conv("features/8", 256),  # 13
        Conv("features/10", 256, **POOL),  # 13 -> 6
        AdaptiveAveragePool("avgpool", 6),  # 6
        Dropout("classifier/0"),
        Dense("classifier/1", 4096, activation=True),
        Dropout("classifier/3"),
        Dense("classifier/4", 4096, activation=True),
        Dense("classifier/6"),
    ),
}
ARCHITECTURES = {
    name: Architecture(functools.partial(sequential.build, rows), 224, 63, "torch", False, None)
    for name, rows in NETS.items()
}
