"""BatchSlice: the rows of a step's global batch that a tensor holds.

A worker or a micro-batch has some rows of a global batch. A BatchSlice computes what depends on the other rows as well:
random masks are drawn for the global batch, and batch norm uses the moments of the global batch. Letters in shapes:
N rows of the slice, H W height and width, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from graphcnn.ops.tf1 import tf, tf1

Normalised = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # x normalised, mean [C], unbiased variance [C]


class BatchSlice:
    """All rows of the global batch; subclasses hold some of them."""

    def size(self, labels: tf.Tensor) -> tf.Tensor:
        """Return the number of rows of the global batch, int32 [], for this slice's labels [N]."""
        return tf.size(labels)

    def scale(self, mean: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Return `mean` times the fraction of the global batch that is in this slice, float32 [].

        The sum of the results over all slices is the mean over the global batch.

        Args:
            mean: mean over the rows of this slice, float32 [].
            labels: labels of this slice, [N].
        """
        del labels
        return mean

    def uniform(self, shape: tf.Tensor | Sequence[int | tf.Tensor], seed: tf.Tensor) -> tf.Tensor:
        """Draw uniform numbers in [0, 1) for the global batch, and return the rows of this slice.

        Args:
            shape: shape of the result; its first axis is the rows of this slice.
            seed: int64 [2], see layers.stateless_seed.
        """
        return tf.random.stateless_uniform(shape, seed)

    def normalize(self, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> Normalised:
        """Return x normalised by the moments of the global batch, and these moments.

        Args:
            x: [N, H, W, C] or [N, C].
            gamma, beta: scale and offset, float32 [C].
            epsilon: added to the variance.

        Returns: (normalised x, mean [C], variance [C] times n / (n - 1), where n is the number of values in a channel).
        """
        return fused_batch_norm(x, gamma, beta, epsilon)


WHOLE_BATCH = BatchSlice()
BFLOAT16_CHANNELS = 16  # numbers of bfloat16 that oneDNN normalises at once


@dataclass(frozen=True)
class MicroBatchSlice(BatchSlice):
    """The rows of a micro-batch. The other rows of the global batch are computed before or after them.

    Args:
        first: index of the first row, int32.
        global_size: number of rows of the global batch, int32.
    """

    first: tf.Tensor  # []
    global_size: tf.Tensor  # []

    def size(self, labels: tf.Tensor) -> tf.Tensor:
        """Return the number of rows of the global batch, int32 []; see BatchSlice."""
        del labels
        return self.global_size

    def scale(self, mean: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Return `mean` times the fraction of the global batch in this slice, float32 []; see BatchSlice."""
        return mean * tf.cast(tf.size(labels) / self.global_size, tf.float32)

    def uniform(self, shape: tf.Tensor | Sequence[int | tf.Tensor], seed: tf.Tensor) -> tf.Tensor:
        """Draw uniform numbers for the global batch, and return the rows of this slice; see BatchSlice."""
        rows = tf.random.stateless_uniform(tf.concat([[self.global_size], shape[1:]], axis=0), seed)
        return rows[self.first : self.first + shape[0]]

    def normalize(self, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> Normalised:
        """Raise a ValueError; validate refuses batch norm with micro-batches."""
        raise ValueError("a micro-batch has no moments of its global batch; batch norm needs the global batch at once")


@dataclass(frozen=True)
class WorkerSlice(MicroBatchSlice):
    """The rows of a worker. The other rows of the global batch are on other workers at the same time.

    Args:
        sum_over_workers: returns the sum of a float32 tensor over all workers. Its gradient is also a sum over workers.
    """

    sum_over_workers: Callable[[tf.Tensor], tf.Tensor]

    def normalize(self, x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> Normalised:
        """Return x normalised by the moments of the global batch, and these moments; see BatchSlice."""
        axes = list(range(x.shape.rank - 1))
        values = tf.cast(x, tf.float32)
        count = tf.cast(self.global_size, tf.float32) * float(np.prod(x.shape[1:-1], dtype=int))  # values in a channel
        mean = self.sum_over_workers(tf.reduce_sum(values, axes)) / count  # [C]
        variance = self.sum_over_workers(tf.reduce_sum(tf.square(values - mean), axes)) / count  # [C]
        y = tf.cast((values - mean) * (tf.math.rsqrt(variance + epsilon) * gamma) + beta, x.dtype)
        return y, mean, variance * count / tf.maximum(count - 1, 1)


def fused_batch_norm(
    x: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    epsilon: float,
    moments: tuple[tf.Tensor, tf.Tensor] | None = None,
) -> Normalised:
    """Return x normalised by TensorFlow's fused batch norm, and the moments.

    In bfloat16, batch norm of a number of channels that is not a multiple of BFLOAT16_CHANNELS takes more than ten
    times as long. It is then computed in float32.

    Args:
        x, gamma, beta, epsilon: see BatchSlice.normalize.
        moments: (mean [C], variance [C]) to normalise by; None for the moments of x.
    """
    if x.dtype.base_dtype == tf.bfloat16 and int(x.shape[-1]) % BFLOAT16_CHANNELS:
        y, *moments_of_x = fused_batch_norm(tf.cast(x, tf.float32), gamma, beta, epsilon, moments)
        return tf.cast(y, x.dtype), *moments_of_x
    flat = x.shape.rank == 2
    mean, variance = moments or (None, None)
    y, mean, variance = tf1.nn.fused_batch_norm(
        x[:, None, None] if flat else x,
        gamma,
        beta,
        mean=mean,
        variance=variance,
        epsilon=epsilon,
        is_training=moments is None,
    )
    return (y[:, 0, 0] if flat else y), mean, variance
