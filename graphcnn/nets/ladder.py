"""Report B's ladder: 3x3 convolutions, 3x3 pools of stride 2, dropout after each; and a net of dense layers alone."""

from graphcnn.nets.sequential import Conv, Dense, Dropout


def _ladder(*filters, dense=None, doubled=False):
    """Return rows of a stage per width, its pool halving the map; doubled: two convolutions and one batch norm each."""
    rows = []
    for stage, width in enumerate(filters, start=1):
        rows += [Conv(f"conv{stage}_0", width, norm=False)] if doubled else []
        rows += [Conv(f"conv{stage}", width, pool=3, pool_stride=2), Dropout(f"dropout{stage}")]
    rows += [Dense("dense", dense, activation=True), Dropout("dropout_dense")] if dense else []
    return (*rows, Dense("output"))


NETS = {
    "four_layer": _ladder(32, 32, 32),
    "six_layer_1": _ladder(32, 32, 32, 32),  # so drawn; the report calls it six layers
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
