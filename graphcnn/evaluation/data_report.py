"""The report of the command inspect: numbers of the splits, identical images and a picture. Nothing is trained."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np

from graphcnn.common.progress import print_table, say, say_if_slow
from graphcnn.data import sources
from graphcnn.data.class_weights import unequal_classes
from graphcnn.data.dataset import Dataset
from graphcnn.data.duplicates import Duplicates, Twin, find_duplicates
from graphcnn.data.split_images import SplitImages, splits_of
from graphcnn.data.splits import split_dev, split_settings
from graphcnn.data.survey import MOST_FILES, FileSizes, SplitSummary, file_sizes, mean_images, summary
from graphcnn.evaluation.run_list import run_table

MOST_CLASSES = 100  # in the table; of more classes, it has the EXTREME largest and smallest
EXTREME = 20
MOST_TWINS = 20  # identical images that are named; the JSON document names all
MOST_MEANS = 20  # classes with a mean image


@dataclasses.dataclass(frozen=True)
class InspectRequest:
    """The settings of one call of `inspect`.

    Attributes:
        data: --data, or the default source.
        options: how the data are loaded.
        dev_split, dev_fraction: see splits.split_settings.
        out: the PNG file.
        as_json: whether to print one JSON document; all other lines then go to stderr.
    """

    data: str
    options: sources.DataOptions
    dev_split: str | None
    dev_fraction: float | None
    out: Path
    as_json: bool


@dataclasses.dataclass(frozen=True)
class DataReport:
    """What `inspect` found.

    Attributes:
        dataset: the Dataset, with its test split.
        dev_kind: how the dev split was chosen.
        splits: the splits that have images; the first one is the training split.
        summaries: their numbers.
        suggestion: the line of unequal_classes, or None.
        files: number of image files.
        sizes: their sizes, or None.
        duplicates: the identical images.
    """

    dataset: Dataset
    dev_kind: str
    splits: Sequence[SplitImages]
    summaries: Sequence[SplitSummary]
    suggestion: str | None
    files: int
    sizes: FileSizes | None
    duplicates: Duplicates


def inspect_data(request: InspectRequest) -> None:
    """Print the report of the data, and draw the picture.

    Raises:
        InputError: the data are not valid, or the dev split is not possible.
    """
    with redirect_stdout(sys.stderr) if request.as_json else nullcontext():
        report = _report(request)
        if not request.as_json:
            _print(report)
        _draw(report, request.out)
    if request.as_json:
        print(json.dumps(_document(report) | {"picture": str(request.out)}, indent=2, allow_nan=False))


def _report(request: InspectRequest) -> DataReport:
    """Load the data and return what is found in them."""
    say(f"data: {request.data}")
    dataset = sources.load(request.data, test=True, options=request.options)
    settings = split_settings(dataset, request.dev_split, request.dev_fraction)
    splits = splits_of(dataset, *split_dev(dataset, request.dev_split, settings["fraction"]))
    files = [path for split in splits for path in split.files()]
    labels = splits[0].labels
    assert labels is not None
    report = DataReport(
        dataset=dataset,
        dev_kind=settings["kind"],
        splits=splits,
        summaries=[summary(split, dataset.classes) for split in splits],
        suggestion=unequal_classes(labels, dataset.class_names),
        files=len(files),
        sizes=file_sizes(files, dataset.image_shape),
        duplicates=find_duplicates(splits),
    )
    dataset.check_unchanged()
    return report


def _draw(report: DataReport, path: Path) -> None:
    """Draw the picture and print its path."""
    counts = np.array(report.summaries[0].counts)
    shown = sorted(np.argsort(-counts, kind="stable")[:MOST_MEANS].tolist())
    means = mean_images(report.splits[0], shown) / report.dataset.pixel_max
    with say_if_slow("importing matplotlib"):
        from graphcnn.evaluation.class_labels import legend
        from graphcnn.evaluation.data_picture import data_picture
    names = report.dataset.class_names
    data_picture(report.summaries, names, shown, means, path)
    say(*filter(None, [legend(names, shown)]), f"written: {path}")


def _print(report: DataReport) -> None:
    """Print the report as lines and tables."""
    dataset = report.dataset
    height, width = dataset.image_shape
    say(f"images: {height}x{width} pixels, {_channels(dataset)} channels, {dataset.x_train.dtype}")
    if len(report.splits) > 1 and report.splits[1].name == "dev":
        say(f"dev split: {report.dev_kind}")
    table = run_table("split", ["images", "classes", "largest / smallest class", "lowest pixel", "highest pixel"])
    for split in report.summaries:
        ratio, classes = split.largest_to_smallest, split.classes
        table.add_row(
            split.name,
            f"{split.images:,}",
            "no labels" if classes is None else f"{classes:,}",
            "" if ratio is None else f"{ratio:.2f}",
            f"{split.low:g}",
            f"{split.high:g}",
        )
    print_table(table)
    _print_classes(report.summaries, dataset.class_names)
    say(*filter(None, [report.suggestion, _sizes_line(report)]))
    say(*_duplicate_lines(report.duplicates, {split.name: split for split in report.splits}, dataset.class_names))


def _print_classes(summaries: Sequence[SplitSummary], class_names: Sequence[str]) -> None:
    """Print the table of the classes with their images in each split."""
    counted = {split.name: split.counts for split in summaries if split.counts}
    table = run_table("class", list(counted))

    def add(name: str, classes: Sequence[int]) -> None:
        table.add_row(name, *(f"{sum(counts[k] for k in classes):,}" for counts in counted.values()))

    order, hidden = list(range(len(class_names))), []
    if len(order) > MOST_CLASSES:
        order.sort(key=lambda k: -counted["train"][k])
        hidden = order[EXTREME:-EXTREME]
    for n, k in enumerate(order):
        if hidden and n == EXTREME:
            add(f"{len(hidden):,} other classes", hidden)
        if not hidden or not EXTREME <= n < len(order) - EXTREME:
            add(class_names[k], [k])
    print_table(table)


def _channels(dataset: Dataset) -> int:
    return dataset.x_train.shape[3] if dataset.x_train.ndim == 4 else 1


def _sizes_line(report: DataReport) -> str | None:
    """Return the line about the sizes of the image files; None without image files."""
    if report.sizes is None:
        text = f"image files: {report.files:,}, so their sizes were not read (at most {MOST_FILES:,} are)"
        return text if report.files else None
    sizes = report.sizes
    width, height = map(_range, (sizes.width, sizes.height))
    smaller = f"; {sizes.smaller:,} are smaller than {'x'.join(map(str, report.dataset.image_shape))} and were enlarged"
    return f"image files: {sizes.files:,}, {width} pixels wide, {height} high{smaller * bool(sizes.smaller)}"


def _range(numbers: tuple[int, int, int]) -> str:
    """Return (smallest, median, largest) as text."""
    low, median, high = numbers
    return f"{low}" if low == high else f"{low} to {high} (median {median})"


def _duplicate_lines(duplicates: Duplicates, splits: Mapping[str, SplitImages], names: Sequence[str]) -> list[str]:
    """Return the lines about identical images."""

    def image(split: str, row: int) -> str:
        labels, rows = splits[split].labels, splits[split].rows
        label = "" if labels is None else f" ({names[labels[np.searchsorted(rows, row)]]})"
        return f"{split} {splits[split].image_name(row)}{label}"

    def listed(twins: Sequence[Twin]) -> list[str]:
        lines = [f"  {image(*twin[:2])} = {image(*twin[2:])}" for twin in twins[:MOST_TWINS]]
        return lines + [f"  and {len(twins) - MOST_TWINS:,} more"] * (len(twins) > MOST_TWINS)

    lines = []
    for split, count in _counts(duplicates.across).items():
        twins = [twin for twin in duplicates.across if (twin.split, twin.twin_split) == split]
        own, other = split
        total = len(splits[own].rows)
        lines += [f"warning: {count:,} of {total:,} {own} images are identical to a {splits[other].title} image"]
        lines += listed(twins)
    if duplicates.relabelled:
        count = len(duplicates.relabelled)
        lines += [f"warning: {count:,} images have another label than an identical image"]
        lines += listed(duplicates.relabelled)
    for name, split_images in splits.items():
        inside = [twin for twin in duplicates.inside if twin.split == name]
        if inside:
            total, title = len(split_images.rows), split_images.title
            lines += [f"{len(inside):,} of {total:,} {title} images repeat another {title} image", *listed(inside)]
    return lines or ["no two images are identical"]


def _counts(twins: Sequence[Twin]) -> dict[tuple[str, str], int]:
    """Return {(split, split of the twin): number of twins}."""
    counts: dict[tuple[str, str], int] = {}
    for twin in twins:
        pair = (twin.split, twin.twin_split)
        counts[pair] = counts.get(pair, 0) + 1
    return counts


def _document(report: DataReport) -> dict[str, Any]:
    """Return the report as values of JSON."""
    dataset, splits = report.dataset, {split.name: split for split in report.splits}

    def image(split: str, row: int) -> dict[str, Any]:
        names = splits[split].file_names
        return {"split": split, "row": row} | ({"file": names[row]} if names else {})

    return {
        "data": dataset.source,
        "fingerprint": dataset.fingerprint,
        "class_names": dataset.class_names,
        "height": dataset.image_shape[0],
        "width": dataset.image_shape[1],
        "channels": _channels(dataset),
        "dtype": str(dataset.x_train.dtype),
        "dev_split": report.dev_kind,
        "splits": [
            {**split._asdict(), "classes": split.classes, "largest_to_smallest": split.largest_to_smallest}
            for split in report.summaries
        ],
        "suggestion": report.suggestion,
        "image_files": report.files,
        "file_sizes": report.sizes and report.sizes._asdict(),
        "duplicates": {
            kind: [{"image": image(*twin[:2]), "twin": image(*twin[2:])} for twin in twins]
            for kind, twins in report.duplicates._asdict().items()
        },
    }
