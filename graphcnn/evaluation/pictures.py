"""Pictures that matplotlib draws into PNG files: curves, confusion matrix, mistakes, activation maps, augmentation.

N images, H x W pixels, C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from graphcnn.data.batches import as_rgb
from graphcnn.evaluation.class_labels import class_labels
from graphcnn.evaluation.figure import DPI, Axes, MaxNLocator, colormaps, picture, plain

History = Sequence[Mapping[str, Any]]  # the rows of a history.csv
Panels = tuple[tuple[str, dict[str, str]], ...]  # (title, {column of a history.csv: label})

CURVES: Panels = (
    ("training loss, summed over the epoch", {"loss": "training"}),
    ("mean cross-entropy (nats)", {"cross_entropy": "training", "dev_cross_entropy": "dev"}),
    ("score", {"dev_macro_f1": "dev macro F1", "dev_accuracy": "dev accuracy", "accuracy": "training accuracy"}),
)
SUITE_CURVES: Panels = (
    ("accuracy", {"accuracy": "training", "dev_accuracy": "dev"}),
    ("cross-entropy", {"cross_entropy": "training", "dev_cross_entropy": "dev"}),
)

INCHES_PER_LETTER = 0.1  # of the labels of an axis


@dataclass(frozen=True)
class Predictions:
    """The predictions of a model for a split.

    Attributes:
        images: [M, H, W] or [M, H, W, C] in raw units; may be memory-mapped.
        rows: int [N], indices of the predicted images in `images`.
        labels: int [N], their true classes.
        probabilities: softmax outputs, float [N, K].
        class_names: names of the K classes.
        pixel_max: largest pixel value, 255 or 1.
    """

    images: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    class_names: Sequence[str]
    pixel_max: int


def curves(history: History, path: Path) -> None:
    """Draw loss, cross-entropy and dev scores over the epochs into a PNG file, unless the history is empty."""
    if not history:
        return
    with picture(path, 11, 3.4) as figure:
        epochs = [row["epoch"] for row in history]
        for axes, (title, labels) in zip(figure.subplots(1, 3), CURVES, strict=True):
            for column, label in labels.items():
                values = _column(history, column)
                if not np.isnan(values).all():
                    axes.plot(epochs, values, marker="." if len(epochs) < 40 else None, label=label)
            axes.set(title=title, xlabel="epoch")
            axes.xaxis.set_major_locator(_whole_numbers())
            axes.grid(alpha=0.3)
            if axes.lines:
                axes.legend()
            if labels.keys() == {"loss"}:  # the L2 penalty of the initial weights dominates the first epoch
                axes.set_yscale("log")


def confusion(counts: np.ndarray, class_names: Sequence[str], title: str, path: Path) -> None:
    """Draw confusion counts into a PNG file; the shade of a cell is its fraction of the row's sum.

    Args:
        counts: int [K, K]; rows are true classes, columns are predicted classes.
        class_names: names of the K classes.
        title: title of the picture.
        path: the PNG file.
    """
    classes = len(class_names)
    size = min(max(4.5, 0.55 * classes + 2), 20)  # inches, without the labels
    labels = [plain(label) for label in class_labels(class_names)]
    numbered = labels != [plain(name) for name in class_names]
    columns = [str(n) for n in range(classes)] if numbered else labels
    wide, tall = (size + INCHES_PER_LETTER * max(map(len, names)) for names in (labels, columns))
    with picture(path, wide, tall) as figure:
        axes = figure.subplots()
        fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
        axes.set(title=plain(title), xlabel="predicted", ylabel="true", anchor="E")  # at the right, beside long labels
        axes.set_xticks(range(classes), columns, rotation=90 if max(map(len, columns)) > 3 else 0)
        axes.set_yticks(range(classes), labels)
        if classes <= 30:
            for (row, column), count in np.ndenumerate(counts):
                colour = "white" if fractions[row, column] > 0.5 else "black"
                axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=8)


def mistakes(predictions: Predictions, title: str, path: Path, most: int = 32) -> None:
    """Draw the most confident wrong predictions into a PNG file, with their predicted and true classes.

    Args:
        predictions: predictions for a split.
        title: title of the picture.
        path: the PNG file.
        most: largest number of images.
    """
    predicted = predictions.probabilities.argmax(axis=1)
    confidence = predictions.probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != predictions.labels)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    columns = min(max(4, len(wrong)), 8)
    lines = max(1, -(-len(wrong) // columns))
    with picture(path, 1.5 * columns, 1.75 * lines + 0.6) as figure:
        figure.suptitle(plain(title if len(wrong) else f"{title}: none"))
        grid = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in grid:
            axes.axis("off")
        names = [plain(label) for label in class_labels(predictions.class_names)]
        for axes, n in zip(grid, wrong, strict=False):
            row = predictions.rows[n]
            axes.imshow(as_rgb(predictions.images[row : row + 1])[0] / predictions.pixel_max)
            label = f"predicted: {names[predicted[n]]} ({confidence[n]:.2f})\ntrue: {names[predictions.labels[n]]}"
            axes.set_title(label, fontsize=8)


def suite(histories: Mapping[str, Sequence[History]], path: Path) -> None:
    """Draw each experiment's accuracy and cross-entropy over the epochs into a PNG file, one line for each seed.

    Args:
        histories: {experiment: the histories of its seeds}.
        path: the PNG file.
    """
    columns = min(6, max(1, len(histories)))
    lines = -(-len(histories) // columns)
    with picture(path, 2.4 * columns + 0.6, 3.4 * lines) as figure:
        grid = figure.subplots(2 * lines, columns, squeeze=False, sharex="col")
        for axes in grid.ravel():
            axes.axis("off")
        for n, (experiment, seeds) in enumerate(histories.items()):
            line, column = divmod(n, columns)
            for panel, (title, labels) in enumerate(SUITE_CURVES):
                axes = grid[2 * line + panel, column]
                _draw_seeds(axes, seeds, labels)
                if panel == 0:
                    axes.set_title(plain(experiment), fontsize=9)
                if column == 0:
                    axes.set_ylabel(title, fontsize=8)
                if n == 0:
                    axes.legend(fontsize=7)
        lowest, highest = _cross_entropy_range(histories)
        for axes in grid[::2].ravel():  # the same scale for all experiments
            axes.set_ylim(0, 1)
        for axes in grid[1::2].ravel():
            axes.set_yscale("log")  # a run with a high cross-entropy does not flatten the others
            axes.set_ylim(lowest / 1.1, highest * 1.1)


def _cross_entropy_range(histories: Mapping[str, Sequence[History]]) -> tuple[float, float]:
    """Return the smallest and the largest cross-entropy above 0 of all runs, for training and dev split."""
    rows = [row for seeds in histories.values() for history in seeds for row in history]
    values = [row[column] for row in rows for column in ("cross_entropy", "dev_cross_entropy")]
    positive = [value for value in values if value and np.isfinite(value)]
    return min(positive, default=1.0), max(positive, default=1.0)


def _draw_seeds(axes: Axes, seeds: Sequence[History], labels: Mapping[str, str]) -> None:
    """Draw two columns of each seed's history into a panel; labels: {column of history.csv: label}."""
    axes.axis("on")
    for (column, label), colour in zip(labels.items(), ("tab:gray", "tab:blue"), strict=True):
        for seed, history in enumerate(seeds):
            epochs = [row["epoch"] for row in history]
            marker = "." if len(epochs) == 1 else None  # a line through one point is empty
            values = _column(history, column)
            axes.plot(epochs, values, color=colour, lw=1, marker=marker, label=label if seed == 0 else None)
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=7, labelbottom=True)
    axes.xaxis.set_major_locator(_whole_numbers())


