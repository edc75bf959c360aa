"""The scores of a split as text on stdout. N images, K classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table
from sklearn.metrics import classification_report, precision_recall_fscore_support

from graphcnn.common.progress import print_table, say
from graphcnn.common.text import printable
from graphcnn.evaluation.intervals import Interval

TITLES = {
    "macro_f1": "macro F1",
    "accuracy": "accuracy",
    "top2_accuracy": "top-2 accuracy",
    "cross_entropy": "cross-entropy",
}
TABLE_CLASSES = 100  # more classes make no table that can be read
PER_CLASS = ("precision", "recall", "f1-score", "support")


def print_scores(
    prefix: str,
    scores: Mapping[str, Any],
    intervals: Mapping[str, Interval],
    labels: np.ndarray,
    probabilities: np.ndarray,
    class_names: Sequence[str],
) -> dict[str, dict[str, float]]:
    """Print the scores, macro F1 first; then print scikit-learn's report on each class and the confusion counts.

    Args:
        prefix: text before each score, such as "dev ".
        scores: result of metrics.summary, and optionally the expected calibration error as "ece".
        intervals: result of intervals.score_intervals.
        labels: int [N].
        probabilities: float [N, K].
        class_names: names of the K classes.

    Returns:
        {class name: {"precision", "recall", "f1-score", "support"}}.
    """
    for key, title in TITLES.items():
        low, high = intervals[key]
        say(f"{prefix}{title}: {scores[key]:.6f} (95% interval {low:.4f} to {high:.4f})")
    if "ece" in scores:
        say(f"{prefix}expected calibration error: {scores['ece']:.6f}")
    names = [printable(name) for name in class_names]
    predictions, options = probabilities.argmax(axis=1), {"labels": range(len(class_names)), "zero_division": 0}
    report = classification_report(labels, predictions, digits=4, target_names=names, **options)
    say("", *report.split("\n"))
    _print_confusion(scores["confusion"], names)
    columns = precision_recall_fscore_support(labels, predictions, **options)
    rows = zip(class_names, zip(*columns, strict=True), strict=True)
    return {name: dict(zip(PER_CLASS, map(float, row), strict=True)) for name, row in rows}


def _print_confusion(confusion: np.ndarray, class_names: Sequence[str]) -> None:
    """Print confusion counts [K, K] as a table, unless there are too many classes."""
    if len(class_names) > TABLE_CLASSES:
        say(f"confusion: not printed for {len(class_names):,} classes, at most {TABLE_CLASSES} fit into a table")
        return
    width = max(len(str(confusion.max())), *map(len, class_names)) + 1
    say("confusion (row: true class, column: predicted)")
    say(" " * width + "".join(name.rjust(width) for name in class_names))
    for name, counts in zip(class_names, confusion, strict=True):
        say(name.rjust(width) + "".join(str(count).rjust(width) for count in counts))


def print_members(split: str, members: Sequence[dict[str, Any]], agreement: np.ndarray) -> None:
    """Print the weight and the scores of each member of an ensemble, and the agreement of each pair of members.

    Args:
        split: the split that was scored.
        members: {"run", "share" (the ensemble weight), "macro_f1", "accuracy", "cross_entropy"} of each member.
        agreement: fraction of images for which two members predict the same class, [M, M].
    """
    table = Table("run", title=f"{split}: the members of the ensemble", title_justify="left")
    titles = ["weight", "macro F1", "accuracy", "cross-entropy"]
    for title in [*titles, *(f"agrees with {n}" for n in range(1, len(members) + 1))]:
        table.add_column(title, justify="right")
    for n, (member, fractions) in enumerate(zip(members, agreement, strict=True), start=1):
        scores = [f"{member[key]:.6f}" for key in ("macro_f1", "accuracy", "cross_entropy")]
        cells = [f"{fraction:.4f}" for fraction in fractions]
        table.add_row(f"{n}: {member['run']}", f"{member['share']:.4f}", *scores, *cells)
    print_table(table)
