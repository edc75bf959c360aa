"""Pictures that matplotlib draws into PNG files: curves, confusion matrix, mistakes, activation maps, augmentation.

N images, H x W pixels, C channels, K classes.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from graphcnn.common.text import printable, shortened
from graphcnn.data.batches import as_rgb
from graphcnn.evaluation.class_labels import class_labels
from graphcnn.evaluation.figure import DPI, Axes, Figure, MaxNLocator, can_draw, colormaps, picture, plain, text_width

History = Sequence[Mapping[str, Any]]  # the rows of a history.csv
Panels = tuple[tuple[str, dict[str, str]], ...]  # (title, {column of a history.csv: label})

CURVES_SIZE = (11, 3.7)  # width and height in inches
CURVES: Panels = (
    ("score", {"dev_macro_f1": "dev macro F1", "dev_accuracy": "dev accuracy", "accuracy": "training accuracy"}),
    ("mean cross-entropy (nats)", {"cross_entropy": "training", "dev_cross_entropy": "dev"}),
    ("training loss, mean over the steps", {"loss": "training"}),
)
SUITE_CURVES: Panels = (
    ("accuracy", {"accuracy": "training", "dev_accuracy": "dev"}),
    ("cross-entropy", {"cross_entropy": "training", "dev_cross_entropy": "dev"}),
)

TITLE_INCHES_PER_LETTER = 0.105
FILE_LETTERS = 28  # of the name of an image file above a mistake
MISTAKES_INCHES = 13  # width of the picture of the mistakes
SUITE_INCHES = 2.4  # width of an experiment in the picture of a suite
LEGEND_LETTERS = 40  # of the name of a run in the legend of a comparison
LARGEST_X = 1e10  # of a number of epochs or seconds
LINE_STYLES = ("-", "--", ":", "-.")  # ten runs have the same
TITLE_LETTERS = 90  # of the name of an experiment


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
        file_names: path of the file of each of the M images; empty if the images are not from image files.
    """

    images: np.ndarray
    rows: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    class_names: Sequence[str]
    pixel_max: int
    file_names: Sequence[str] = ()

    def image_name(self, row: int) -> str:
        """Return "row 7", or the name of the image file if there is one and the font can draw it."""
        name = printable(self.file_names[row].rpartition("/")[2]) if self.file_names else ""
        return shortened(name, FILE_LETTERS) if name and can_draw(name) else f"row {row}"


def curves(history: History, name: str, path: Path) -> None:
    """Draw dev scores, cross-entropy and loss over the epochs into a PNG file, unless the history is empty.

    Args:
        history: the history of a run.
        name: name of the run.
        path: the PNG file.
    """
    if not history:
        return
    with picture(path, *CURVES_SIZE) as figure:
        draw_curves(figure, history, name)


def draw_curves(figure: Figure, history: History, name: str) -> None:
    """Draw the panels of `curves` into an empty figure of CURVES_SIZE."""
    epochs, best = [row["epoch"] for row in history], _best(history)
    marked = f"best epoch {best['epoch']} (dotted line): dev macro F1 {best['dev_macro_f1']:.4f}" if best else ""
    figure.suptitle(f"{_wrapped(name, 11)}\n{marked}".rstrip())
    for axes, (title, labels) in zip(figure.subplots(1, 3), CURVES, strict=True):
        marker = "." if len(epochs) < 40 else None
        for n, (column, label) in enumerate(labels.items()):  # the first line is drawn above the others
            values = _mean_losses(history) if column == "loss" else _column(history, column)
            if not np.isnan(values).all():
                axes.plot(epochs, values, marker=marker, label=label, zorder=2.9 - 0.1 * n)
        if best:
            axes.axvline(best["epoch"], color="tab:gray", linestyle=":")
        axes.set(title=title, xlabel="epoch", xlim=(epochs[0] - 0.5, epochs[-1] + 0.5))
        axes.xaxis.set_major_locator(_whole_numbers())
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
        if labels.keys() == {"loss"}:  # the L2 penalty of the initial weights dominates the first epoch
            axes.set_yscale("log")


