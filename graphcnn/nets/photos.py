"""The nets for restaurant photos of 300x300 pixels, and the simple net for cartoon-face transfer.

The reports do not give all filters, kernels and units; this package chooses the others. The sizes of maps are at the
end of the lines.
"""

from __future__ import annotations

from typing import Any

from graphcnn.nets.sequential import Conv, Dense, Dropout, Rows

VALID: dict[str, Any] = {"padding": "VALID", "pool": 2, "pool_padding": "VALID"}
SAME: dict[str, Any] = {"padding": "SAME", "pool": 2, "pool_padding": "VALID"}

STRIDED = (
    Conv("conv1", 16, kernel=5, stride=2, **VALID),  # 300 -> 148 -> 74
    Dropout("dropout1"),
    Conv("conv2", 32, kernel=5, stride=2, **VALID),  # 74 -> 35 -> 17
    Dropout("dropout2"),
    Conv("conv3", 64, **VALID),  # 17 -> 15 -> 7
    Dropout("dropout3"),
    Conv("conv4", 128, **VALID),  # 7 -> 5 -> 2
    Dropout("dropout4"),
)

NETS: dict[str, Rows] = {
    "photos_three": (
        Conv("conv1", 32, kernel=5, **VALID),  # 300 -> 296 -> 148
        Dropout("dropout1"),
        Conv("conv2", 128, kernel=5, **VALID),  # 148 -> 144 -> 72
        Dropout("dropout2"),
        Conv("conv3", 512, **VALID),  # 72 -> 70 -> 35
        Dropout("dropout3"),
        Dense("output"),
    ),
    "photos_strided": (*STRIDED, Dense("output")),
    "photos_strided_two_dense": (*STRIDED, Dense("dense", 128, activation=True), Dense("output")),
    "photos_six": (
        Conv("conv1", 16, kernel=5, **VALID),  # 300 -> 296 -> 148
        Dropout("dropout1"),
        Conv("conv2", 32, kernel=5, **VALID),  # 148 -> 144 -> 72
        Dropout("dropout2"),
        Conv("conv3", 64, kernel=5, **VALID),  # 72 -> 68 -> 34
        Dropout("dropout3"),
        Conv("conv4", 64, **VALID),  # 34 -> 32 -> 16
        Dropout("dropout4"),
        Conv("conv5", 128, **VALID),  # 16 -> 14 -> 7
        Dropout("dropout5"),
        Conv("conv6", 128, **VALID),  # 7 -> 5 -> 2
        Dropout("dropout6"),
        Dense("output"),
    ),
    "photos_four": (  # of the cartoon-face transfer: "a simple CNN"; sizes for its 150x150 images
        Conv("conv1", 16, **SAME),  # 150 -> 75
        Conv("conv2", 32, **SAME),  # 75 -> 37
        Conv("conv3", 64, **SAME),  # 37 -> 18
        Conv("conv4", 128, **SAME),  # 18 -> 9
        Dense("output"),
    ),
    "photos_seven": (
        Conv("conv1", 16, kernel=5, **SAME),  # 300 -> 150
        Dropout("dropout1"),
        Conv("conv2", 32, kernel=5, **SAME),  # 150 -> 75
        Dropout("dropout2"),
        Conv("conv3", 64, kernel=4, **SAME),  # 75 -> 37
        Dropout("dropout3"),
        Conv("conv4", 64, **SAME),  # 37 -> 18
        Dropout("dropout4"),
        Conv("conv5", 128, **SAME),  # 18 -> 9
        Dropout("dropout5"),
        Conv("conv6", 128, kernel=2, **SAME),  # 9 -> 4
        Dropout("dropout6"),
        Conv("conv7", 256, kernel=2, **SAME),  # 4 -> 2
        Dropout("dropout7"),
        Dense("output"),
    ),
}
