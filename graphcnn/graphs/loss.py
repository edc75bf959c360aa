"""The loss: cross-entropy with label smoothing, auxiliary classifiers, L2. Letters in shapes: N batch, K classes."""

from __future__ import annotations

from collections.abc import Iterable

from graphcnn.nets.blocks import Auxiliary
from graphcnn.ops.tf1 import tf


def mean_cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return the mean cross-entropy of logits [N, K] and labels int32 [N], float32 []."""
    cross_entropies = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)  # [N]
    return tf.reduce_mean(cross_entropies)


def smooth_labels(cross_entropy: tf.Tensor, logits: tf.Tensor, smoothing: float) -> tf.Tensor:
    """Return the mean cross-entropy against smoothed labels, float32 [].

    Args:
        cross_entropy: mean cross-entropy against the labels, float32 [].
        logits: float32 [N, K].
        smoothing: probability that is spread evenly over all classes in the target.
    """
    if not smoothing:
        return cross_entropy
    uniform_cross_entropy = -tf.reduce_mean(tf.nn.log_softmax(logits))  # against the uniform distribution
    return (1 - smoothing) * cross_entropy + smoothing * uniform_cross_entropy


def weighted_cross_entropy(
    logits: tf.Tensor, labels: tf.Tensor, smoothing: float, class_weights: tf.Tensor
) -> tf.Tensor:
    """Return the mean over the images of the weight of the label's class times the cross-entropy, float32 [].

    The sum is divided by N, not by the sum of the weights. So the loss of a batch is the sum over its micro-batches.

    Args:
        logits: float32 [N, K].
        labels: int32 [N].
        smoothing: see smooth_labels.
        class_weights: float32 [K].
    """
    cross_entropies = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)  # [N]
    if smoothing:
        uniform = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=1)  # [N]
        cross_entropies = (1 - smoothing) * cross_entropies + smoothing * uniform
    return tf.reduce_mean(tf.gather(class_weights, labels) * cross_entropies)


def l2_penalty(factor: float, variables: Iterable[tf.Variable]) -> tf.Tensor:
    """Return factor * sum of ||w||^2 / 2 over the variables of rank > 1, float32 []."""
    if not factor:
        return tf.constant(0.0)
    with tf.name_scope("l2"):
        return factor * tf.add_n([tf.nn.l2_loss(w) for w in variables if w.shape.rank > 1])


def add_auxiliary(
    loss: tf.Tensor,
    auxiliary: Iterable[Auxiliary],
    labels: tf.Tensor,
    smoothing: float,
    class_weights: tf.Tensor | None = None,
) -> tf.Tensor:
    """Return the loss plus the weighted losses of the auxiliary classifiers, float32 [].

    Args:
        loss: float32 [].
        auxiliary: the auxiliary classifiers.
        labels: int32 [N].
        smoothing: see smooth_labels.
        class_weights: float32 [K]; None for equal weights.
    """
    for weight, logits in auxiliary:
        if class_weights is None:
            loss += weight * smooth_labels(mean_cross_entropy(logits, labels), logits, smoothing)
        else:
            loss += weight * weighted_cross_entropy(logits, labels, smoothing, class_weights)
    return loss
