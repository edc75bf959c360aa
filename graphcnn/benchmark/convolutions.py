"""Timings of a net's convolutions: TensorFlow's implementation, and spectral convolution."""

from __future__ import annotations

from typing import NamedTuple

from rich.table import Table

from graphcnn.benchmark import op_timings, timed_recipe
from graphcnn.benchmark.op_timings import Product, random_variable
from graphcnn.common.progress import bar, print_table, say
from graphcnn.config.recipe import Recipe
from graphcnn.ops import kernels
from graphcnn.ops.tf1 import tf, tf1

PASSES = ("forward", "input gradient", "filter gradient")


class ConvolutionTime(NamedTuple):
    """The times of one pass of a convolution.

    Attributes:
        tensorflow: median milliseconds of TensorFlow's implementation.
        graphcnn: median milliseconds of graphcnn's implementation.
        chosen: whether training uses graphcnn's implementation.
    """

    tensorflow: float
    graphcnn: float
    chosen: bool


def print_convolutions(recipe: Recipe) -> None:
    """Time both implementations of each convolution of the recipe's net; print a table."""
    convolutions = {}  # one for each shape
    for product in op_timings.products(timed_recipe.countable_graph(recipe)):
        rows, columns = product.weights_shape[:2]
        if product.map_size and product.map_size[0] == product.map_size[1] and rows == columns > 1:
            convolutions[product.map_size, product.weights_shape] = product
    table = Table("map", "kernel")
    for title in PASSES:
        table.add_column(f"{title}, ms: TensorFlow, graphcnn, ratio", justify="right")
    with bar("convolutions", len(convolutions)) as advance:
        for (map_size, weights_shape), product in convolutions.items():
            times = time_convolution(product, recipe.batch_size, tf.as_dtype(recipe.precision))
            cells = [
                f"{time.tensorflow:.2f} {time.graphcnn:.2f} {time.tensorflow / time.graphcnn:.2f}"
                f"{'*' if time.chosen else ' '}"
                for time in times.values()
            ]
            table.add_row("x".join(map(str, map_size)), "x".join(map(str, weights_shape)), *cells)
            advance(1)
    say(
        f"batch {recipe.batch_size}, {recipe.precision}. graphcnn's implementation is spectral convolution. * means "
        "that training uses it for this shape."
    )
    print_table(table)


def time_convolution(product: Product, batch: int, dtype: tf.DType, rounds: int = 5) -> dict[str, ConvolutionTime]:
    """Return {pass: times} of both implementations of a convolution with stride 1 and SAME padding.

    The map and the kernel must be square. The time of a spectral gradient includes the transforms of dy and of the
    other input.
    """
    (height, width), (rows, columns, channels, filters) = product.map_size, product.weights_shape
    with tf1.Graph().as_default() as graph:
        x = random_variable([batch, height, width, channels], dtype)
        dy = random_variable([batch, height, width, filters], dtype)
        w = random_variable([rows, columns, channels, filters], dtype)
        forward, gradients, _ = kernels.choose_algorithms(x, w)
        tensorflow = [
            tf.nn.conv2d(x, w, 1, "SAME"),
            tf1.nn.conv2d_backprop_input(x.shape, w, dy, **kernels.SAME),
            tf1.nn.conv2d_backprop_filter(x, w.shape, dy, **kernels.SAME),
        ]
        y = kernels.spectral_conv2d(x, w)
        spectral = [y, *tf1.gradients(y, [x, w], dy)]
        seconds = op_timings.median_seconds(graph, tensorflow + spectral, rounds)
    milliseconds = [1e3 * median for median in seconds]
    times = zip(milliseconds[:3], milliseconds[3:], [forward, gradients, gradients], strict=True)
    return {name: ConvolutionTime(*values) for name, values in zip(PASSES, times, strict=True)}