def augmentation(originals: np.ndarray, epochs: Sequence[np.ndarray], title: str, path: Path) -> None:
    """Draw a row of original images into a PNG file, and below it one row of augmented images for each epoch.

    Args:
        originals: float [N, H, W, 3], 0..1.
        epochs: the augmented images of epochs 1, 2, …, each float [N, H, W, 3].
        title: title of the picture.
        path: the PNG file.
    """
    gap = max(1, originals.shape[1] // 16)  # pixels to the right of and below each image
    rows = np.pad(np.stack([originals, *epochs]), [(0, 0), (0, 0), (0, gap), (0, gap), (0, 0)], constant_values=1)
    lines, columns, height, width, _ = rows.shape
    with picture(path, columns + 0.8, lines * height / width + 0.5) as figure:
        axes = figure.subplots()
        axes.imshow(rows.transpose(0, 2, 1, 3, 4).reshape(lines * height, columns * width, 3))
        axes.set_title(plain(title), fontsize=9)
        names = ["original", *(f"epoch {n}" for n in range(1, lines))]
        axes.set_yticks(np.arange(lines) * height + (height - gap) / 2, names)
        axes.set_xticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)


def explanation(
    entries: Sequence[tuple[str, np.ndarray, Sequence[tuple[str, np.ndarray]]]], title: str, path: Path
) -> None:
    """Draw images into a PNG file, each followed by copies that activation maps overlay, from blue (low) to red (high).

    A panel is about as wide as the widest image, and at least 230 pixels wide.

    Args:
        entries: (title, image uint8 [H, W, 3], [(title, map [h, w]), …]) of each image. A map is resized to the image.
        title: title of the picture.
        path: the PNG file.
    """
    panels = 1 + len(entries[0][2])
    per_line = 1 if len(entries) == 1 else 2  # entries
    lines = -(-len(entries) // per_line)
    wide = max(230, *(image.shape[1] for _, image, _ in entries)) / DPI  # inches
    tall = wide * min(2.0, max(image.shape[0] / image.shape[1] for _, image, _ in entries))
    with picture(path, wide * panels * per_line, (tall + 0.3) * lines + 0.4) as figure:
        figure.suptitle(plain(title), fontsize=9)
        grid = figure.subplots(lines, panels * per_line, squeeze=False)
        for axes in grid.ravel():
            axes.axis("off")
        for n, (name, image, maps) in enumerate(entries):
            shown = [(name if len(name) < 30 else f"…{name[-28:]}", image)]
            shown += [(label, overlaid(image, values)) for label, values in maps]
            for axes, (label, pixels) in zip(grid[n // per_line, panels * (n % per_line) :], shown, strict=False):
                axes.imshow(pixels)
                axes.set_title(plain(label), fontsize=8)


def overlaid(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return an image uint8 [H, W, 3] overlaid with a map [h, w] in colours from blue (lowest) to red (highest)."""
    values = np.asarray(values, np.float32)
    values = (values - values.min()) / max(float(np.ptp(values)), 1e-12)
    resized = Image.fromarray(values).resize((image.shape[1], image.shape[0]), Image.Resampling.BILINEAR)
    colours = colormaps["jet"](np.asarray(resized), bytes=True)[..., :3]
    return (0.55 * image + 0.45 * colours).astype(np.uint8)


def benchmark(results: Mapping[str, Any], path: Path) -> None:
    """Draw the images/s of each implementation in training and in evaluation into a PNG file.

    Args:
        results: {"net", "batch_size", "machine",
            "contestants": {implementation: {"train", "evaluate": {"images_per_second", …}}}}.
        path: the PNG file.
    """
    implementations = results["contestants"]
    with picture(path, 11, 1.4 + 0.4 * len(implementations)) as figure:
        machine = results["machine"]
        figure.suptitle(
            f"{results['net']}, batch {results['batch_size']}, {machine['cores']} cores of {machine['model']}"
        )
        for axes, key, title in zip(
            figure.subplots(1, 2), ("train", "evaluate"), ("training", "evaluation"), strict=True
        ):
            rates = [measured[key]["images_per_second"] for measured in implementations.values()]
            colours = ["tab:blue" if name.startswith("graphcnn") else "tab:gray" for name in implementations]
            bars = axes.barh(list(implementations), rates, color=colours)
            axes.bar_label(bars, fmt="%.0f", padding=3)
            axes.set(title=f"{title}, images/s", xlim=(0, max(rates) * 1.15))
            axes.invert_yaxis()


def _column(history: History, column: str) -> list[float]:
    """Return a column of a history; empty cells become NaN."""
    return [np.nan if row[column] is None else row[column] for row in history]


def _whole_numbers() -> MaxNLocator:
    """Return matplotlib's default tick locator, restricted to whole numbers."""
    return MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True)
