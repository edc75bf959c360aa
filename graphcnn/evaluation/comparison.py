"""Two models, or two files of predictions, compared on the same images. N images, K classes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from graphcnn.common.progress import say
from graphcnn.evaluation import metrics
from graphcnn.evaluation.intervals import Interval, interval, resampled_scores


class Difference(NamedTuple):
    """A score of two models.

    Attributes:
        run, against: the score of the first and of the second model.
        difference: the first score minus the second one.
        interval: the 95% interval of the difference. Both models are scored on the same resamples of the images.
    """

    run: float
    against: float
    difference: float
    interval: Interval


class Right(NamedTuple):
    """The number of images that both models, only one of them, or neither of them classifies correctly."""

    both: int
    only_run: int
    only_against: int
    neither: int


class Comparison(NamedTuple):
    """The comparison of two models on the same images.

    Attributes:
        images: number of images.
        macro_f1, accuracy: the scores.
        right: the numbers of correctly classified images.
        mcnemar_p: the p-value of McNemar's exact test: the probability of a difference in accuracy at least as large,
            if each image that only one of the models classifies correctly is as likely to be one of either model.
    """

    images: int
    macro_f1: Difference
    accuracy: Difference
    right: Right
    mcnemar_p: float

    def report(self) -> dict[str, Any]:
        """Return the comparison as values of JSON."""
        differences = {"macro_f1": self.macro_f1._asdict(), "accuracy": self.accuracy._asdict()}
        return {**self._asdict(), **differences, "right": self.right._asdict()}


def compare(labels: np.ndarray, run: np.ndarray, against: np.ndarray) -> Comparison:
    """Return the comparison of two models.

    Args:
        labels: int [N], the true classes.
        run, against: softmax outputs of the first and of the second model, float [N, K] each.
    """
    classes = run.shape[1]
    predictions = np.stack([run.argmax(axis=1), against.argmax(axis=1)])
    draws = resampled_scores(labels, predictions, classes)
    first, second = (metrics.confusion_counts(labels, predicted, classes) for predicted in predictions)
    right = _count_right(*(predictions == labels))
    return Comparison(
        len(labels),
        _difference(metrics.macro_f1(first), metrics.macro_f1(second), draws.macro_f1),
        _difference(metrics.accuracy(first), metrics.accuracy(second), draws.accuracy),
        right,
        mcnemar(right.only_run, right.only_against),
    )


def _difference(first: float, second: float, draws: np.ndarray) -> Difference:
    """Return the Difference of two scores; draws: their values on the same resamples, float [2, D]."""
    return Difference(first, second, first - second, interval(draws[0] - draws[1]))


def _count_right(first: np.ndarray, second: np.ndarray) -> Right:
    """Return the counts of correctly classified images; first, second: whether each model is right, bool [N]."""
    both, neither = int(np.sum(first & second)), int(np.sum(~first & ~second))
    return Right(both, int(first.sum()) - both, int(second.sum()) - both, neither)


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    Args:
        only_first, only_second: number of images that only the first or only the second model classifies correctly.
    """
    from scipy.stats import binomtest

    images = only_first + only_second
    return float(binomtest(only_first, images).pvalue) if images else 1.0


def print_comparison(prefix: str, run: str, against: str, comparison: Comparison) -> None:
    """Print a comparison.

    Args:
        prefix: text before each score, such as "dev ".
        run, against: names of the first and of the second model.
        comparison: the comparison.
    """
    for title, (first, second, difference, ends) in {
        "macro F1": comparison.macro_f1,
        "accuracy": comparison.accuracy,
    }.items():
        say(
            f"{prefix}{title}: {first:.6f} for {run}, {second:.6f} for {against}, difference {difference:+.6f} "
            f"(95% interval {ends.low:+.4f} to {ends.high:+.4f})"
        )
    right = comparison.right
    say(
        f"{prefix}images: {comparison.images:,}; right for both {right.both:,}, only for {run} {right.only_run:,}, "
        f"only for {against} {right.only_against:,}, for neither {right.neither:,}",
        f"McNemar's exact test of the accuracies: p = {comparison.mcnemar_p:.3g}",
        f"the 95% interval of the difference in macro F1 {conclusion(run, against, comparison.macro_f1)}",
    )


def conclusion(run: str, against: str, macro_f1: Difference) -> str:
    """Return in words whether the interval of the difference in macro F1 excludes 0, and what follows."""
    low, high = macro_f1.interval
    if low <= 0 <= high:
        return "contains 0: these images do not show which of the two has the higher macro F1"
    return f"excludes 0: {run if low > 0 else against} has the higher macro F1 on images of this kind"