def comparison(histories: Mapping[str, History], path: Path) -> None:
    """Draw the dev macro F1 of several runs over the epochs and over the seconds of training into a PNG file.

    Args:
        histories: {name of a run: its history}; a run without a dev score has no line.
        path: the PNG file.
    """
    names = [name for name, history in histories.items() if _best(history)]
    with picture(path, 11, max(4.0, 1.0 + 0.2 * len(names))) as figure:
        panels = (("epoch", "epoch"), ("training_seconds", "seconds of training"))
        for axes, (column, label) in zip(figure.subplots(1, 2, sharey=True), panels, strict=True):
            lines = [_draw_scores(axes, column, histories[name], n) for n, name in enumerate(names)]
            axes.set(xlabel=label)
            axes.grid(alpha=0.3)
            if column == "epoch":
                axes.set_ylabel("dev macro F1 (dot: best epoch)")
                axes.xaxis.set_major_locator(_whole_numbers())
            else:
                axes.set_xlim(left=0)
        labels = [plain(shortened(name, LEGEND_LETTERS)) for name in names]
        # matplotlib leaves out a label that starts with an underscore
        figure.legend(lines, [f" {label}" for label in labels], loc="outside right upper", fontsize=8)


def _draw_scores(axes: Axes, column: str, history: History, number: int) -> Any:
    """Draw the dev macro F1 of a run over a column of its history; return the line.

    Args:
        number: number of the run in the picture, which chooses the colour and the style of the line.
    """
    x, y = (np.array(_column(history, name), float) for name in (column, "dev_macro_f1"))
    known = (x >= 0) & (x < LARGEST_X) & (y >= 0) & (y <= 1)  # a history of a stranger may hold any number
    x, y, colour = x[known], y[known], f"C{number % 10}"
    (line,) = axes.plot(x, y, color=colour, linestyle=LINE_STYLES[number // 10 % len(LINE_STYLES)])
    if known.any():
        axes.plot(x[y.argmax()], y.max(), color=colour, marker="o")
    return line


def _best(history: History) -> Mapping[str, Any] | None:
    """Return the row of the best epoch, the first one with the highest dev macro F1; None without a dev split."""
    scored = [row for row in history if row["dev_macro_f1"] is not None]
    return max(scored, key=lambda row: row["dev_macro_f1"], default=None)


def _wrapped(title: str, width: float) -> str:
    """Return a title, as matplotlib text, in lines that fit into a picture of this width in inches."""
    return "\n".join(map(plain, textwrap.wrap(title, int(width / TITLE_INCHES_PER_LETTER))))


def _mean_losses(history: History) -> list[float]:
    """Return each epoch's mean loss over its steps; history.csv has the sums."""
    steps = np.diff([row["step"] for row in history], prepend=0)
    return [row["loss"] / count for row, count in zip(history, steps, strict=True)]


def confusion(counts: np.ndarray, class_names: Sequence[str], title: str, path: Path) -> None:
    """Draw confusion counts into a PNG file; see draw_confusion."""
    with picture(path, *confusion_size(class_names)) as figure:
        draw_confusion(figure, counts, class_names, title)


def confusion_size(class_names: Sequence[str]) -> tuple[float, float]:
    """Return (width, height) of the picture of a confusion matrix in inches."""
    size = min(max(4.5, 0.55 * len(class_names) + 2), 20)  # without the labels
    wide, tall = (size + text_width(names, 10) for names in _confusion_labels(class_names))
    return wide, tall


def draw_confusion(figure: Figure, counts: np.ndarray, class_names: Sequence[str], title: str) -> None:
    """Draw confusion counts into a figure; the shade of a cell is its fraction of the row's sum.

    Args:
        figure: an empty figure.
        counts: int [K, K]; rows are true classes, columns are predicted classes.
        class_names: names of the K classes.
        title: title of the picture.
    """
    labels, columns = _confusion_labels(class_names)
    axes = figure.subplots()
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    figure.suptitle(_wrapped(title, figure.get_figwidth()))
    axes.set(xlabel="predicted class", ylabel="true class", anchor="E")  # at the right, beside long labels
    axes.set_xticks(range(len(columns)), columns, rotation=90 if max(map(len, columns)) > 3 else 0)
    axes.set_yticks(range(len(labels)), labels)
    if len(labels) <= 30:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if fractions[row, column] > 0.5 else "black"
            axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=8)


def _confusion_labels(class_names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the labels of the rows and of the columns; if rows have numbers and names, columns have numbers."""
    labels = [plain(label) for label in class_labels(class_names)]
    numbered = labels != [plain(name) for name in class_names]
    return labels, [str(n) for n in range(len(labels))] if numbered else labels


def mistakes(predictions: Predictions, title: str, path: Path, most: int = 32) -> None:
    """Draw the most confident wrong predictions into a PNG file, with their classes and their row or file.

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
    names = [plain(label) for label in class_labels(predictions.class_names)]
    labels = [
        f"predicted: {names[predicted[n]]} ({confidence[n]:.2f})\ntrue: {names[predictions.labels[n]]}\n"
        f"{plain(predictions.image_name(predictions.rows[n]))}"
        for n in wrong
    ]
    lines_of_labels = [line for label in labels for line in label.splitlines()]
    wide = max(1.6, text_width(lines_of_labels, 8) + 0.15)  # inches of an image with its label
    columns = min(max(3, len(wrong)), int(MISTAKES_INCHES / wide))
    lines = max(1, -(-len(wrong) // columns))
    with picture(path, wide * columns, (min(wide, 2.0) + 0.5) * lines + 0.5) as figure:
        figure.suptitle(_wrapped(title if len(wrong) else f"{title}: none", wide * columns))
        grid = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in grid:
            axes.axis("off")
        for axes, n, label in zip(grid, wrong, labels, strict=False):
            row = predictions.rows[n]
            axes.imshow(as_rgb(predictions.images[row : row + 1])[0] / predictions.pixel_max)
            axes.set_title(label, fontsize=8)


def suite(histories: Mapping[str, Sequence[History]], path: Path) -> None:
    """Draw each experiment's accuracy and cross-entropy over the epochs into a PNG file, one line for each seed.

    Args:
        histories: {experiment: the histories of its seeds}.
        path: the PNG file.
    """
    columns = min(6, max(1, len(histories)))
    lines = -(-len(histories) // columns)
    with picture(path, SUITE_INCHES * columns + 0.6, 3.4 * lines) as figure:
        grid = figure.subplots(2 * lines, columns, squeeze=False, sharex="col")
        for axes in grid.ravel():
            axes.axis("off")
        for n, (experiment, seeds) in enumerate(histories.items()):
            line, column = divmod(n, columns)
            for panel, (title, labels) in enumerate(SUITE_CURVES):
                axes = grid[2 * line + panel, column]
                _draw_seeds(axes, seeds, labels)
                if panel == 0:
                    axes.set_title(_in_lines(experiment, SUITE_INCHES - 0.7, 8), fontsize=8)
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


def _in_lines(name: str, inches: float, size: float) -> str:
    """Return a name, as matplotlib text, in lines of at most this width; size: of the font, in points."""
    name = shortened(name, TITLE_LETTERS)
    wrapped = (textwrap.wrap(name, letters) for letters in range(len(name), 0, -1))
    return "\n".join(map(plain, next(lines for lines in wrapped if text_width(lines, size) <= inches)))


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
    axes.tick_params(which="both", labelsize=7, labelbottom=True)
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


def reduced(image: np.ndarray, longest: int) -> np.ndarray:
    """Return an image uint8 [H, W, 3], reduced so that its longer edge has at most `longest` pixels."""
    factor = longest / max(image.shape[:2])
    if factor >= 1:
        return image
    height, width = (max(1, round(size * factor)) for size in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


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
    return MaxNLocator("auto", steps=[1, 2, 2.5, 5, 10], integer=True, min_n_ticks=1)
