"""What a step costs: a net's products and FLOPs, a trace by op and layer, both forms of a convolution, the peaks."""

import re
import statistics
import time
from typing import NamedTuple

import numpy as np

from graphcnn.ops import kernels
from graphcnn.ops.tf1 import session, tf, tf1

PHASES = ("forward", "gradient", "update")
UPDATE = re.compile(r"(^|/)(update_|beta[12]_power|Adam|GradientDescent)")


class Product(NamedTuple):
    """A convolution or matrix product of a net: its layer, input map (H, W; () for a dense layer), weights' shape, and
    the FLOPs of an image's forward pass (2 a multiplication, padding counted like pixels).
    """

    layer: str
    sides: tuple
    weights: tuple
    flops: int


def products(graph):
    """Return the Products of a portable inference Graph, first layer first."""
    found = []
    for op in graph.graph.get_operations():
        if op.type in ("Conv2D", "MatMul"):
            w, y = op.inputs[1].shape, op.outputs[0].shape
            pixels = int(np.prod(y[1:-1]))
            sides = tuple(map(int, op.inputs[0].shape[1:-1]))
            found.append(Product(op.name.rpartition("/")[0], sides, tuple(w), 2 * pixels * w.num_elements()))
    return found


def training_flops(found):
    """Return the FLOPs an image costs in a training step: three passes, but no gradients for frozen whitening, and no
    input gradient for the first layer that learns.
    """
    learning = [each.flops for each in found if each.layer != "whitening"]
    return sum(each.flops for each in found) + 2 * sum(learning) - learning[0]


def trace(running, fetches, feed, layers, steps=5):
    """Trace steps with TensorFlow's FULL_TRACE; return two lists of rows, slowest first.

    Args:
        running: the Session, warmed up. fetches, feed: of session.run. layers: names of the net's layers, its scopes.

    Returns: [(op type, milliseconds a step, ops a step)], [(layer, "l2" or "other", {phase: milliseconds a step})].
    """
    ops, parts = {}, {}
    for _ in range(steps):
        metadata = tf1.RunMetadata()
        running.run(fetches, feed, tf1.RunOptions(trace_level=tf1.RunOptions.FULL_TRACE), metadata)
        for device in metadata.step_stats.dev_stats:
            for node in device.node_stats:
                spent = (node.op_end_rel_micros - node.op_start_rel_micros) / 1e3 / steps
                kind = node.timeline_label.rpartition(" = ")[2].partition("(")[0] or node.node_name
                before = ops.get(kind, (0, 0))
                ops[kind] = (before[0] + spent, before[1] + 1 / steps)
                layer, phase = _place(node.node_name, layers)
                parts.setdefault(layer, dict.fromkeys(PHASES, 0))[phase] += spent
    by_op = sorted(((kind, spent, count) for kind, (spent, count) in ops.items()), key=lambda row: -row[1])
    return by_op, sorted(parts.items(), key=lambda row: -sum(row[1].values()))


def _place(name, layers):
    """Return (layer, "l2" or "other", phase) of a graph node by its name."""
    phase = "gradient" if "gradients/" in name else "update" if UPDATE.search(name) else "forward"
    names = set(re.split(r"/|update_", name))
    return next((layer for layer in (*layers, "l2") if layer in names), "other"), phase


def forms(product, batch, dtype, rounds=5):
    """Time both forms of a stride 1, SAME convolution with an odd kernel, or with one large enough for spectra.

    Returns: {"forward", "input gradient", "filter gradient": (tf.nn's milliseconds, the other form's, whether chosen)}.
    """
    (height, width), (rows, columns, channels, units) = product.sides, product.weights
    with tf1.Graph().as_default() as graph:
        x = _random([batch, height, width, channels], dtype)
        dy = _random([batch, height, width, units], dtype)
        w = _random([rows, columns, channels, units], dtype)
        own = [
            tf.nn.conv2d(x, w, 1, "SAME"),
            tf1.nn.conv2d_backprop_input(x.shape, w, dy, **kernels.SAME),
            tf1.nn.conv2d_backprop_filter(x, w.shape, dy, **kernels.SAME),
        ]
        if rows >= kernels.SPECTRAL_FROM:
            y = kernels.spectral_conv2d(x, w)
            other, chosen = [y, *tf1.gradients(y, [x, w], dy)], 3 * [kernels.spectral(x, w)]
        else:
            interleave, taps = kernels.faster_forms(x, w)
            other = [
                kernels.interleaved_conv2d(x, w),
                kernels.interleaved_conv2d(dy, kernels.turned(w)),
                kernels.filter_gradient_by_taps(x, dy, (rows, columns)),
            ]
            chosen = [interleave, interleave, taps]
        milliseconds = [1e3 * seconds for seconds in _times(graph, own + other, rounds)]
    named = zip(milliseconds[:3], milliseconds[3:], chosen, strict=True)
    return dict(zip(("forward", "input gradient", "filter gradient"), named, strict=True))


def peaks(dtype, rounds=5):
    """Return {"matmul", "convolution": GFLOP/s}: a product of 2048-cubes, and the fastest of three 3x3 convolutions."""
    side = 2048
    with tf1.Graph().as_default() as graph:
        tensors = [tf.matmul(_random([side, side], dtype), _random([side, side], dtype))]
        flops = [2 * side**3]
        for size, channels in ((32, 64), (16, 128), (8, 256)):
            x, w = _random([128, size, size, channels], dtype), _random([3, 3, channels, channels], dtype)
            tensors.append(tf.nn.conv2d(x, w, 1, "SAME"))
            flops.append(2 * 128 * size * size * 9 * channels * channels)
        rates = [work / seconds / 1e9 for work, seconds in zip(flops, _times(graph, tensors, rounds), strict=True)]
    return {"matmul": rates[0], "convolution": max(rates[1:])}


def _random(shape, dtype):
    """Return the value of a variable, so that nothing is folded into a constant."""
    return tf1.Variable(tf.cast(tf.random.stateless_normal(shape, [1, 2]), dtype)).read_value()


def _times(graph, tensors, rounds):
    """Return each tensor's median time in seconds over alternating runs."""
    init = tf1.global_variables_initializer()
    spent = [[] for _ in tensors]
    with session(graph) as running:
        running.run(init)
        for _ in range(rounds + 1):
            for tensor, times in zip(tensors, spent, strict=True):
                began = time.perf_counter()
                running.run(tensor.op)  # computed, but not copied out
                times.append(time.perf_counter() - began)
    return [statistics.median(times[1:]) for times in spent]
