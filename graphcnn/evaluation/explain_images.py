"""Class activation maps of images, drawn into pictures for `explain`.

N images, H x W pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.progress import bar, complain, say
from graphcnn.data.batches import as_rgb, in_order
from graphcnn.data.images import read_image, suppress_warnings
from graphcnn.data.photo_files import PhotoFiles, find_files
from graphcnn.evaluation import pictures
from graphcnn.evaluation.activation_maps import SOURCES, ActivationMaps, add_activation_maps, compute_maps
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


class Explainer(NamedTuple):
    """A net with its weights that computes activation maps.

    Attributes:
        predictor: the graph of the net, with its weights.
        activation_maps: the maps in this graph.
    """

    predictor: Predictor
    activation_maps: ActivationMaps

    def explain(self, examples: Examples) -> Explained:
        """Return examples with the activation maps of their classes."""
        columns = examples.classes.T
        maps = [compute_maps(self.predictor, self.activation_maps, examples.pixels, column) for column in columns]
        return Explained(examples, maps, self.activation_maps.method)


@contextmanager
def open_explainer(net: Net) -> Iterator[Explainer]:
    """Yield the Explainer of a net; print the net and the method."""
    graph = net.build_one_view()
    activation_maps = add_activation_maps(graph)
    with net.open(graph) as predictor:
        say(f"{net.description}, {activation_maps.method}")
        yield Explainer(predictor, activation_maps)


def explain(net: Net, choose: Callable[[Predictor], Examples]) -> Explained:
    """Return the examples that choose(predictor) returns, with their activation maps."""
    with open_explainer(net) as explainer:
        return explainer.explain(choose(explainer.predictor))


def explain_files(model: Model[Any], arguments: Sequence[str], out: str | None, most: int) -> int:
    """Draw image files with the activation maps of their two most probable classes; print the classes.

    The pictures of more than `most` files are numbered: explain_1.png, explain_2.png. A file that cannot be read does
    not end the command, unless it is the only file. It makes the exit status 2.

    Args:
        model: a run or a published net.
        arguments: image files, folders and patterns; see find_files.
        out: the PNG file to write; None for explain.png in the model's report folder.
        most: largest number of images in a picture.

    Returns:
        The exit status.
    """
    net, paths, broken = model.only_net(), find_files(arguments), 0
    path = _picture_path(model, out)
    sheets = list(in_order(paths, most))
    with open_explainer(net) as explainer, bar("explain", len(paths)) as advance:
        for n, sheet in enumerate(sheets, start=1):
            photos = PhotoFiles(sheet, net.image_shape, net.fit, net.pixel_max)
            pixels = photos[np.arange(len(sheet))]
            if photos.problems and len(paths) == 1:
                raise InputError(f"{paths[0]}: {photos.problems[0]}")
            for row, problem in photos.problems.items():
                say(f"{sheet[row]}: {problem}")
            broken += len(photos.problems)
            rows = np.array([row for row in range(len(sheet)) if row not in photos.problems], int)
            if len(rows):
                readable = [sheet[row] for row in rows]
                explained = explainer.explain(_image_files(explainer.predictor, readable, pixels[rows]))
                number = f"_{n}" if len(sheets) > 1 else ""
                _draw(net, explained, path.with_name(f"{path.stem}{number}{path.suffix}"))
            advance(len(sheet))
    if broken:
        complain(f"graphcnn explain: {broken:,} of {len(paths):,} files could not be read; stdout names them")
    return 2 if broken else 0


def explain_rows(model: Model[TrainedRun], rows: WorstRows, out: str | None) -> None:
    """Draw images of a split with the activation maps of the predicted and the true class; print the classes.

    Args:
        model: a run.
        rows: the images to draw.
        out: the PNG file to write; None for explain.png in the model's report folder.
    """
    run = model.only_net()
    split = load_run_data(run, rows.source, rows.split == "test").splits([rows.split])[rows.split]
    explained = explain(run, lambda predictor: _worst_rows(predictor, run, split, rows.count))
    _draw(run, explained, _picture_path(model, out))


def _picture_path(model: Model[Any], out: str | None) -> Path:
    """Return the path of the picture, whose folder then exists."""
    path = Path(out) if out else model.report_folder / "explain.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _draw(net: Net, explained: Explained, path: Path) -> None:
    """Draw examples, overlaid with activation maps, into a PNG file; print their classes."""
    examples, maps, name = explained
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
    method = f"{name} ({SOURCES[name]})"
    title = f"{net.name}: {method}. Each map is scaled from its lowest value (blue) to its highest value (red)."
    pictures.explanation(entries, title, path)
    say(f"written: {path}")
    if numbers := legend(net.class_names, examples.classes.ravel().tolist()):
        say(numbers)


def _image_files(predictor: Predictor, paths: Sequence[str], pixels: np.ndarray) -> Examples:
    """Return Examples of image files, with the two most probable classes of each image.

    Args:
        predictor: the graph with its weights.
        paths: N files.
        pixels: the input of the net for them, float32 [N, H, W, 3].
    """
    with suppress_warnings():
        shown = [pictures.reduced(read_image(path), LONGEST) for path in paths]
    probabilities = predictor.probabilities(pixels)
    classes = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
    return Examples(paths, shown, pixels, probabilities, classes, ("predicted", "second"))


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
