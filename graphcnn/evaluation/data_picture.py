"""The picture of a data set: the images of each class, and mean images. K classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphcnn.data.survey import SplitSummary
from graphcnn.evaluation.class_labels import class_labels
from graphcnn.evaluation.figure import picture, plain, text_width

NAMED_CLASSES = 40  # of the bar chart; more classes have no names
COLUMNS = 7  # mean images in a line
INCHES = 11  # width of the picture


def data_picture(
    summaries: Sequence[SplitSummary],
    class_names: Sequence[str],
    shown: Sequence[int],
    means: np.ndarray,
    path: Path,
) -> None:
    """Draw the images of each class in each split, and mean images of the training split, into a PNG file.

    Args:
        summaries: the numbers of the splits; a split without labels is left out.
        class_names: K names.
        shown: the classes that have a mean image.
        means: the mean of all training images, then that of each shown class, float [1 + shown, h, w, 3] in 0..1.
        path: the PNG file.
    """
    labels = [plain(label) for label in class_labels(class_names)]
    counted = [split for split in summaries if split.counts]
    named = len(labels) <= NAMED_CLASSES
    bars_inches = 0.9 + 0.22 * len(labels) if named else 3.5
    lines = -(-len(means) // COLUMNS)
    means_inches = lines * (INCHES / COLUMNS + 0.25) + 0.4
    with picture(path, INCHES, bars_inches + means_inches) as figure:
        halves: Any = figure.subfigures(2, 1, height_ratios=[bars_inches, means_inches])
        top, bottom = halves
        for axes, split in zip(np.ravel(top.subplots(1, len(counted), sharey=True)), counted, strict=True):
            _draw_counts(axes, split, labels if named else None)
        bottom.suptitle("mean of the training images", fontsize=10)
        grid = bottom.subplots(lines, COLUMNS, squeeze=False).ravel()
        names = ["all classes", *(labels[k] for k in shown)]
        for axes in grid:
            axes.axis("off")
        for axes, name, mean in zip(grid, names, means, strict=False):
            axes.imshow(mean.clip(0, 1))
            axes.set_title(name, fontsize=8 if text_width([name], 8) <= INCHES / COLUMNS else 6)


def _draw_counts(axes: Any, split: SplitSummary, labels: Sequence[str] | None) -> None:
    """Draw a bar for each class of a split; without labels, the classes are sorted by their number of images."""
    counts = split.counts or []
    axes.set_title(f"{split.name}: {split.images:,} images", fontsize=10)
    if labels is None:
        axes.bar(range(len(counts)), sorted(counts, reverse=True), width=1)
        axes.set(xlabel=f"{len(counts):,} classes, the largest first", ylabel="images")
        return
    bars = axes.barh(range(len(counts)), counts)
    axes.bar_label(bars, fmt="{:,.0f}", padding=2, fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set(xlabel="images", xlim=(0, max(counts) * 1.2), ylim=(len(counts) - 0.4, -0.6))
