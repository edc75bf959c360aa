"""Scores of a whole split, from its confusion counts and softmax outputs. N images, K classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def confusion_counts(labels: ArrayLike, predictions: ArrayLike, classes: int) -> np.ndarray:
    """Return how often each class was predicted for each true class, int64 [K, K].

    Args:
        labels: int [N], the true classes. Each class is a row of the result.
        predictions: int [N], the predicted classes. Each class is a column of the result.
        classes: K.
    """
    cells = np.asarray(labels, np.int64) * classes + np.asarray(predictions, np.int64)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def macro_f1(confusion: np.ndarray) -> float:
    """Return the unweighted mean over all K classes of F1 = 2 TP / (2 TP + FP + FN); 0/0 counts as 0.

    It equals scikit-learn's f1_score(average="macro", labels=range(K), zero_division=0).

    Args:
        confusion: confusion counts, int64 [K, K].
    """
    return float(macro_f1_of_counts(np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)))


def macro_f1_of_counts(correct: np.ndarray, predicted: np.ndarray, labelled: np.ndarray) -> np.ndarray:
    """Return the macro F1, float64 [...], from the counts of each class; see macro_f1.

    Args:
        correct: number of images that were correctly predicted as this class, int64 [K, ...].
        predicted: number of images that were predicted as this class, int64 [K, ...].
        labelled: number of images of this class, int64 [K, ...].
    """
    true_positives = correct.astype(np.float64)
    occurrences = predicted + labelled
    zeros = np.zeros_like(true_positives)
    return np.mean(np.divide(2 * true_positives, occurrences, out=zeros, where=occurrences > 0), axis=0)


def accuracy(confusion: np.ndarray) -> float:
    """Return the fraction of correct predictions, from the confusion counts [K, K]."""
    return float(np.trace(confusion) / confusion.sum())


def top_k_accuracy(labels: ArrayLike, probabilities: ArrayLike, k: int = 2) -> float:
    """Return the fraction of images whose label is among the k most probable classes; see in_top_k."""
    return float(np.mean(in_top_k(labels, probabilities, k)))


def in_top_k(labels: ArrayLike, probabilities: ArrayLike, k: int = 2) -> np.ndarray:
    """Return for each image whether its label is among the k most probable classes, bool [N].

    Args:
        labels: int [N].
        probabilities: float [N, K]. If two classes are equally probable, the lower class id ranks first.
        k: number of classes.
    """
    ranked = np.argsort(-np.asarray(probabilities), axis=1, kind="stable")[:, :k]
    return (ranked == np.asarray(labels)[:, None]).any(axis=1)


def cross_entropy(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the mean of -ln p(label), in nats; see label_losses."""
    return float(np.mean(label_losses(labels, probabilities)))


def label_losses(labels: ArrayLike, probabilities: ArrayLike) -> np.ndarray:
    """Return -ln p(label) of each image in nats, float64 [N].

    Args:
        labels: int [N].
        probabilities: float [N, K]. Values below the smallest normal float32 number are raised to it.
    """
    labels = np.asarray(labels)
    label_probabilities = np.asarray(probabilities)[np.arange(len(labels)), labels].astype(np.float64)
    return -np.log(np.maximum(label_probabilities, np.finfo(np.float32).tiny))


def summary(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """Return {"macro_f1", "accuracy", "top2_accuracy", "cross_entropy": float, "confusion": int64 [K, K]}.

    Args:
        labels: int [N].
        probabilities: float [N, K].
    """
    confusion = confusion_counts(labels, np.argmax(probabilities, axis=1), probabilities.shape[1])
    return {
        "macro_f1": macro_f1(confusion),
        "accuracy": accuracy(confusion),
        "top2_accuracy": top_k_accuracy(labels, probabilities),
        "cross_entropy": cross_entropy(labels, probabilities),
        "confusion": confusion,
    }
