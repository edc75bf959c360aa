"""The sections of the report of a run or an ensemble as elements of HTML. K classes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Container, Iterable, Mapping, Sequence
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
from graphcnn.evaluation.split_scores import Member, SplitScores
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
CURVES = "The scores, the cross-entropy and the training loss over the epochs."
COMPARED_CURVES = "The dev macro F1 of each run, over the epochs and over the seconds of training."


def heading(name: str, scores: SplitScores) -> list[Element]:
    """Return the top of the page: the name of the model and its score."""
    low, high = scores.intervals["macro_f1"]
    text = f"{scores.split} macro F1 {scores.scores['macro_f1']:.4f} (95% interval {low:.4f} to {high:.4f})"
    count = f"{len(scores.outcomes.rows):,} images"
    return [element("h1", name), element("p", text, class_="score"), element("p", count, class_="note")]


def training(records: Sequence[RunRecord], scores: SplitScores) -> Section:
    """Return the section that tells what was trained on what; records: the run, or the members of an ensemble."""
    config = records[0].config  # the data, the split and the classes are those of all members
    data, split, names = config["data"], config["split"], config["class_names"]
    counts = {each: split.get(each) for each in ("train", "dev")} | {scores.split: len(scores.outcomes.rows)}
    rows = {
        "data": data["source"],
        "fingerprint of the data": short(data["fingerprint"]),
        "images": ", ".join(f"{count:,} {each}" for each, count in counts.items() if isinstance(count, int)),
        "dev split": f"{split['kind']}, {split['fraction']:g} of the training images",
        "classes": f"{len(names):,}: {', '.join(names)}",
    }
    if len(records) == 1:
        content = [_columns((), [rows | _trained(records[0], scores.parameters)])]
    else:
        content = [_columns((), [rows]), _columns(_names(records), [_trained(record, None) for record in records])]
    changes = [record.changed_settings() for record in records]
    if None in changes:
        note = "This version of graphcnn has no recipe of this name, so the changed settings are not known."
    else:
        note = "These settings differ from the recipe:" if any(changes) else "All settings are those of the recipe."
    content.append(element("p", note))
    if None not in changes and any(changes):
        content.append(_setting_table(records, {name for changed in changes for name in changed or ()}))
    return Section("training", "Training", content)


def _trained(record: RunRecord, parameters: int | None) -> dict[str, str]:
    """Return {fact: text} about the training of a run; parameters: of its net, None if it is not known."""
    config, (height, width) = record.config, record.config["data"]["image_shape"]
    return {
        "size of an image": f"{height}×{width} pixels",
        "net": record.recipe.net,
        "parameters": "" if parameters is None else f"{parameters:,}",
        "initial weights": _text(config["weights"]) if config.get("weights") else "random",
        "recipe": config["recipe_name"],
        "epochs": f"{record.last.epoch} of {record.planned_epochs} ({record.state}); the best is {record.best_epoch}",
        "seconds of training": duration_text(record.training_seconds),
    }


def members(found: Sequence[Member], fitted: bool) -> Section:
    """Return the section about the members of an ensemble; fitted: whether its weights were fitted on the dev split."""
    titles = ["run", "weight", *TITLES.values(), *(f"agrees with {n}" for n in range(1, len(found) + 1))]
    rows = [
        (
            f"{n}: {shortened(member.run, NAME_LETTERS)}",
            f"{member.weight:.4f}",
            *(f"{member.scores[key]:.6f}" for key in TITLES),
            *(f"{fraction:.4f}" for fraction in member.agreement),
        )
        for n, member in enumerate(found, start=1)
    ]
    text = "Two members agree on an image if they predict the same class. The agreement is a fraction of the images."
    if fitted:
        text += (
            " The weights were fitted on the dev split, so the score of the ensemble on this split is biased upwards."
        )
    return Section("members", "Members of the ensemble", [table(titles, rows), element("p", text, class_="note")])


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


def mistakes(explained: Explained, chosen: Iterable[int], names: Sequence[str], mapped: str | None) -> Section:
    """Return the section with the most confident mistakes; see _examples."""
    text = "The wrong predictions with the highest probabilities."
    return Section("mistakes", "The most confident mistakes", _examples(text, explained, chosen, names, mapped))


def uncertain(explained: Explained, chosen: Iterable[int], names: Sequence[str], mapped: str | None) -> Section:
    """Return the section with the least certain predictions; see _examples."""
    text = "The images whose predicted class has the lowest probability."
    return Section("uncertain", "The least certain predictions", _examples(text, explained, chosen, names, mapped))


def _examples(
    text: str, explained: Explained, chosen: Iterable[int], names: Sequence[str], mapped: str | None
) -> list[Element]:
    """Return images with their classes and their activation maps.

    Args:
        text: what the images are.
        explained: images with the maps of the predicted and of the true class.
        chosen: the indices of the images to show.
        names: names of the K classes.
        mapped: the member of an ensemble whose maps they are; None for a run.
    """
    figures = [_example(explained, n, names) for n in chosen]
    if not figures:
        return [element("p", "There are none.")]
    note = (
        f"{text} Beside each image is the {explained.method} map of the predicted class, and of the true class if it "
        "is another one. A map is scaled from its lowest value (blue) to its highest value (red)."
    )
    if mapped:
        note += f" The maps are those of {mapped}, the member with the highest macro F1."
    return [element("p", note, class_="note"), element("div", *figures, class_="examples")]


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
    """Return the section with the comparison of two models.

    Args:
        run, other: names of the two models.
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
        f"Of {comparison.images:,} images, {right.both:,} are right for both, {right.only_run:,} only for {run}, "
        f"{right.only_against:,} only for {other}, and {right.neither:,} for neither.",
        f"McNemar's exact test of the accuracies: p = {comparison.mcnemar_p:.3g}.",
    )
    content = [table(("score", run, other, "difference", "95% interval"), rows)]
    content += [element("p", text) for text in texts]
    if uri:
        content.append(_picture(uri, COMPARED_CURVES, f"curves of {run} and {other}"))
    return Section("against", f"Compared with {other}", content)


