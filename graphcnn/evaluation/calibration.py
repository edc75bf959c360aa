"""How well probabilities agree with the fractions of correct predictions. N images, K classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BINS = 15  # as in Guo et al. 2017, "On Calibration of Modern Neural Networks"


class Bin(NamedTuple):
    """The images whose confidence, the largest probability, is in one interval.

    Attributes:
        low, high: the interval low < confidence <= high.
        images: number of images.
        confidence: mean confidence of the images; None without images.
        accuracy: fraction of correct predictions; None without images.
    """

    low: float
    high: float
    images: int
    confidence: float | None
    accuracy: float | None


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> list[Bin]:
    """Return BINS bins of equal width.

    Args:
        labels: int [N].
        probabilities: float [N, K].
    """
    confidences = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, BINS + 1)
    indices = np.clip(np.searchsorted(edges, confidences, side="left") - 1, 0, BINS - 1)
    bins = []
    for n, (low, high) in enumerate(zip(edges.tolist(), edges[1:].tolist(), strict=False)):
        chosen = indices == n
        images = int(chosen.sum())
        means = (float(confidences[chosen].mean()), float(correct[chosen].mean())) if images else (None, None)
        bins.append(Bin(low, high, images, *means))
    return bins


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Return the mean over all images of |accuracy - confidence| of their bins."""
    gaps = 0.0
    for _, _, images, confidence, accuracy in bins:
        if confidence is not None and accuracy is not None:
            gaps += images * abs(accuracy - confidence)
    return gaps / sum(each.images for each in bins)
