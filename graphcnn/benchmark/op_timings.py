"""The cost of a net in FLOPs, and timings of single operations: the machine's peaks, alternating runs of tensors."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from graphcnn.graphs.inference import InferenceGraph
from graphcnn.ops.tf1 import session, tf, tf1


class Product(NamedTuple):
    """A convolution or a matrix product of a net.

    Args:
        layer: scope of the layer.
        map_size: (H, W) of the input; () for a dense layer.
        weights_shape: (h, w, C, K), or (C, K) of a dense layer.
        flops: of the forward pass of one image: 2 for a multiplication and its addition; padding counts like pixels.
    """

    layer: str
    map_size: tuple[int, ...]
    weights_shape: tuple[int, ...]
    flops: int


def products(graph: InferenceGraph) -> list[Product]:
    """Return the products of an inference graph that was built with portable=True, first layer first."""
    result = []
    for op in graph.graph.get_operations():
        if op.type in ("Conv2D", "MatMul"):
            w, y = op.inputs[1].shape, op.outputs[0].shape
            positions = int(np.prod(y[1:-1]))
            map_size = tuple(map(int, op.inputs[0].shape[1:-1]))
            flops = 2 * positions * w.num_elements()
            result.append(Product(op.name.rpartition("/")[0], map_size, tuple(w), flops))
    return result


def training_flops(net: Sequence[Product]) -> int:
    """Return the FLOPs of one image in a training step: the forward pass and both gradients of each product.

    Frozen whitening has no gradients, and the first layer that learns has no gradient of its input.
    """
    learning = [each.flops for each in net if each.layer != "whitening"]
    return sum(each.flops for each in net) + 2 * sum(learning) - learning[0]


def peaks(precision: str, rounds: int = 5) -> dict[str, float]:
    """Return the machine's peak GFLOP/s: {"matmul": of 2048x2048 matrices, "convolution": the best of three 3x3}."""
    dtype = tf.as_dtype(precision)
    size = 2048
    with tf1.Graph().as_default() as graph:
        tensors = [tf.matmul(random_variable([size, size], dtype), random_variable([size, size], dtype))]
        flops = [2 * size**3]
        for map_size, channels in ((32, 64), (16, 128), (8, 256)):
            x = random_variable([128, map_size, map_size, channels], dtype)
            w = random_variable([3, 3, channels, channels], dtype)
            tensors.append(tf.nn.conv2d(x, w, 1, "SAME"))
            flops.append(2 * 128 * map_size * map_size * 9 * channels * channels)
        seconds = median_seconds(graph, tensors, rounds)
    rates = [work / spent / 1e9 for work, spent in zip(flops, seconds, strict=True)]
    return {"matmul": rates[0], "convolution": max(rates[1:])}


def random_variable(shape: Sequence[int], dtype: tf.DType) -> tf.Tensor:
    """Return the value of a random variable; TensorFlow would compute with a constant before the run."""
    return tf1.Variable(tf.cast(tf.random.stateless_normal(shape, [1, 2]), dtype)).read_value()


def median_seconds(graph: tf.Graph, tensors: Sequence[Any], rounds: int) -> list[float]:
    """Return the median seconds that each tensor takes; each round computes all of them in turn."""
    init = tf1.global_variables_initializer()
    spent: list[list[float]] = [[] for _ in tensors]
    with session(graph) as opened:
        opened.run(init)
        for _ in range(rounds + 1):
            for tensor, times in zip(tensors, spent, strict=True):
                start = time.perf_counter()
                opened.run(tensor.op)  # the value is computed, but not copied out
                times.append(time.perf_counter() - start)
    return [statistics.median(times[1:]) for times in spent]
