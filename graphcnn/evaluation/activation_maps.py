"""Class activation maps: which positions of an image support a class.

CAM (Zhou et al., arXiv 1512.04150, equation 2) is for nets in which only a global average pool and one dense layer
follow the last feature maps f [H, W, C]: M = sum_c w[c, k] f[..., c]. The logit of class k is the mean of M plus the
bias of class k. Grad-CAM (Selvaraju et al., arXiv 1610.02391, equations 1 and 2) is for all other nets: M = ReLU(sum_c
a[c] f[..., c]), where a[c] is the mean over all positions of the gradient of the logit with respect to f[..., c].

N images, H x W positions and C channels of the last feature maps, K classes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from graphcnn.data.batches import in_order
from graphcnn.evaluation.predictor import Predictor, batch_size
from graphcnn.graphs.inference import InferenceGraph
from graphcnn.ops.tf1 import tf, tf1

LINEAR = {  # operations that CAM allows between feature maps and logits, besides a mean; dropout has the last four
    "MatMul", "BiasAdd", "Identity", "Cast", "Reshape", "Squeeze", "StridedSlice", "Merge", "Switch", "If",
    "StatelessIf",
}  # fmt: skip
SOURCES = {"CAM": "arXiv 1512.04150, equation 2", "Grad-CAM": "arXiv 1610.02391, equations 1 and 2"}
POOLS = ("MaxPool", "AvgPool")  # the input of a pool that precedes a flatten has more positions than its output
GRADIENT_COST = 8  # memory of an image: the gradient needs all activations, a prediction only some at a time


class ActivationMaps(NamedTuple):
    """The tensors that compute activation maps.

    Attributes:
        target: int32 [N], a placeholder for the class of each map.
        maps: the activation maps, float32 [N, H, W].
        method: "CAM" or "Grad-CAM".
    """

    target: tf.Tensor
    maps: tf.Tensor
    method: str


def add_activation_maps(graph: InferenceGraph) -> ActivationMaps:
    """Add activation maps to an inference graph that is not finalised yet."""
    with graph.graph.as_default():
        target = tf1.placeholder(tf.int32, [None], name="target")
        last_maps, method = _last_maps(graph.logits)
        one_hot = tf.one_hot(target, int(graph.logits.shape[1]))
        gradient = tf1.gradients(tf.reduce_sum(one_hot * graph.logits), last_maps)[0]
        weights = tf.reduce_mean(gradient, axis=[1, 2], keepdims=True)
        maps = tf.reduce_sum(weights * last_maps, axis=3)
        if method == "CAM":  # the gradient of a mean is the weight of the dense layer, divided by H * W
            maps *= float(last_maps.shape[1] * last_maps.shape[2])
        else:
            maps = tf.nn.relu(maps)
        return ActivationMaps(target, maps, method)


def compute_maps(
    predictor: Predictor, activation_maps: ActivationMaps, images: np.ndarray, targets: np.ndarray
) -> np.ndarray:
    """Return the activation map of each image for its target class, float32 [N, h, w].

    Args:
        predictor: predictor of the graph that contains the activation maps.
        activation_maps: result of add_activation_maps for this graph.
        images: [N, H, W, 3] in raw units.
        targets: int [N], class ids.
    """
    size = max(1, batch_size(predictor.graph, images.shape[1:3]) // GRADIENT_COST)
    slices = in_order(np.arange(len(images)), size)
    feeds = ({predictor.graph.x: images[each], activation_maps.target: targets[each]} for each in slices)
    return np.concatenate([predictor.session.run(activation_maps.maps, feed) for feed in feeds])


def _last_maps(logits: tf.Tensor) -> tuple[tf.Tensor, str]:
    """Return (the last feature maps larger than 1x1, [N, H, W, C]; "CAM" or "Grad-CAM")."""
    seen: set[tf.Operation] = set()
    queue: list[tuple[tf.Operation, frozenset[str]]] = [(logits.op, frozenset())]
    while queue:
        operation, types = queue.pop(0)  # types of the operations from here to the logits
        if operation in seen:
            continue
        seen.add(operation)
        types |= {operation.type}
        for tensor in operation.inputs:
            if tensor.shape.rank == 4 and tensor.shape[1] and tensor.shape[1] * tensor.shape[2] > 1:
                if tensor.shape[0] is not None:  # the filters of a convolution
                    continue
                if "Mean" in types:
                    return tensor, "CAM" if types <= LINEAR | {"Mean"} else "Grad-CAM"
                while tensor.op.type in POOLS:
                    tensor = tensor.op.inputs[0]
                return tensor, "Grad-CAM"
            queue.append((tensor.op, types))
    raise ValueError("the net has no feature maps larger than 1x1")
