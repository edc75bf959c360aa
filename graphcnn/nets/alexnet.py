"""AlexNet with one column (arXiv 1404.5997). Scopes are named like torchvision's modules.

The sizes of maps at the end of the lines are for 224x224 images.
"""

from __future__ import annotations

import functools
from typing import Any

from graphcnn.nets import sequential
from graphcnn.nets.architecture import Architecture
from graphcnn.nets.sequential import AdaptiveAveragePool, Conv, Dense, Dropout, Rows

POOL: dict[str, Any] = {"pool": 3, "pool_stride": 2, "pool_padding": "VALID"}
NETS: dict[str, Rows] = {
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
    name: Architecture(
        build=functools.partial(sequential.build, rows),
        image_size=224,
        smallest_size=63,
        preprocessing="torch",
        batch_norm=False,
        published=None,
    )
    for name, rows in NETS.items()
}
