"""The reliability diagram of a split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from graphcnn.evaluation.calibration import Bin, expected_calibration_error
from graphcnn.evaluation.figure import picture, plain


def draw_reliability(bins: Sequence[Bin], name: str, path: Path) -> None:
    """Draw accuracy over confidence, and the number of images at each confidence, into a PNG file.

    Args:
        bins: result of calibration.reliability.
        name: name of the model and the split.
        path: the PNG file.
    """
    middles, width = [(each.low + each.high) / 2 for each in bins], bins[0].high - bins[0].low
    error = expected_calibration_error(bins)
    with picture(path, 5, 5.6) as figure:
        figure.suptitle(f"{plain(name)}\nexpected calibration error {error:.4f}", fontsize=10)
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        filled = [(middle, each) for middle, each in zip(middles, bins, strict=True) if each.accuracy is not None]
        top.bar([m for m, _ in filled], [each.accuracy or 0 for _, each in filled], width * 0.94, label="accuracy")
        confidences = [each.confidence for _, each in filled]
        top.plot(confidences, confidences, color="tab:orange", marker="o", markersize=4, label="confidence")
        top.plot([0, 1], [0, 1], color="tab:gray", linestyle=":")
        top.set(ylabel="accuracy", ylim=(0, 1), xlim=(0, 1))
        top.legend(fontsize=8, loc="upper left")
        bottom.bar(middles, [each.images for each in bins], width * 0.94, color="tab:gray")
        bottom.set(xlabel="confidence: largest probability of an image", ylabel="images")
        for axes in (top, bottom):
            axes.grid(alpha=0.3)
