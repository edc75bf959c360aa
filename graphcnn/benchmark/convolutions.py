"""Timings of a net's convolutions: TensorFlow's own beside interleaved, per-tap and spectral convolution."""

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
ODD_KERNELS = (3, 5)  # kernel sizes that interleaved and per-tap convolution are timed for


class ConvolutionTime(NamedTuple):
    """Median milliseconds of TensorFlow's own convolution and of graphcnn's, and whether training uses graphcnn's."""

    tensorflow: float
    graphcnn: float
    chosen: bool


def print_convolutions(recipe: Recipe) -> None:
    """Time each convolution of the recipe's net in both ways and print a table."""
    convolutions = {}  # one of each shape
    for product in op_timings.products(timed_recipe.countable_graph(recipe)):
        size = product.weights_shape[0]
        if product.map_size and (size in ODD_KERNELS or size >= kernels.SPECTRAL_MIN_KERNEL):
            convolutions[product.map_size, product.weights_shape] = product
    table = Table("map", "kernel")
    for title in PASSES:
        table.add_column(f"{title}, ms: TensorFlow, graphcnn, ratio", justify="right")
    with bar("convolutions", len(convolutions)) as advance:
        for (map_size, weights_shape), product in convolutions.items():
            times = time_convolution(product, recipe.batch_size, tf.as_dtype(recipe.precision))
            cells = [
                f"{each.tensorflow:.2f} {each.graphcnn:.2f} {each.tensorflow / each.graphcnn:.2f}"
                f"{'*' if each.chosen else ' '}"
                for each in times.values()
            ]
            table.add_row("x".join(map(str, map_size)), "x".join(map(str, weights_shape)), *cells)
            advance(1)
    say(
        f"batch {recipe.batch_size}, {recipe.precision}; the columns of graphcnn are spectral convolution for kernels "
        f"from {kernels.SPECTRAL_MIN_KERNEL}x{kernels.SPECTRAL_MIN_KERNEL} on, else interleaved convolution and, for "
        "the filter gradient, per-tap convolution; * means that training uses it for this shape"
    )
    print_table(table)


def time_convolution(product: Product, batch: int, dtype: tf.DType, rounds: int = 5) -> dict[str, ConvolutionTime]:
    """Time a convolution with stride 1 and SAME padding in both ways.

    The kernel is odd, or large enough for spectral convolution.

    Returns: {pass: its times} for each of PASSES.
    """
    (height, width), (rows, columns, channels, filters) = product.map_size, product.weights_shape
    with tf1.Graph().as_default() as graph:
        x = random_variable([batch, height, width, channels], dtype)
        dy = random_variable([batch, height, width, filters], dtype)
        w = random_variable([rows, columns, channels, filters], dtype)
        tensorflow = [
            tf.nn.conv2d(x, w, 1, "SAME"),
            tf1.nn.conv2d_backprop_input(x.shape, w, dy, **kernels.SAME),
            tf1.nn.conv2d_backprop_filter(x, w.shape, dy, **kernels.SAME),
        ]
        if rows >= kernels.SPECTRAL_MIN_KERNEL:
            y = kernels.spectral_conv2d(x, w)
            graphcnn, chosen = [y, *tf1.gradients(y, [x, w], dy)], 3 * [kernels.is_spectral(x, w)]
        else:
            interleaved, per_tap = kernels.choose_algorithms(x, w)
            graphcnn = [
                kernels.interleaved_conv2d(x, w),
                kernels.interleaved_conv2d(dy, kernels.input_gradient_kernel(w)),
                kernels.per_tap_filter_gradient(x, dy, (rows, columns)),
            ]
            chosen = [interleaved, interleaved, per_tap]
        seconds = op_timings.median_seconds(graph, tensorflow + graphcnn, rounds)
    milliseconds = [1e3 * each for each in seconds]
    times = zip(milliseconds[:3], milliseconds[3:], chosen, strict=True)
    return {name: ConvolutionTime(*each) for name, each in zip(PASSES, times, strict=True)}
