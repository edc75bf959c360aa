"""Which parts of an image speak for a class: class activation maps.

CAM (Zhou et al., arXiv 1512.04150, equation 2), where only global average pooling and one dense layer stand on the last
maps f [H, W, C]: M = sum_c w[c, k] f[..., c], so that the mean of M and the class's bias add up to its logit.
Grad-CAM (Selvaraju et al., arXiv 1610.02391, equations 1 and 2) elsewhere: the weights are the means over the map of
the logit's gradient, and negative sums become 0. Letters: N batch, H W C the last maps, K classes.
"""

from typing import Any, NamedTuple

from graphcnn.ops.tf1 import tf, tf1

LINEAR = {  # what may stand between maps and logits besides a mean, for CAM; the last four are dropout's, at rest
    "MatMul", "BiasAdd", "Identity", "Cast", "Reshape", "Squeeze", "StridedSlice", "Merge", "Switch", "If",
    "StatelessIf",
}  # fmt: skip
SOURCES = {"CAM": "arXiv 1512.04150, equation 2", "Grad-CAM": "arXiv 1610.02391, equations 1 and 2"}
POOLS = ("MaxPool", "AvgPool")  # in front of flattened maps: those before it are finer


class Attention(NamedTuple):
    """Tensors: target, int32 [N], the classes asked about; maps, float32 [N, H, W]. method: a key of SOURCES."""

    target: Any
    maps: Any
    method: str


def attention(graph):
    """Return the Attention of an inference Graph that is not finalised yet."""
    with graph.graph.as_default():
        target = tf1.placeholder(tf.int32, [None], name="target")
        last, method = _last_maps(graph.logits)
        one_hot = tf.one_hot(target, int(graph.logits.shape[1]))
        gradient = tf1.gradients(tf.reduce_sum(one_hot * graph.logits), last)[0]
        weights = tf.reduce_mean(gradient, axis=[1, 2], keepdims=True)
        maps = tf.reduce_sum(weights * last, axis=3)
        if method == "CAM":  # a mean's gradient is the dense layer's weight over the map's size
            maps *= float(last.shape[1] * last.shape[2])
        else:
            maps = tf.nn.relu(maps)
        return Attention(target, maps, method)


def _last_maps(logits):
    """Return (the maps nearest to the logits that are larger than 1x1, CAM or Grad-CAM)."""
    seen, waiting = set(), [(logits.op, frozenset())]
    while waiting:
        op, between = waiting.pop(0)
        if op in seen:
            continue
        seen.add(op)
        between |= {op.type}
        for tensor in op.inputs:
            if tensor.shape.rank == 4 and tensor.shape[1] and tensor.shape[1] * tensor.shape[2] > 1:
                if tensor.shape[0] is not None:  # a filter bank
                    continue
                if "Mean" in between:
                    return tensor, "CAM" if between <= LINEAR | {"Mean"} else "Grad-CAM"
                while tensor.op.type in POOLS:
                    tensor = tensor.op.inputs[0]
                return tensor, "Grad-CAM"
            waiting.append((tensor.op, between))
    raise ValueError("the net has no maps")
