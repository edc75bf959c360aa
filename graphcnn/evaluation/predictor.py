"""Softmax outputs of an inference graph for many images, in batches.

N images, H x W pixels, C channels of the features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from graphcnn.data.batches import as_rgb, chunk_size, in_order, prefetch
from graphcnn.graphs.inference import InferenceGraph
from graphcnn.ops.tf1 import session as new_session
from graphcnn.ops.tf1 import tf, tf1
from graphcnn.storage import checkpoint


class Predictor(NamedTuple):
    """An inference graph whose variables have their trained values. Use it in a `with` block, which closes the session.

    Attributes:
        graph: the graph.
        session: an open session of it.
        saver: a Saver of the graph's variables.
        state: state.json of the restored checkpoint; empty for weights that are not of one run.
    """

    graph: InferenceGraph
    session: tf1.Session
    saver: tf1.train.Saver
    state: Mapping[str, Any]

    def __enter__(self) -> Predictor:
        self.session.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.__exit__(kind, error, trace)

    def probabilities(
        self,
        images: np.ndarray,
        rows: np.ndarray | None = None,
        advance: Callable[[int], None] | None = None,
        tta: bool = False,
    ) -> np.ndarray:
        """Return softmax outputs, float32 [N, K]; see the function `probabilities`."""
        return probabilities(self.session, self.graph, images, rows, advance, tta)


def open_predictor(
    graph: InferenceGraph, load: Callable[[tf1.Session, tf1.train.Saver], Mapping[str, Any]]
) -> Predictor:
    """Finalise a graph, open a session of it and fill its variables.

    Args:
        graph: an inference graph that is not finalised.
        load: load(session, saver) gives the variables their values; it returns the state of the Predictor.
    """
    with graph.graph.as_default():
        saver = checkpoint.saver(graph.variables)
    graph.graph.finalize()
    session = new_session(graph.graph)
    return Predictor(graph, session, saver, load(session, saver))


def probabilities(
    session: tf1.Session,
    graph: InferenceGraph,
    images: np.ndarray,
    rows: np.ndarray | None = None,
    advance: Callable[[int], None] | None = None,
    tta: bool = False,
    features: tf.Tensor | None = None,
) -> np.ndarray:
    """Return softmax outputs, float32 [N, K], of images in raw units, in order.

    Args:
        session: a session of the graph.
        graph: a graph with the tensors x, tta and hypothesis.
        images: [M, H, W], [M, H, W, 1] or [M, H, W, 3]; a memory-mapped file is read one batch at a time.
        rows: int [N], the rows of `images` to predict; None for all rows.
        advance: called with the number of images after each batch, for a progress bar.
        tta: value that is fed to tta:0.
        features: the tensor that a training graph's pooled head reads, if `images` holds values of it, float32 [M, C].
    """
    rows = np.arange(len(images)) if rows is None else rows
    size = images.shape[1:3] if features is None else (1, 1)
    slices = in_order(rows, chunk_size(size))  # always the same batch size, because another one may round differently
    outputs = []
    for batch in prefetch(as_rgb(images[each]) if features is None else images[each] for each in slices):
        feed = {graph.x: batch, graph.tta: tta} if features is None else {features: batch}
        outputs.append(session.run(graph.hypothesis, feed))
        if advance:
            advance(len(batch))
    return np.concatenate(outputs)
