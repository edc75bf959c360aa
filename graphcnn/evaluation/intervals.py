"""95% intervals of scores, by bootstrap: percentiles of a score over random resamples of the images.

A resample has as many images as the original, drawn with replacement. The images of each true class are resampled
separately (stratified), so their number stays fixed. N images, K classes, P predictors, D draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from graphcnn.common.progress import bar
from graphcnn.evaluation.metrics import in_top_k, label_losses, macro_f1_of_counts

DRAWS = 9_999
PERCENTILES = (0.025, 0.975)
SEED = 95  # fixed, so that the same predictions always have the same intervals
BLOCK_COUNTS = 1 << 20  # largest number of counts in memory at the same time


class Interval(NamedTuple):
    """The lower and the upper end of an interval."""

    low: float
    high: float


class Outcomes(NamedTuple):
    """The different predictions for the images of one true class.

    Attributes:
        label: the true class.
        predicted: the different tuples of predicted classes, one class for each predictor.
        counts: number of images with each tuple, int64 [len(predicted)].
    """

    label: int
    predicted: list[tuple[int, ...]]
    counts: np.ndarray


class Draws(NamedTuple):
    """The scores of each predictor on each resample, float64 [P, D] each."""

    macro_f1: np.ndarray
    accuracy: np.ndarray


def score_intervals(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Interval]:
    """Return {score: its 95% interval} for each score of metrics.summary.

    Args:
        labels: int [N].
        probabilities: float [N, K].
    """
    return {
        **counted_intervals(labels, probabilities),
        "cross_entropy": _interval_of_mean(labels, label_losses(labels, probabilities)),
    }


def counted_intervals(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Interval]:
    """Return {score: its 95% interval} of the scores that count images; see score_intervals. It needs no SciPy."""
    draws = resampled_scores(labels, probabilities.argmax(axis=1)[None], probabilities.shape[1])
    return {
        "macro_f1": interval(draws.macro_f1[0]),
        "accuracy": interval(draws.accuracy[0]),
        "top2_accuracy": interval(_resampled_fraction(labels, in_top_k(labels, probabilities))),
    }


def interval(draws: np.ndarray) -> Interval:
    """Return the 95% percentile interval of a score, from its values on the resamples, float [D]."""
    low, high = np.quantile(draws, PERCENTILES)
    return Interval(float(low), float(high))


def resampled_scores(labels: np.ndarray, predictions: np.ndarray, classes: int) -> Draws:
    """Return the scores of predictors on the same random resamples of the images.

    The images of a true class are not drawn one by one. The numbers of images with each tuple of predicted classes have
    a multinomial distribution, so one draw of these numbers is a resample.

    Args:
        labels: int [N].
        predictions: the classes that each predictor predicts, int [P, N].
        classes: K.
    """
    outcomes = _outcomes(labels, predictions, classes)
    labelled = np.bincount(labels, minlength=classes)[:, None]
    draws = Draws(*np.empty((2, len(predictions), DRAWS)))
    largest = max(2 * len(predictions) * classes, *(len(group.counts) for group in outcomes))
    block = max(1, BLOCK_COUNTS // largest)
    generator = np.random.default_rng([SEED])
    with bar("95% intervals", DRAWS) as advance:
        for first in range(0, DRAWS, block):
            chosen = slice(first, min(first + block, DRAWS))
            correct, predicted = _draw(outcomes, (len(predictions), classes, chosen.stop - first), generator)
            for p in range(len(predictions)):
                draws.macro_f1[p, chosen] = macro_f1_of_counts(correct[p], predicted[p], labelled)
                draws.accuracy[p, chosen] = correct[p].sum(axis=0) / len(labels)
            advance(chosen.stop - first)
    return draws


def _outcomes(labels: np.ndarray, predictions: np.ndarray, classes: int) -> list[Outcomes]:
    """Return the Outcomes of each class that has images; see resampled_scores."""
    shape = (classes,) * (1 + len(predictions))
    codes, counts = np.unique(np.ravel_multi_index((labels, *predictions), shape), return_counts=True)
    true, *predicted = np.unravel_index(codes, shape)
    tuples = list(zip(*(column.tolist() for column in predicted), strict=True))
    ids, firsts = np.unique(true, return_index=True)
    ends = [*firsts[1:].tolist(), len(codes)]
    return [
        Outcomes(label, tuples[first:end], counts[first:end])
        for label, first, end in zip(ids.tolist(), firsts.tolist(), ends, strict=True)
    ]


def _draw(
    outcomes: Sequence[Outcomes], shape: tuple[int, int, int], generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw resamples; return the numbers of correct predictions and of all predictions of each class, int64 [P, K, D].

    Args:
        outcomes: the Outcomes of each class.
        shape: (P, K, D).
        generator: source of the draws.
    """
    correct, predicted = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for label, tuples, counts in outcomes:
        size = int(counts.sum())
        drawn = generator.multinomial(size, counts / size, size=shape[2]).T  # [len(tuples), D]
        for classes, numbers in zip(tuples, drawn, strict=True):
            for p, k in enumerate(classes):
                predicted[p, k] += numbers
                if k == label:
                    correct[p, k] += numbers
    return correct, predicted


def _resampled_fraction(labels: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Return the fraction of hits (bool [N]) on each resample, float64 [D]. A class has a binomial number of hits."""
    generator = np.random.default_rng([SEED])
    total = np.zeros(DRAWS)
    for size, hit in zip(np.bincount(labels).tolist(), np.bincount(labels, weights=hits).tolist(), strict=True):
        if size:
            total += generator.binomial(size, hit / size, size=DRAWS)
    return total / len(labels)


def _interval_of_mean(labels: np.ndarray, losses: np.ndarray) -> Interval:
    """Return the 95% interval of the mean of the losses, float [N], without draws.

    The mean, the variance and the skewness of the mean over all resamples are known exactly. Its distribution is
    approximated by the Pearson type III distribution (a shifted gamma distribution) with the same three numbers. With
    10,000 images, thousands of draws would take seconds and have a larger error.
    """
    from scipy.stats import pearson3

    sizes = np.maximum(np.bincount(labels), 1)
    deviations = losses - (np.bincount(labels, weights=losses) / sizes)[labels]
    mean, variance = float(np.mean(losses)), float(np.sum(deviations**2)) / len(losses) ** 2
    if variance == 0:
        return Interval(mean, mean)
    skewness = float(np.sum(deviations**3)) / len(losses) ** 3 / variance**1.5
    low, high = pearson3.ppf(PERCENTILES, skewness, mean, variance**0.5).tolist()
    return Interval(max(0.0, low), high)
