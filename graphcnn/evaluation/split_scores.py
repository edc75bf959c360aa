"""The scores of a split that `eval` has written into the report folder of a run. N images, K classes."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from graphcnn.common.errors import FileError
from graphcnn.common.files import read_json
from graphcnn.common.progress import say
from graphcnn.evaluation.intervals import Interval
from graphcnn.evaluation.predictions_csv import Outcomes, read_outcomes
from graphcnn.evaluation.text_report import TITLES

REPORT_BYTES = 256 << 20  # maximum size of <split>.json; the confusion matrix of 1,000 classes takes 11 MB


class Member(NamedTuple):
    """A member of an ensemble on a split.

    Attributes:
        run: name of the run.
        weight: its ensemble weight.
        scores: {key of TITLES: the score}.
        agreement: for each member, the fraction of images for which both predict the same class.
    """

    run: str
    weight: float
    scores: Mapping[str, float]
    agreement: Sequence[float]


class SplitScores(NamedTuple):
    """The scores of a run or an ensemble on a split.

    Attributes:
        split: name of the split.
        scores: {key of TITLES: the score}.
        intervals: {key of TITLES: its 95% interval}.
        confusion: confusion counts, int64 [K, K].
        parameters: number of trainable parameters of the net; None if it is not recorded.
        calibration_error: the expected calibration error; None if it is not recorded.
        outcomes: the prediction for each image.
        members: the members of an ensemble; none for a run.
    """

    split: str
    scores: Mapping[str, float]
    intervals: Mapping[str, Interval]
    confusion: np.ndarray
    parameters: int | None
    calibration_error: float | None
    outcomes: Outcomes
    members: Sequence[Member]

    def most_confident_mistakes(self, most: int) -> np.ndarray:
        """Return the rows of at most `most` wrong predictions, those with the highest probability first."""
        wrong = np.flatnonzero(~self.outcomes.right)
        return self.outcomes.rows[wrong[np.argsort(-self.outcomes.confidence[wrong], kind="stable")][:most]]

    def least_certain(self, most: int) -> np.ndarray:
        """Return the rows of at most `most` images, those whose predicted class has the lowest probability first."""
        return self.outcomes.rows[np.argsort(self.outcomes.confidence, kind="stable")[:most]]


class Expected(NamedTuple):
    """What the files of a split must agree with.

    Attributes:
        rows: the indices of the images of the split, int64 [N].
        classes: K.
        entries: entries of <split>.json, such as the epoch of the checkpoint.
    """

    rows: np.ndarray
    classes: int
    entries: Mapping[str, Any]


def scores_of(folder: Path, split: str, expected: Expected, score: Callable[[], None], rescore: bool) -> SplitScores:
    """Return the scores of a split from the report folder; score the split first if they are not there.

    Args:
        folder: the report folder.
        split: name of the split.
        expected: what the files must agree with. Otherwise the split is scored.
        score: scores the split and writes the files.
        rescore: whether the split is scored even if the files agree.

    Raises:
        FileError: the files do not agree although they were just written.
    """
    path = folder / f"{split}.json"
    if not rescore:
        try:
            scores = _read(folder, split, expected)
            say(f"scores: {path}")
            return scores
        except FileNotFoundError as error:
            reason = f"{error.filename} is missing"
        except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError, csv.Error) as error:
            reason = f"{path} cannot be used ({error})"
        say(f"{reason}, so the {split} split is scored first", "")
    score()
    try:
        return _read(folder, split, expected)
    except (ValueError, KeyError, TypeError, OverflowError, csv.Error) as error:
        raise FileError(path, f"another command has changed the files of the split ({error}); call again") from None


def _read(folder: Path, split: str, expected: Expected) -> SplitScores:
    """Return the SplitScores of the files; ValueError or another error if they are damaged or do not agree."""
    report = read_json(folder / f"{split}.json", REPORT_BYTES, follow=False)
    for key, value in expected.entries.items():
        if report[key] != value:
            raise ValueError(f"{key} is {report[key]}, expected {value}")
    confusion = np.array(report["confusion"])
    if confusion.shape != (expected.classes,) * 2 or confusion.dtype.kind != "i" or confusion.min() < 0:
        raise ValueError("the confusion matrix is damaged")
    outcomes = read_outcomes(folder / f"{split}.csv")
    if not np.array_equal(outcomes.rows, expected.rows) or confusion.sum() != len(expected.rows):
        raise ValueError("the images are not those of the split")
    if np.trace(confusion) != outcomes.right.sum() or not np.isfinite(outcomes.confidence).all():
        raise ValueError(f"{split}.csv belongs to other scores")
    parameters, calibration_error = report.get("parameters"), report.get("ece")
    return SplitScores(
        split,
        {key: _number(report[key]) for key in TITLES},
        {key: _interval(report["intervals"][key]) for key in TITLES},
        confusion,
        parameters if type(parameters) is int else None,
        calibration_error if type(calibration_error) is float and math.isfinite(calibration_error) else None,
        outcomes,
        _members(report),
    )


def _members(report: Mapping[str, Any]) -> list[Member]:
    """Return the Members that the report on an ensemble lists; [] for a run."""
    return [
        Member(
            str(entry["run"]),
            _number(entry["share"]),
            {key: _number(entry[key]) for key in TITLES},
            [_number(fraction) for fraction in fractions],
        )
        for entry, fractions in zip(report.get("members", ()), report.get("agreement", ()), strict=True)
    ]


def _number(value: Any) -> float:
    """Return a number of a report; ValueError if it is not a finite number of at least 0."""
    if type(value) not in (int, float) or not 0 <= float(value) < math.inf:
        raise ValueError(f"found {value!r}, expected a score")
    return float(value)


def _interval(ends: Sequence[Any]) -> Interval:
    """Return an interval of a report."""
    low, high = map(_number, ends)
    return Interval(low, high)