def _difference(title: str, difference: Difference) -> tuple[str, ...]:
    """Return the cells of a score of two runs."""
    first, second, value, ends = difference
    return title, f"{first:.6f}", f"{second:.6f}", f"{value:+.6f}", _ends(ends, "+.4f")


def settings(records: Sequence[RunRecord]) -> Section:
    """Return the section with all settings; those that differ from the recipe are marked."""
    note = element("p", "Values in bold differ from the recipe.", class_="note")
    return Section("settings", "All settings", [note, _setting_table(records)])


def _setting_table(records: Sequence[RunRecord], chosen: Container[str] | None = None) -> Element:
    """Return a table with the settings of each run; chosen: the names of the settings, None for all."""
    columns = [_texts(dataclasses.asdict(record.recipe)) for record in records]
    changes = [record.changed_settings() or {} for record in records]
    rows: list[list[Node]] = []
    for name in columns[0]:
        if chosen is None or name in chosen:
            row: list[Node] = [name]
            for column, changed in zip(columns, changes, strict=True):
                row.append(element("td", column[name], class_="changed") if name in changed else column[name])
            rows.append(row)
    return table(("setting", *(_names(records) if len(records) > 1 else ("value",))), rows, False)


def environment(records: Sequence[RunRecord]) -> Section:
    """Return the section with the versions and the CPU of each training, as its config.json lists them."""
    columns = [_environment(record.config) for record in records]
    unknown = element("p", "No versions are recorded.")
    content = [_columns(_names(records), columns) if any(columns) else unknown]
    for record in records:
        if resumed := record.config.get("resumed"):
            text = f"The run {record.name} was resumed in another environment: {_text(resumed)}"
            content.append(element("p", text))
    return Section("environment", "Versions and CPU", content)


def _environment(config: Mapping[str, Any]) -> dict[str, str]:
    """Return {name: text} of the versions and the CPU that config.json lists."""
    rows: dict[str, str] = {}
    for section in ("versions", "cpu"):
        values = config.get(section)
        if isinstance(values, dict):
            prefix = "CPU " * (section == "cpu")
            rows |= {f"{prefix}{name}": _text(value) for name, value in list(values.items())[:MOST_ENTRIES]}
    return rows


def commands(lines: Sequence[str]) -> Section:
    """Return the section with the commands that repeat the run and its scores."""
    return Section("commands", "Commands that repeat it", [element("pre", element("code", line)) for line in lines])


def _columns(titles: Sequence[str], columns: Sequence[Mapping[str, str]]) -> Element:
    """Return a table of facts; a fact without a text is left out.

    Args:
        titles: titles of the columns; a single column is shown without its title.
        columns: {name of a fact: its text} for each column.
    """
    rows = []
    for name in dict.fromkeys(name for column in columns for name in column):
        texts = [shortened(column.get(name, ""), TEXT_LETTERS) for column in columns]
        if any(texts):
            rows.append((shortened(name, NAME_LETTERS), *texts))
    return table(("", *titles) if len(columns) > 1 else (), rows, False)


def _names(records: Sequence[RunRecord]) -> list[str]:
    """Return the names of runs in at most NAME_LETTERS characters."""
    return [shortened(record.name, NAME_LETTERS) for record in records]


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
