"""Whether a net learns nothing: after the warm-up, its loss stays where guessing is."""

from __future__ import annotations

import math

import numpy as np

from graphcnn.config.recipe import Recipe
from graphcnn.storage.run import HistoryRow

WINDOW_STEPS = 20  # smallest number of steps in a window; a mean over fewer steps fluctuates too much
SMALLEST_FALL = 0.005  # smallest fraction by which the loss of a learning net falls from one window to the next one
GUESSING = 0.98  # a net whose cross-entropy is below this fraction of the guessing level has learned something


class LearningCheck:
    """Compares the cross-entropy of the last two windows. A window is one or more whole epochs after the warm-up.

    Args:
        recipe: the settings of the stage.
        labels: labels of the training images, int [N].
        epochs_before: number of epochs before the stage.
    """

    def __init__(self, recipe: Recipe, labels: np.ndarray, epochs_before: int) -> None:
        steps = math.ceil(len(labels) / recipe.batch_size)
        frequencies = np.bincount(labels) / len(labels)
        frequencies = frequencies[frequencies > 0]
        self._largest = float(frequencies.max())
        self.guessing = float(-np.sum(frequencies * np.log(frequencies)))  # nats, if outputs are class frequencies
        self._first = epochs_before + 1 + math.ceil(recipe.warmup_steps / steps)  # first whole epoch after the warm-up
        self._window = math.ceil(WINDOW_STEPS / steps)
        self._cross_entropies: list[float] = []
        self._ended = False

    def epochs_without_progress(self, row: HistoryRow) -> int:
        """Add an epoch; return the number of the last epochs in which the net has learned nothing, 0 if it has learned.

        After the first number above 0, or once the cross-entropy is clearly below the guessing level, it returns 0.

        Args:
            row: the epoch's row of history.csv.
        """
        if self._ended or row["epoch"] < self._first:
            return 0
        self._cross_entropies.append(row["cross_entropy"])
        window = self._window
        if len(self._cross_entropies) < window:
            return 0
        level = _mean(self._cross_entropies[-window:])
        self._ended = level < GUESSING * self.guessing
        is_better = (row["dev_accuracy"] or 0) > 1.5 * self._largest  # strong dropout raises the cross-entropy
        if self._ended or is_better or len(self._cross_entropies) < 2 * window:
            return 0
        self._ended = level > (1 - SMALLEST_FALL) * _mean(self._cross_entropies[-2 * window : -window])
        return 2 * window * self._ended


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
