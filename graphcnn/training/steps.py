"""One training step in three forms: on a whole batch, on micro-batches, or with other workers.

Each form says how it slices a batch and runs one slice; the loop sees no difference. N rows, H x W pixels, C features.
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
    """The rows of a step's batch that one call of `step` trains on: all of them, or a slice.

    Args:
        inputs: images in raw units, float32 [N, H, W, 3], or cached features of a frozen backbone, float32 [N, C].
        labels: class ids, int32 [N].
        first: position of the slice's first row in the whole batch.
        size: number of rows in the whole batch.
    """

    inputs: np.ndarray
    labels: np.ndarray
    first: int
    size: int


class StepResult(NamedTuple):
    """What one call of `step` gives.

    Args:
        loss: mean cross-entropy plus penalties; of a micro-batch its fraction of the batch's loss.
        cross_entropy: mean cross-entropy of the rows, in nats.
        correct: number of rows whose largest logit is the right one.
        rows: number of rows that these values are of.
        stop: number of the signal that asks the training to stop; 0 for none.
    """

    loss: float
    cross_entropy: float
    correct: int
    rows: int
    stop: int


class Step(Protocol):
    """A form of the training step."""

    def slices(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (position of its first row, row indices) of the slices of a batch that this process trains on."""
        ...

    def __call__(self, batch: Batch, stop_requested: int) -> StepResult:
        """Train on one slice; the last slice of a batch updates the weights."""
        ...


class WholeStep:
    """Each batch is one slice and one update."""

    def __init__(self, session: tf1.Session, graph: TrainingGraph, inputs: tf.Tensor, keep_prob: float) -> None:
        """Prepare the step.

        Args:
            session: open session of the graph.
            graph: the training graph.
            inputs: the tensor that batches are fed to, the graph's x or its features.
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
    """The gradients of a batch are summed over slices of `size` rows, then applied once."""

    def __init__(
        self, session: tf1.Session, graph: TrainingGraph, inputs: tf.Tensor, keep_prob: float, size: int
    ) -> None:
        """Prepare the step; size: rows of a micro-batch. See WholeStep."""
        super().__init__(session, graph, inputs, keep_prob)
        self.size = size

    def slices(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield slices of `size` rows; the last one may be shorter."""
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
    """Each worker computes the gradients of its slice; the sums over all workers are applied by each of them."""

    def __init__(
        self, session: tf1.Session, graph: TrainingGraph, inputs: tf.Tensor, keep_prob: float, workers: Workers
    ) -> None:
        """Prepare the step; workers: those that train together. See WholeStep."""
        super().__init__(session, graph, inputs, keep_prob)
        self.workers = workers

    def slices(self, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield this worker's slice of the batch."""
        yield self.workers.slice_of(rows)

    def __call__(self, batch: Batch, stop_requested: int) -> StepResult:
        """Train on this worker's slice together with the others; the result is of the whole batch."""
        graph, workers = self.graph, self.workers
        feed = {**self._feed_slice(batch), workers.stop_request: float(bool(stop_requested))}
        fetches = [graph.loss, graph.cross_entropy, graph.correct, workers.stop_requests, graph.train_op]
        loss, cross_entropy, correct, stops, _ = self.session.run(fetches, feed, workers.run_options)
        stop = (stop_requested or signal.SIGINT) if stops > 0 else 0  # another worker may have got the signal
        return StepResult(loss, cross_entropy, int(correct), batch.size, stop)
