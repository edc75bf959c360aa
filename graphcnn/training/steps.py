"""The training step in three variants: on a whole batch, on micro-batches, or with several workers.

Each variant divides a batch into slices and runs one slice at a time. N images, H x W pixels, C features.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from graphcnn.data import batches
from graphcnn.graphs.training import TrainingGraph
from graphcnn.ops.tf1 import tf, tf1
from graphcnn.training.workers import Workers


class Batch(NamedTuple):
    """The slice of a batch that one call of `step` trains on; it may be the whole batch.

    Args:
        inputs: images in raw units, float32 [N, H, W, 3], or cached features of a frozen backbone, float32 [N, C].
        labels: class ids, int32 [N].
        first: position of the slice's first image in the whole batch.
        size: number of images in the whole batch.
    """

    inputs: np.ndarray
    labels: np.ndarray
    first: int
    size: int


class StepResult(NamedTuple):
    """The result of one call of `step`.

    Args:
        loss: mean cross-entropy plus penalties of a batch; for a micro-batch, its summand of this loss.
        cross_entropy: mean cross-entropy of the images, in nats.
        correct: number of images whose largest logit is that of the true class.
        images: number of images that the result is computed from.
        stop: number of the signal that asks the training to stop; 0 for none.
    """

    loss: float
    cross_entropy: float
    correct: int
    images: int
    stop: int


class Step(Protocol):
    """A variant of the training step."""

    def slices(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (position of the first image, image indices) for each slice of a batch that this process trains on."""
        ...

    def __call__(self, batch: Batch, stop_requested: int) -> StepResult:
        """Train on one slice; update the weights after the last slice of a batch."""
        ...


class WholeStep:
    """Each batch is one slice and one update."""

    def __init__(self, session: tf1.Session, graph: TrainingGraph, inputs: tf.Tensor, keep_prob: float) -> None:
        """Prepare the step.

        Args:
            session: open session of the graph.
            graph: the training graph.
            inputs: the tensor that batches are fed to: the graph's x, or its features.
            keep_prob: probability of keeping a unit in dropout.
        """
        self.session, self.graph, self.inputs, self.keep_prob = session, graph, inputs, keep_prob

    def slices(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the batch as one slice."""
        yield 0, rows

    def __call__(self, batch: Batch, stop_requested: int) -> StepResult:
        """Train on a whole batch."""
        graph = self.graph
        fetches = [graph.loss, graph.cross_entropy, graph.correct, graph.train_op]
        loss, cross_entropy, correct, _ = self.session.run(fetches, self._feed(batch))
        return StepResult(loss, cross_entropy, int(correct), len(batch.labels), stop_requested)

    def _feed(self, batch: Batch) -> dict[Any, Any]:
        return {self.inputs: batch.inputs, self.graph.y: batch.labels, self.graph.keep_prob: self.keep_prob}

    def _feed_slice(self, batch: Batch) -> dict[Any, Any]:
        assert self.graph.batch_slice is not None
        return {
            **self._feed(batch),
            self.graph.batch_slice.first: batch.first,
            self.graph.batch_slice.size: batch.size,
        }


class MicroBatchStep(WholeStep):
    """The gradients of a batch are summed over micro-batches of `size` images, then applied once."""

    def __init__(
        self, session: tf1.Session, graph: TrainingGraph, inputs: tf.Tensor, keep_prob: float, size: int
    ) -> None:
        """Prepare the step; size: number of images in a micro-batch. See WholeStep."""
        super().__init__(session, graph, inputs, keep_prob)
        self.size = size

    def slices(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield slices of `size` images; the last slice may be smaller."""
        yield from batches.micro_batches(rows, self.size)

    def __call__(self, batch: Batch, stop_requested: int) -> StepResult:
        """Add the gradients of a slice to the sums; apply them after the batch's last slice."""
        graph, accumulation = self.graph, self.graph.accumulation
        assert accumulation is not None
        if batch.first == 0:
            self.session.run(accumulation.reset)
        fetches = [graph.loss, graph.cross_entropy, graph.correct, accumulation.add]
        loss, cross_entropy, correct, _ = self.session.run(fetches, self._feed_slice(batch))
        if batch.first + len(batch.labels) == batch.size:
            self.session.run(graph.train_op)
        return StepResult(loss, cross_entropy, int(correct), len(batch.labels), stop_requested)


class AllReduceStep(WholeStep):
    """Each worker computes the gradients of its slice; each worker then applies the sums over all workers."""

    def __init__(
        self, session: tf1.Session, graph: TrainingGraph, inputs: tf.Tensor, keep_prob: float, workers: Workers
    ) -> None:
        """Prepare the step; workers: the workers that train together. See WholeStep."""
        super().__init__(session, graph, inputs, keep_prob)
        self.workers = workers

    def slices(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield this worker's slice of the batch."""
        yield self.workers.slice_of(rows)

    def __call__(self, batch: Batch, stop_requested: int) -> StepResult:
        """Train on this worker's slice together with the other workers; return the result of the whole batch."""
        graph, workers = self.graph, self.workers
        feed = {**self._feed_slice(batch), workers.stop_request: float(bool(stop_requested))}
        fetches = [graph.loss, graph.cross_entropy, graph.correct, workers.stop_requests, graph.train_op]
        loss, cross_entropy, correct, stops, _ = workers.run(self.session, fetches, feed)
        stop = (stop_requested or signal.SIGINT) if stops > 0 else 0  # another worker may have got the signal
        return StepResult(loss, cross_entropy, int(correct), batch.size, stop)
