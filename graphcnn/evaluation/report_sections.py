"""The sections of a run's report as elements of HTML. K classes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from graphcnn.common.text import shortened
from graphcnn.config.command_flags import text_of
from graphcnn.data.fingerprint import short
from graphcnn.evaluation.comparison import Comparison, Difference, conclusion
from graphcnn.evaluation.explain_images import Explained
from graphcnn.evaluation.html_page import Element, Node, Section, element, image, scrolled, table
from graphcnn.evaluation.image_uris import EXAMPLE_PIXELS, example_uri
from graphcnn.evaluation.intervals import Interval
from graphcnn.evaluation.pictures import overlaid, reduced
from graphcnn.evaluation.run_list import duration_text
from graphcnn.evaluation.split_scores import SplitScores
from graphcnn.evaluation.text_report import TITLES
from graphcnn.storage.run_record import RunRecord

TEXT_LETTERS = 300  # of a path or of another value of config.json
NAME_LETTERS = 80  # of a class name
FILE_LETTERS = 120  # of the path of an image file
CLASS_ROWS = 1000  # of the table of the classes
MATRIX_CLASSES = 30  # more classes make no matrix that can be read as a table
SMALL_PIXELS = 64  # an image of at most this size is shown with its pixels enlarged
DARKEST = 0.75  # opacity of the colour of a full cell, on which black and white text can be read
MOST_ENTRIES = 40  # of the versions that config.json lists


def heading(name: str, scores: SplitScores) -> list[Element]:
    """Return the top of the page: the name of the run and its score."""
    low, high = scores.intervals["macro_f1"]
    text = f"{scores.split} macro F1 {scores.scores['macro_f1']:.4f} (95% interval {low:.4f} to {high:.4f})"
    count = f"{len(scores.outcomes.rows):,} images"
    return [element("h1", name), element("p", text, class_="score"), element("p", count, class_="note")]


def training(record: RunRecord, scores: SplitScores) -> Section:
    """Return the section that tells what was trained on what."""
    config, changed = record.config, record.changed_settings()
    data, split, names = config["data"], config["split"], config["class_names"]
    height, width = data["image_shape"]
    counts = {each: split.get(each) for each in ("train", "dev")} | {scores.split: len(scores.outcomes.rows)}
    rows = {
        "data": data["source"],
        "fingerprint of the data": short(data["fingerprint"]),
        "images": ", ".join(f"{count:,} {each}" for each, count in counts.items() if isinstance(count, int)),
        "dev split": f"{split['kind']}, {split['fraction']:g} of the training images",
        "size of an image": f"{height}×{width} pixels",
        "classes": f"{len(names):,}: {', '.join(names)}",
        "net": record.recipe.net,
        "parameters": "" if scores.parameters is None else f"{scores.parameters:,}",
        "initial weights": _text(config["weights"]) if config.get("weights") else "random",
        "recipe": config["recipe_name"],
        "epochs": f"{record.last.epoch} of {record.planned_epochs} ({record.state}); the best is {record.best_epoch}",
        "seconds of training": duration_text(record.training_seconds),
    }
    if changed is None:
        note = "This version of graphcnn has no recipe of this name, so the changed settings are not known."
    elif changed:
        note = "These settings differ from the recipe:"
    else:
        note = "All settings are those of the recipe."
    content = [_pairs(rows), element("p", note), *([_pairs(_texts(changed))] if changed else [])]
    return Section("training", "Training", content)


def picture(anchor: str, title: str, uri: str, text: str, alternative: str) -> Section:
    """Return a section with a picture.

    Args:
        anchor, title: see Section.
        uri: the picture.
        text: what it shows.
        alternative: its text for readers who do not see it.
    """
    return Section(anchor, title, [_picture(uri, text, alternative)])


def _picture(uri: str, text: str, alternative: str, narrow: bool = False) -> Element:
    """Return a picture with its caption; narrow: whether its letters can be read on a phone without scrolling."""
    shown = image(uri, alternative, "picture narrow") if narrow else scrolled(image(uri, alternative, "picture"))
    return element("figure", shown, element("figcaption", text))


def score_table(scores: SplitScores) -> Section:
    """Return the section with the scores and their intervals."""
    rows = [(title, f"{scores.scores[key]:.6f}", _ends(scores.intervals[key], ".4f")) for key, title in TITLES.items()]
    note = "The intervals are bootstrap intervals over the images of the split, for these weights."
    content = [table(("score", scores.split, "95% interval"), rows), element("p", note, class_="note")]
    return Section("scores", "Scores", content)


def class_table(names: Sequence[str], confusion: np.ndarray) -> Section:
    """Return the section with precision, recall and F1 of each class, the lowest F1 first.

    Args:
        names: names of the K classes.
        confusion: confusion counts, int64 [K, K].
    """
    right, support, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = right / np.maximum(predicted, 1), right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(support + predicted, 1)
    order = np.argsort(f1, kind="stable")[:CLASS_ROWS]
    rows = [
        (_name(names, k), *(f"{values[k]:.4f}" for values in (precision, recall, f1)), f"{support[k]:,}") for k in order
    ]
    content = [table(("class", "precision", "recall", "F1", "images"), rows)]
    if len(names) > CLASS_ROWS:
        text = f"The table has the {CLASS_ROWS:,} classes with the lowest F1 of {len(names):,} classes."
        content.append(element("p", text, class_="note"))
    return Section("classes", "Classes, the lowest F1 first", content)


def confusion_matrix(names: Sequence[str], confusion: np.ndarray, uri: str | None) -> Section | None:
    """Return the section with the confusion matrix: a table, or a picture if there are many classes.

    Args:
        names: names of the K classes.
        confusion: confusion counts, int64 [K, K].
        uri: the picture; None if there is none. Without it, many classes have no section.
    """
    text = "Rows are true classes, columns are predicted classes. The colour is the fraction of the row."
    if len(names) <= MATRIX_CLASSES:
        titles = [_name(names, k) for k in range(len(names))]
        fractions = DARKEST * confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
        head = element("tr", *(element("th", title, scope="col") for title in ("true \\ predicted", *titles)))
        body = []
        for title, counts, shades in zip(titles, confusion, fractions, strict=True):
            cells = [
                element("td", str(count), style=f"--fraction: {shade:.3f}")
                for count, shade in zip(counts, shades, strict=True)
            ]
            body.append(element("tr", element("th", title, scope="row"), *cells))
        matrix = element("table", element("thead", head), element("tbody", *body), class_="numbers counts")
        content = [scrolled(matrix), element("p", text, class_="note")]
    elif uri:
        content = [_picture(uri, text, "confusion matrix")]
    else:
        return None
    return Section("confusion", "Confusion matrix", content)


def reliability(scores: SplitScores, uri: str | None) -> Section | None:
    """Return the section with the expected calibration error and its diagram, as far as they are there."""
    content = []
    if scores.calibration_error is not None:
        content.append(element("p", f"Expected calibration error: {scores.calibration_error:.4f}"))
    if uri:
        text = "The accuracy of the predictions, by the probability of the predicted class."
        content.append(_picture(uri, text, "reliability diagram", narrow=True))
    return Section("reliability", "Reliability", content) if content else None


def examples(
    anchor: str, title: str, text: str, explained: Explained, chosen: Iterable[int], names: Sequence[str]
) -> Section:
    """Return a section with images, their classes and their activation maps.

    Args:
        anchor, title: see Section.
        text: what the images are.
        explained: images with the maps of the predicted and of the true class.
        chosen: the indices of the images to show.
        names: names of the K classes.
    """
    figures = [_example(explained, n, names) for n in chosen]
    if not figures:
        return Section(anchor, title, [element("p", "There are none.")])
    note = (
        f"{text} Beside each image is the {explained.method} map of the predicted class, and of the true class if it "
        "is another one. A map is scaled from its lowest value (blue) to its highest value (red)."
    )
    return Section(anchor, title, [element("p", note, class_="note"), element("div", *figures, class_="examples")])


def _example(explained: Explained, n: int, names: Sequence[str]) -> Element:
    """Return an image with its activation maps and its classes."""
    (titles, shown, _, probabilities, classes, roles), maps, _ = explained
    title, pixels = shortened(titles[n], FILE_LETTERS), reduced(shown[n], EXAMPLE_PIXELS)
    kind = "pixels" if max(pixels.shape[:2]) <= SMALL_PIXELS else "photo"
    pictures = [image(example_uri(pixels), title, kind)]
    lines = [element("p", title)]
    for column, role in enumerate(roles):
        k = int(classes[n, column])
        lines.append(element("p", f"{role}: {_name(names, k)} ({probabilities[n, k]:.3f})"))
        if k not in classes[n, :column]:
            overlay = overlaid(pixels, maps[column][n])
            pictures.append(image(example_uri(overlay), f"{title}: map of {_name(names, k)}", kind))
    return element("figure", element("div", *pictures), element("figcaption", *lines), class_="example")


def against(run: str, other: str, comparison: Comparison, uri: str | None) -> Section:
    """Return the section with the comparison of two runs.

    Args:
        run, other: names of the two runs.
        comparison: the comparison.
        uri: the picture of their curves; None if there is none.
    """
    rows = [
        _difference(title, difference)
        for title, difference in (("macro F1", comparison.macro_f1), ("accuracy", comparison.accuracy))
    ]
    right = comparison.right
    texts = (
        f"The 95% interval of the difference in macro F1 {conclusion(run, other, comparison.macro_f1)}.",
        f"Of {comparison.images:,} images, {right.both:,} are right for both runs, {right.only_run:,} only for {run}, "
        f"{right.only_against:,} only for {other}, and {right.neither:,} for neither.",
        f"McNemar's exact test of the accuracies: p = {comparison.mcnemar_p:.3g}.",
    )
    content = [table(("score", run, other, "difference", "95% interval"), rows)]
    content += [element("p", text) for text in texts]
    if uri:
        text = "The dev macro F1 of both runs, over the epochs and over the seconds of training."
        content.append(_picture(uri, text, f"curves of {run} and {other}"))
    return Section("against", f"Compared with {other}", content)


def _difference(title: str, difference: Difference) -> tuple[str, ...]:
    """Return the cells of a score of two runs."""
    first, second, value, ends = difference
    return title, f"{first:.6f}", f"{second:.6f}", f"{value:+.6f}", _ends(ends, "+.4f")


def settings(record: RunRecord) -> Section:
    """Return the section with all settings; those that differ from the recipe are marked."""
    changed = record.changed_settings() or {}
    rows: list[tuple[Node, ...]] = []
    for name, text in _texts(dataclasses.asdict(record.recipe)).items():
        rows.append((name, element("td", text, class_="changed"), "changed") if name in changed else (name, text, ""))
    return Section("settings", "All settings", [table(("setting", "value", "differs from the recipe"), rows, False)])


def environment(config: Mapping[str, Any]) -> Section:
    """Return the section with the versions and the CPU of the training, as config.json lists them."""
    rows: dict[str, str] = {}
    for section in ("versions", "cpu"):
        values = config.get(section)
        if isinstance(values, dict):
            prefix = "CPU " * (section == "cpu")
            rows |= {f"{prefix}{name}": _text(value) for name, value in list(values.items())[:MOST_ENTRIES]}
    content = [_pairs(rows)] if rows else [element("p", "The run has recorded no versions.")]
    if config.get("resumed"):
        content.append(element("p", f"The run was resumed in another environment: {_text(config['resumed'])}"))
    return Section("environment", "Versions and CPU", content)


def commands(lines: Sequence[str]) -> Section:
    """Return the section with the commands that repeat the run and its scores."""
    return Section("commands", "Commands that repeat it", [element("pre", element("code", line)) for line in lines])


def _pairs(rows: Mapping[str, str]) -> Element:
    """Return a table of names and texts; a row without a text is left out."""
    shown = ((shortened(name, NAME_LETTERS), shortened(text, TEXT_LETTERS)) for name, text in rows.items() if text)
    return table((), shown, False)


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Return {setting: its value as on a command line}; an empty text is "none"."""
    return {name: shortened(text_of(value), TEXT_LETTERS) or "none" for name, value in values.items()}


def _text(value: Any) -> str:
    """Return a value of config.json as a short text."""
    if isinstance(value, dict):
        return shortened(", ".join(f"{name} {_text(each)}" for name, each in value.items()), TEXT_LETTERS)
    return shortened("unknown" if value is None else str(value), TEXT_LETTERS)


def _name(names: Sequence[str], k: int) -> str:
    """Return the name of a class in at most NAME_LETTERS characters."""
    return shortened(names[k], NAME_LETTERS)


def _ends(interval: Interval, form: str) -> str:
    """Return an interval as a text; form: the format of its ends."""
    return f"{interval.low:{form}} to {interval.high:{form}}" if all(map(math.isfinite, interval)) else "unknown"
