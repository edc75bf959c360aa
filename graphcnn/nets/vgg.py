"""VGG-like nets: report A's final one (15,458,378 parameters at 32x32), a tiny one, and the fast one."""

from graphcnn.sequential import Conv, Dense, Dropout, GlobalMaxPool

VGG = (  # report A's: nine convolutions in four stages, three dense layers
    Conv("conv1_1", 64),  # 32
    Conv("conv1_2", 64, pool=2),  # 32 -> 16
    Conv("conv2_1", 128),  # 16
    Conv("conv2_2", 128, pool=2),  # 16 -> 8
    Conv("conv3_1", 256),  # 8
    Conv("conv3_2", 256, pool=2),  # 8 -> 4
    Conv("conv4_1", 512),  # 4
    Conv("conv4_2", 512),  # 4
    Conv("conv4_3", 512, pool=2),  # 4 -> 2
    Dense("dense1", 2048),
    Dropout("dropout1"),
    Dense("dense2", 2048),
    Dropout("dropout2"),
    Dense("output"),
)

VGG_TINY = (  # the same shape of net with 3 convolutions and 16 units, for trying things out quickly
    Conv("conv1_1", 8, pool=2),
    Conv("conv2_1", 8, pool=2),
    Conv("conv3_1", 16, pool=2),
    Dense("dense1", 16),
    Dropout("dropout1"),
    Dense("output"),
)

VGG6 = (  # airbench94's shape (arXiv 2404.00498), narrower where maps are large; sizes are those after 2x2 whitening
    Conv("conv1_1", 48, pool=2, pool_padding="VALID"),  # 31 -> 15
    Conv("conv1_2", 48),  # 15
    Conv("conv2_1", 192, pool=2, pool_padding="VALID"),  # 15 -> 7
    Conv("conv2_2", 192),  # 7
    Conv("conv3_1", 384, pool=2, pool_padding="VALID"),  # 7 -> 3
    Conv("conv3_2", 384),  # 3
    GlobalMaxPool("pool"),
    Dense("output", bias=False, scale=1 / 9),
)
