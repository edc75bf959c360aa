"""Size of the largest activation of a graph, which limits how many images can be computed together."""

from __future__ import annotations

import math

from graphcnn.ops.tf1 import tf


def largest_activation(output: tf.Tensor) -> int:
    """Return the bytes that the largest tensor before an output takes for one image; 0 if no shape is known.

    Args:
        output: a tensor [N, ...] with N images. Tensors whose first dimension is unknown count as activations.
    """
    largest, seen, pending = 0, {output.op}, [output.op]
    while pending:
        operation = pending.pop()
        for tensor in operation.outputs:
            shape = tensor.shape.as_list() if tensor.shape.rank else []
            if shape and shape[0] is None and None not in shape[1:]:
                largest = max(largest, math.prod(shape[1:]) * tensor.dtype.size)
        new = {tensor.op for tensor in operation.inputs} - seen
        seen |= new
        pending += new
    return largest
