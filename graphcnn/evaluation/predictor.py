"""Softmax outputs of an inference graph, computed in batches.

N images, H x W pixels, C channels of the features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from graphcnn.common.progress import say_if_slow
from graphcnn.data.batches import as_rgb, chunk_size, in_order, prefetch
from graphcnn.graphs.activation_size import largest_activation
from graphcnn.graphs.inference import InferenceGraph
from graphcnn.graphs.preprocess import MOST_VIEWS
from graphcnn.ops.tf1 import session as new_session
from graphcnn.ops.tf1 import tf, tf1
from graphcnn.storage import checkpoint

LARGEST_TENSOR = 1 << 28  # bytes of the largest activation of a batch; several of this size exist at a time


class Predictor(NamedTuple):
    """An inference graph with trained weights in an open session. Use it in a `with` block, which closes the session.

    Attributes:
        graph: the graph.
        session: an open session of the graph.
        saver: a Saver of the graph's variables.
        state: content of the restored checkpoint's state.json; empty if the weights do not come from a single run.
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

    def logits(
        self, images: np.ndarray, rows: np.ndarray, advance: Callable[[int], None] | None = None, tta: bool = False
    ) -> np.ndarray:
        """Return the logits, float32 [N, K]; see the function `probabilities`."""
        return _in_batches(self.session, self.graph.logits, _feeds(self.graph, images, rows, tta), advance)


def open_predictor(
    graph: InferenceGraph, load: Callable[[tf1.Session, tf1.train.Saver], Mapping[str, Any]]
) -> Predictor:
    """Finalise a graph, open a session of it and load its weights.

    Args:
        graph: an inference graph that is not finalised yet.
        load: load(session, saver) assigns the variables and returns the state of the Predictor.
    """
    with graph.graph.as_default():
        saver = checkpoint.saver(graph.variables)
    graph.graph.finalize()
    session = new_session(graph.graph)
    with say_if_slow("reading the weights"):
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
    """Return the softmax outputs for images in raw units, float32 [N, K], in the order of the images.

    Args:
        session: a session of the graph.
        graph: a graph with the tensors x, tta and hypothesis.
        images: [M, H, W], [M, H, W, 1] or [M, H, W, 3]; a memory-mapped file is read one batch at a time.
        rows: int [N], indices of the images to predict; None for all images.
        advance: called after each batch with its number of images, for a progress bar.
        tta: value that is fed to tta:0.
        features: None for images. If `images` holds cached features, float32 [M, C], the tensor to feed them to.
    """
    return _in_batches(session, graph.hypothesis, _feeds(graph, images, rows, tta, features), advance)


def _feeds(
    graph: InferenceGraph, images: np.ndarray, rows: np.ndarray | None, tta: bool, features: tf.Tensor | None = None
) -> Iterator[dict[tf.Tensor, Any]]:
    """Yield the feed of each batch; see `probabilities`."""
    rows = np.arange(len(images)) if rows is None else rows
    slices = in_order(rows, batch_size(graph, images.shape[1:3], tta) if features is None else chunk_size((1, 1)))
    for batch in prefetch(as_rgb(images[indices]) if features is None else images[indices] for indices in slices):
        yield {graph.x: batch, graph.tta: tta} if features is None else {features: batch}


def _in_batches(
    session: tf1.Session,
    tensor: tf.Tensor,
    feeds: Iterable[dict[tf.Tensor, Any]],
    advance: Callable[[int], None] | None,
) -> np.ndarray:
    """Return the values [N, ...] of a tensor for the batches of the feeds; see `probabilities`."""
    outputs = []
    for feed in feeds:
        outputs.append(session.run(tensor, feed))
        if advance:
            advance(len(outputs[-1]))
    return np.concatenate(outputs)


def batch_size(graph: InferenceGraph, image_shape: tuple[int, ...], tta: bool = False) -> int:
    """Return how many images of (H, W) a graph computes together, so that the largest activation is limited.

    All callers use it, because results of another batch size may round differently.
    """
    bytes_per_image = largest_activation(graph.hypothesis) * (MOST_VIEWS if tta else 1)
    return max(1, min(chunk_size(image_shape), LARGEST_TENSOR // max(1, bytes_per_image)))
