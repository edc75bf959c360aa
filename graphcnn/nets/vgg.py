"""VGG-like nets: the nets of the assignment, a tiny net, the net of the recipe fast, and VGG (arXiv 1409.1556).

The scopes of vgg16 and vgg19 are named like Keras's layers. Sizes of maps at the end of lines are for 32x32 images.
"""

from __future__ import annotations

import functools

from graphcnn.nets import sequential
from graphcnn.nets.architecture import Architecture, Published
from graphcnn.nets.sequential import Conv, Dense, Dropout, GlobalMaxPool, Row, Rows

STAGES = {  # filters: the convolutions of that stage in the assignment's final network
    64: (Conv("conv1_1", 64), Conv("conv1_2", 64, pool=2)),  # 32 -> 16
    128: (Conv("conv2_1", 128), Conv("conv2_2", 128, pool=2)),  # 16 -> 8
    256: (Conv("conv3_1", 256), Conv("conv3_2", 256, pool=2)),  # 8 -> 4
    512: (Conv("conv4_1", 512), Conv("conv4_2", 512), Conv("conv4_3", 512, pool=2)),  # 4 -> 2
}
HEAD = (Dense("dense1", 2048), Dropout("dropout1"), Dense("dense2", 2048), Dropout("dropout2"), Dense("output"))
FILTERS = (64, 128, 256, 512, 512)  # of each stage of vgg16 and vgg19


def _published(*convolutions: int) -> Rows:
    """Return the rows of a published VGG.

    Args:
        convolutions: number of convolutions in each stage; the last one has a pool.
    """
    rows: list[Row] = []
    for stage, (filters, count) in enumerate(zip(FILTERS, convolutions, strict=True), start=1):
        pools = [1] * (count - 1) + [2]
        rows += [
            Conv(f"block{stage}_conv{n}", filters, pool=pool, pool_padding="VALID") for n, pool in enumerate(pools, 1)
        ]
    rows += [Dense("fc1", 4096, activation=True), Dropout("dropout1")]
    rows += [Dense("fc2", 4096, activation=True), Dropout("dropout2"), Dense("predictions")]
    return tuple(rows)


NETS: dict[str, Rows] = {
    "vgg16": _published(2, 2, 3, 3, 3),
    "vgg19": _published(2, 2, 4, 4, 4),
    "vgg": (*STAGES[64], *STAGES[128], *STAGES[256], *STAGES[512], *HEAD),  # the assignment's final network
    "vgg_no_256": (*STAGES[64], *STAGES[128], *STAGES[512], *HEAD),  # without the stage and its pool
    "vgg_no_512": (*STAGES[64], *STAGES[128], *STAGES[256], *HEAD),
    "vgg_one_dense": (*STAGES[64], *STAGES[128], *STAGES[256], *STAGES[512], Dense("output")),
    "one_conv": (  # the assignment's baseline
        Conv("conv1", 64, kernel=5, pool=3, pool_stride=2),  # 32 -> 16
        Dense("output"),
    ),
    "two_conv": (
        Conv("conv1", 64, kernel=5, pool=3, pool_stride=2),  # 32 -> 16
        Dropout("dropout1"),
        Conv("conv2", 128, kernel=16, pool=2),  # 16 -> 8
        Dropout("dropout2"),
        Dense("output"),
    ),
    "vgg_tiny": (  # 3 convolutions and 16 units, for quick trials
        Conv("conv1_1", 8, pool=2),
        Conv("conv2_1", 8, pool=2),
        Conv("conv3_1", 16, pool=2),
        Dense("dense1", 16),
        Dropout("dropout1"),
        Dense("output"),
    ),
    "vgg6": (  # airbench94 (arXiv 2404.00498) with fewer filters on large maps; sizes after 2x2 whitening
        Conv("conv1_1", 48, pool=2, pool_padding="VALID"),  # 31 -> 15
        Conv("conv1_2", 48),  # 15
        Conv("conv2_1", 192, pool=2, pool_padding="VALID"),  # 15 -> 7
        Conv("conv2_2", 192),  # 7
        Conv("conv3_1", 384, pool=2, pool_padding="VALID"),  # 7 -> 3
        Conv("conv3_2", 384),  # 3
        GlobalMaxPool("pool"),
        Dense("output", bias=False, scale=1 / 9),
    ),
}
MD5 = {"vgg16": "64373286793e3c8b2b4e3219cbf3544b", "vgg19": "cbe5617147190e668d6c5d5026f83318"}
URL = "https://storage.googleapis.com/tensorflow/keras-applications/{0}/{0}_weights_tf_dim_ordering_tf_kernels.h5"
ARCHITECTURES = {
    name: Architecture(
        build=functools.partial(sequential.build, NETS[name]),
        image_size=224,
        smallest_size=32,
        preprocessing="caffe",
        batch_norm=False,
        published=Published(URL.format(name), md5),
    )
    for name, md5 in MD5.items()
}
