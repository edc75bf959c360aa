"""The nets of the CIFAR-10 ladder: 3x3 convolutions, 3x3 pools of stride 2 and dropout; and a net of dense layers."""

from __future__ import annotations

from graphcnn.nets.sequential import Conv, Dense, Dropout, Row, Rows


def _ladder(*filters: int, dense: int | None = None, doubled: bool = False) -> Rows:
    """Return the rows of a net. The pool of each stage halves the map.

    Args:
        filters: number of filters in each stage.
        dense: units of the hidden dense layer; None for no such layer.
        doubled: whether a stage has two convolutions; only the second one has batch norm.
    """
    rows: list[Row] = []
    for stage, count in enumerate(filters, start=1):
        if doubled:
            rows.append(Conv(f"conv{stage}_0", count, norm=False))
        rows += [Conv(f"conv{stage}", count, pool=3, pool_stride=2), Dropout(f"dropout{stage}")]
    if dense:
        rows += [Dense("dense", dense, activation=True), Dropout("dropout_dense")]
    return (*rows, Dense("output"))


NETS: dict[str, Rows] = {
    "four_layer": _ladder(32, 32, 32),
    "six_layer_1": _ladder(32, 32, 32, 32),  # as in the figure of the report; its text says six layers
    "six_layer_2": _ladder(16, 32, 64, 128, 256),
    "six_layer_3": _ladder(32, 64, 64, 64, 128),
    "seven_layer": _ladder(32, 64, 64, 64, 128, dense=128),
    "seven_layer_doubled": _ladder(32, 64, 64, 64, 128, dense=128, doubled=True),
    "dense_only": (
        Dense("dense1", 512, activation=True),
        Dropout("dropout1"),
        Dense("dense2", 256, activation=True),
        Dropout("dropout2"),
        Dense("output"),
    ),
}
