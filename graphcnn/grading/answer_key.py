"""The true labels of the test images, and the scores of softmax outputs against them. N images, K classes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.data.labels import class_ids, training_labels
from graphcnn.data.npy import read_array
from graphcnn.evaluation import metrics
from graphcnn.evaluation.intervals import counted_intervals

ALL, PUBLIC, FINAL = "all", "public", "final"  # which test rows are scored
SCORES = ("macro_f1", "accuracy", "top2_accuracy")
RESOLUTION, PUBLIC_RESOLUTION = 1e-6, 0.01


@dataclass(frozen=True)
class AnswerKey:
    """The true labels, and which rows are scored.

    Attributes:
        labels: class ids, int32 [N].
        class_names: K names.
        public: whether a row belongs to the public fraction, bool [N]; None without --public.
        split: ALL, PUBLIC or FINAL, the rows that are scored.
        resolution: scores are rounded to multiples of this number.
    """

    labels: np.ndarray
    class_names: tuple[str, ...]
    public: np.ndarray | None
    split: str
    resolution: float

    @property
    def rows(self) -> np.ndarray:
        """The indices of the scored rows."""
        if self.public is None:
            return np.arange(len(self.labels))
        return np.flatnonzero(self.public if self.split == PUBLIC else ~self.public)

    @property
    def digits(self) -> int:
        """The number of decimals of the scores."""
        return max(2, math.ceil(-math.log10(self.resolution) - 1e-9))

    def identity(self) -> str:
        """Return a checksum of all that the scores depend on."""
        digest = hashlib.sha256(self.labels.tobytes())
        digest.update(repr((self.class_names, self.split, self.resolution)).encode())
        if self.public is not None:
            digest.update(self.public.tobytes())
        return digest.hexdigest()

    def score(self, probabilities: np.ndarray) -> dict[str, Any]:
        """Return the scores of softmax outputs, float [N, K], as JSON values.

        Returns:
            {"split", "rows", "macro_f1", "accuracy", "top2_accuracy", "intervals": {score: [low, high]}}. The scores of
            the public rows have no more, since more would reveal labels. Other scores have "classes", a table {class:
            {"precision", "recall", "f1", "images"}}; those of FINAL have "public", the scores of the public rows.
        """
        found = self._rounded(self.rows, probabilities) | {"split": self.split}
        if self.split != PUBLIC:
            found["classes"] = self._per_class(probabilities)
        if self.split == FINAL and self.public is not None:
            found["public"] = self._rounded(np.flatnonzero(self.public), probabilities)
        return found

    def _rounded(self, rows: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
        labels, outputs = self.labels[rows], probabilities[rows]
        confusion = metrics.confusion_counts(labels, outputs.argmax(axis=1), len(self.class_names))
        scores: Mapping[str, float] = {
            "macro_f1": metrics.macro_f1(confusion),
            "accuracy": metrics.accuracy(confusion),
            "top2_accuracy": metrics.top_k_accuracy(labels, outputs),
        }
        intervals = counted_intervals(labels, outputs)
        return {
            "rows": len(rows),
            **{name: self.round(score) for name, score in scores.items()},
            "intervals": {name: [self.round(end) for end in intervals[name]] for name in SCORES},
        }

    def round(self, score: float) -> float:
        """Return a score, rounded to a multiple of the resolution."""
        return round(round(score / self.resolution) * self.resolution, 9)

    def _per_class(self, probabilities: np.ndarray) -> dict[str, dict[str, float]]:
        """Return {class name: its precision, recall, F1 and number of images} over the scored rows; 0/0 counts as 0."""
        predicted = probabilities[self.rows].argmax(axis=1)
        confusion = metrics.confusion_counts(self.labels[self.rows], predicted, len(self.class_names))
        correct, given, images = np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
        columns = {"precision": (correct, given), "recall": (correct, images), "f1": (2 * correct, given + images)}
        fractions = {name: above / np.maximum(below, 1) for name, (above, below) in columns.items()}
        return {
            name: {
                **{each: self.round(float(values[k])) for each, values in fractions.items()},
                "images": int(images[k]),
            }
            for k, name in enumerate(self.class_names)
        }


def read_answer_key(
    path: str, classes: int | None, public: float | None, final: bool, resolution: float | None
) -> AnswerKey:
    """Return the AnswerKey of a .npy file of N labels.

    Args:
        path: the file. Its labels are numbers or strings as in the training, or one-hot rows.
        classes: K. None: each class has a label in the file.
        public: the fraction of the rows of each class that is public; None for no public rows.
        final: whether the rows that are not public are scored.
        resolution: of the scores. None: RESOLUTION, or PUBLIC_RESOLUTION while only public rows are scored.

    Raises:
        InputError: the file has no such labels, or a fraction leaves no row.
    """
    array = read_array(path)
    count = len(array) if array.ndim else 0
    if classes is None:
        labels = training_labels(array, path, count)
        ids, names = labels.class_ids, labels.class_names
    else:
        names = tuple(map(str, range(classes)))
        ids = class_ids(array, path, count, names, 0)
    is_public = None if public is None else _public_rows(ids, public)
    split = ALL if is_public is None else FINAL if final else PUBLIC
    if is_public is not None and is_public.all() | ~is_public.any():
        raise InputError(f"--public={public:g}: of {count} rows, {is_public.sum()} are public; choose another fraction")
    default = PUBLIC_RESOLUTION if split == PUBLIC else RESOLUTION
    return AnswerKey(ids, names, is_public, split, resolution or default)


def _public_rows(labels: np.ndarray, fraction: float) -> np.ndarray:
    """Return which rows are public, bool [N]: the same fraction of each class, rounded.

    The seed is a checksum of the labels. So the choice is always the same, and only a person who knows the labels can
    repeat it.
    """
    seed = int.from_bytes(hashlib.sha256(b"graphcnn public rows" + labels.tobytes()).digest()[:8], "big")
    generator, public = np.random.default_rng(seed), np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        public[generator.permutation(rows)[: round(fraction * len(rows))]] = True
    return public
