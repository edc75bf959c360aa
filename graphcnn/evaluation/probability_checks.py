"""Checks of softmax outputs from a file. N images, K classes."""

from __future__ import annotations

import numpy as np

from graphcnn.common.errors import InputError

SUM_TOLERANCE = 1e-3  # largest difference between the sum of a row and 1


def check_probabilities(probabilities: np.ndarray, path: str) -> None:
    """Refuse an array, float [N, K], unless each row is a probability distribution.

    Args:
        probabilities: the array.
        path: its file, for the message.

    Raises:
        InputError: a row has other numbers, or its sum is not 1.
    """
    is_wrong = ~(np.isfinite(probabilities) & (probabilities >= 0)).all(axis=1)
    if is_wrong.any():
        row = int(is_wrong.argmax())
        raise InputError(f"{path}: row {row} holds negative, NaN or infinite numbers, expected probabilities")
    sums = probabilities.sum(axis=1, dtype=np.float64)
    if np.abs(sums - 1).max() > SUM_TOLERANCE:
        row = int(np.abs(sums - 1).argmax())
        raise InputError(f"{path}: row {row} sums to {sums[row]:g}, expected 1; apply softmax to it")
