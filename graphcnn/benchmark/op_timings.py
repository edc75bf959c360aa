"""The FLOPs of a net, and timings of single operations, such as the machine's peak performance."""

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
        flops: FLOPs in the forward pass of one image. A multiplication and its addition count 2, also at padded pixels.
    """

    layer: str
    map_size: tuple[int, ...]
    weights_shape: tuple[int, ...]
    flops: int


def products(graph: InferenceGraph) -> list[Product]:
    """Return the products of an inference graph that was built with portable=True, from input to output."""
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

    The frozen whitening layer has no gradients, and the first trained layer has no input gradient.
    """
    trained = [product.flops for product in net if product.layer != "whitening"]
    return sum(product.flops for product in net) + 2 * sum(trained) - trained[0]


def peaks(precision: str, rounds: int = 5) -> dict[str, float]:
    """Return the machine's peak GFLOP/s, {"matmul": 2048x2048 matrices, "convolution": best of three 3x3 kernels}."""
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
    """Return the value of a random variable. TensorFlow would fold a constant before the timed run."""
    return tf1.Variable(tf.cast(tf.random.stateless_normal(shape, [1, 2]), dtype)).read_value()


def median_seconds(graph: tf.Graph, tensors: Sequence[Any], rounds: int) -> list[float]:
    """Return the median seconds for computing each tensor; each round computes all tensors one after another."""
    init = tf1.global_variables_initializer()
    spent: list[list[float]] = [[] for _ in tensors]
    with session(graph) as opened:
        opened.run(init)
        for _ in range(rounds + 1):
            for tensor, times in zip(tensors, spent, strict=True):
                start = time.perf_counter()
                opened.run(tensor.op)  # computes the value without copying it
                times.append(time.perf_counter() - start)
    return [statistics.median(times[1:]) for times in spent]
