"""Scores of a whole split, from its confusion counts and its probabilities. K = number of classes."""

import numpy as np


def confusion_counts(labels, predictions, classes):
    """Return int64 counts [K, K]: row = true class, column = predicted class."""
    cells = np.asarray(labels, np.int64) * classes + np.asarray(predictions, np.int64)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def macro_f1(confusion):
    """Return the unweighted mean over all K classes of F1 = 2 TP / (2 TP + FP + FN), 0 where that is 0/0.

    Equals scikit-learn's f1_score(average="macro", labels=range(K), zero_division=0).
    """
    hits = np.diag(confusion).astype(np.float64)
    occurrences = confusion.sum(axis=0) + confusion.sum(axis=1)
    return float(np.mean(np.divide(2 * hits, occurrences, out=np.zeros_like(hits), where=occurrences > 0)))


def accuracy(confusion):
    """Return the share of rows on the diagonal."""
    return float(np.trace(confusion) / confusion.sum())


def top_k_accuracy(labels, probabilities, k=2):
    """Return the share of rows whose label is among the k most probable classes (ties: the lower class id wins)."""
    ranked = np.argsort(-np.asarray(probabilities), axis=1, kind="stable")[:, :k]
    return float(np.mean((ranked == np.asarray(labels)[:, None]).any(axis=1)))


def cross_entropy(labels, probabilities):
    """Return the mean of -ln p(label) in nats; p is bounded below by float32's smallest normal number."""
    picked = np.asarray(probabilities)[np.arange(len(labels)), np.asarray(labels)].astype(np.float64)
    return float(np.mean(-np.log(np.maximum(picked, np.finfo(np.float32).tiny))))


def summary(labels, probabilities):
    """Return every score that eval writes: macro_f1, accuracy, top2_accuracy, cross_entropy, confusion [K, K]."""
    confusion = confusion_counts(labels, np.argmax(probabilities, axis=1), probabilities.shape[1])
    return {
        "macro_f1": macro_f1(confusion),
        "accuracy": accuracy(confusion),
        "top2_accuracy": top_k_accuracy(labels, probabilities),
        "cross_entropy": cross_entropy(labels, probabilities),
        "confusion": confusion,
    }
