"""Class activation maps of several images, drawn into one picture for `explain`.

N images, H x W pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from graphcnn.common.progress import bar, say
from graphcnn.data.batches import as_rgb
from graphcnn.data.images import read_image, suppress_warnings
from graphcnn.evaluation import pictures
from graphcnn.evaluation.activation_maps import SOURCES, add_activation_maps, compute_maps
from graphcnn.evaluation.class_labels import class_labels, legend
from graphcnn.evaluation.model_data import DataSource, load_run_data
from graphcnn.evaluation.net import Net
from graphcnn.evaluation.predictor import Predictor
from graphcnn.evaluation.select_model import Model
from graphcnn.evaluation.trained_run import TrainedRun
from graphcnn.storage.recorded_data import Split

LONGEST = 1024  # largest number of pixels of an image's longer edge in the picture


@dataclass(frozen=True)
class WorstRows:
    """The images of a split whose true classes have the lowest predicted probabilities.

    Attributes:
        split: dev, train or test.
        count: largest number of images.
        source: where the data are.
    """

    split: str
    count: int
    source: DataSource


class Examples(NamedTuple):
    """The images to draw, and two classes to explain for each image.

    Attributes:
        titles: title of each image.
        shown: each image as it is drawn, uint8 [H, W, 3].
        pixels: input of the net, float32 [N, H, W, 3].
        probabilities: softmax outputs, float32 [N, K].
        classes: class ids, int [N, 2].
        roles: names of the two columns of `classes`, such as ("predicted", "true").
    """

    titles: Sequence[str]
    shown: Sequence[np.ndarray]
    pixels: np.ndarray
    probabilities: np.ndarray
    classes: np.ndarray
    roles: tuple[str, str]


class Explained(NamedTuple):
    """Examples with their activation maps.

    Attributes:
        examples: the images.
        maps: the maps of each column of `examples.classes`, float32 [N, h, w] each.
        method: "CAM" or "Grad-CAM".
    """

    examples: Examples
    maps: Sequence[np.ndarray]
    method: str


def explain_files(model: Model[Any], paths: Sequence[str], out: str | None) -> None:
    """Draw image files with the activation maps of their two most probable classes; print the classes.

    Args:
        model: a run or a published net.
        paths: image files.
        out: the PNG file to write; None for explain.png in the model's report folder.
    """
    _draw_sheet(model, lambda predictor: _image_files(predictor, model.only_net(), paths), out)


def explain_rows(model: Model[TrainedRun], rows: WorstRows, out: str | None) -> None:
    """Draw images of a split with the activation maps of the predicted and the true class; print the classes.

    Args:
        model: a run.
        rows: the images to draw.
        out: the PNG file to write; None for explain.png in the model's report folder.
    """
    run = model.only_net()
    split = load_run_data(run, rows.source, rows.split == "test").splits([rows.split])[rows.split]
    _draw_sheet(model, lambda predictor: _worst_rows(predictor, run, split, rows.count), out)


def explain(net: Net, choose: Callable[[Predictor], Examples]) -> Explained:
    """Return the examples that choose(predictor) returns, with their activation maps; print the net and the method."""
    graph = net.build_one_view()
    activation_maps = add_activation_maps(graph)
    with net.open(graph) as predictor:
        say(f"{net.description}, {activation_maps.method}")
        examples = choose(predictor)
        maps = [compute_maps(predictor, activation_maps, examples.pixels, column) for column in examples.classes.T]
    return Explained(examples, maps, activation_maps.method)


def _draw_sheet(model: Model[Any], choose: Callable[[Predictor], Examples], out: str | None) -> None:
    """Draw the examples that choose(predictor) returns, overlaid with activation maps; print their classes."""
    net = model.only_net()
    examples, maps, name = explain(net, choose)
    entries, drawn = [], class_labels(net.class_names)
    for n, (title, image) in enumerate(zip(examples.titles, examples.shown, strict=True)):
        said, labels = (
            [
                f"{role}: {names[k]} {examples.probabilities[n, k]:.2f}"
                for role, k in zip(examples.roles, examples.classes[n], strict=True)
            ]
            for names in (net.class_names, drawn)
        )
        entries.append((title, image, [(label, class_maps[n]) for label, class_maps in zip(labels, maps, strict=True)]))
        say(f"{title}: {', '.join(said)}")
    path = Path(out) if out else model.report_folder / "explain.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    method = f"{name} ({SOURCES[name]})"
    title = f"{net.name}: {method}. Each map is scaled from its lowest value (blue) to its highest value (red)."
    pictures.explanation(entries, title, path)
    say(f"written: {path}")
    if explained := legend(net.class_names, examples.classes.ravel().tolist()):
        say(explained)


def _image_files(predictor: Predictor, net: Net, paths: Sequence[str]) -> Examples:
    """Return Examples of image files, with the two most probable classes of each image."""
    with suppress_warnings():
        shown = [pictures.reduced(read_image(path), LONGEST) for path in paths]
        resized = np.stack([read_image(path, net.image_shape, net.fit) for path in paths])
    pixels = resized * np.float32(net.pixel_max / 255)
    probabilities = predictor.probabilities(pixels)
    classes = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
    return Examples([Path(path).name for path in paths], shown, pixels, probabilities, classes, ("predicted", "second"))


def _worst_rows(predictor: Predictor, net: Net, split: Split, count: int) -> Examples:
    """Return Examples of the images whose true classes are least probable, with their predicted and true classes."""
    images, labels, rows, _ = split
    with bar("predict", len(rows)) as advance:
        probabilities = predictor.probabilities(images, rows, advance)
    worst = np.argsort(probabilities[np.arange(len(rows)), labels[rows]], kind="stable")[:count]
    return row_examples(net, split, rows[worst], probabilities[worst])


def row_examples(net: Net, split: Split, rows: np.ndarray, probabilities: np.ndarray) -> Examples:
    """Return Examples of some images of a split, with their predicted and true classes.

    Args:
        net: the net that made the predictions.
        split: the split.
        rows: int [N], indices of the images.
        probabilities: softmax outputs for them, float32 [N, K].
    """
    pixels = as_rgb(split.images[rows])
    shown = (pixels * (255 / net.pixel_max)).round().astype(np.uint8)
    classes = np.stack([probabilities.argmax(axis=1), split.labels[rows]], axis=1)
    titles = [split.file_names[row] for row in rows] if split.file_names else [f"row {row}" for row in rows]
    return Examples(titles, list(shown), pixels, probabilities, classes, ("predicted", "true"))
