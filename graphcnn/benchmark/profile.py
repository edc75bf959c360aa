"""The time of a training step by type of operation, and by layer of the net."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.table import Table

from graphcnn.benchmark import timed_recipe
from graphcnn.benchmark.job import CLASSES, MEAN, PLANNED_STEPS, SCALE, images_and_labels
from graphcnn.common.progress import print_table, say
from graphcnn.config.recipe import Recipe
from graphcnn.data.batches import as_rgb
from graphcnn.graphs.training import build_training
from graphcnn.ops.tf1 import session, tf1

PHASES = ("forward", "gradient", "update")
UPDATE = re.compile(r"(^|/)(update_|beta[12]_power|Adam|GradientDescent)")
UNTRACED_STEPS = 6  # the second half is timed
TRACED_STEPS = 5
SMALLEST_SHOWN = 0.001  # smallest fraction of the step's time that the table shows


@dataclass
class OpTime:
    """Milliseconds and number of all operations of one type in a step."""

    milliseconds: float = 0.0
    count: float = 0.0


@dataclass
class StepTimes:
    """The time of a step.

    Attributes:
        by_op: {type of operation: OpTime}.
        by_layer: {layer, "l2" or "other": {phase: milliseconds}}.
    """

    by_op: dict[str, OpTime] = field(default_factory=dict)
    by_layer: dict[str, dict[str, float]] = field(default_factory=dict)


def print_profile(recipe: Recipe) -> None:
    """Trace training steps of the recipe; print their time by operation and by layer."""
    job = timed_recipe.job_of(recipe)
    images, labels = images_and_labels(job)
    normalisation = np.full(3, MEAN), np.full(3, SCALE)
    built = build_training(recipe, images.shape[1:3], CLASSES, normalisation, PLANNED_STEPS)
    layers = list(dict.fromkeys(v.op.name.rpartition("/")[0] for v in built.variables if v.trainable))
    feed = {built.x: as_rgb(images[: recipe.batch_size]), built.y: labels[: recipe.batch_size]}
    feed |= {built.keep_prob: recipe.keep_prob}
    fetches = [built.loss, built.cross_entropy, built.train_op]
    untraced = []
    with session(built.graph) as opened:
        opened.run(built.initialize)
        for _ in range(UNTRACED_STEPS):
            start = time.perf_counter()
            opened.run(fetches, feed)
            untraced.append(1e3 * (time.perf_counter() - start))
        times = trace(opened, fetches, feed, layers)
    total = sum(op.milliseconds for op in times.by_op.values())
    say(
        f"{recipe.net}, batch {recipe.batch_size}, {recipe.precision}: {total:.1f} ms of operations in a traced step; "
        f"{statistics.median(untraced[UNTRACED_STEPS // 2 :]):.1f} ms for a step without the trace"
    )
    print_table(_table_by_op(times, total))
    print_table(_table_by_layer(times, total))


def _table_by_op(times: StepTimes, total: float) -> Table:
    table = Table("type of operation")
    for title in ("operations", "ms", "fraction"):
        table.add_column(title, justify="right")
    for op_type, op in times.by_op.items():
        if op.milliseconds >= SMALLEST_SHOWN * total:
            spent = op.milliseconds
            table.add_row(op_type, f"{op.count:.0f}", f"{spent:.2f}", f"{spent / total:.1%}")
    return table


def _table_by_layer(times: StepTimes, total: float) -> Table:
    table = Table("layer")
    for title in (*PHASES, "ms", "fraction"):
        table.add_column(title, justify="right")
    for layer, phases in times.by_layer.items():
        spent = sum(phases.values())
        table.add_row(layer, *(f"{phases[p]:.2f}" for p in PHASES), f"{spent:.2f}", f"{spent / total:.1%}")
    return table


def trace(
    opened: tf1.Session, fetches: list[Any], feed: dict[Any, Any], layers: Iterable[str], steps: int = TRACED_STEPS
) -> StepTimes:
    """Trace training steps with TensorFlow's FULL_TRACE; return the mean times of a step, the slowest first.

    Args:
        opened: a session that has run some steps already.
        fetches, feed: the arguments of its run method.
        layers: the scopes of the net's layers.
        steps: number of traced steps.
    """
    layers, times = tuple(layers), StepTimes()
    for _ in range(steps):
        metadata = tf1.RunMetadata()
        opened.run(fetches, feed, tf1.RunOptions(trace_level=tf1.RunOptions.FULL_TRACE), metadata)
        for device in metadata.step_stats.dev_stats:
            for node in device.node_stats:
                spent = (node.op_end_rel_micros - node.op_start_rel_micros) / 1e3 / steps
                op_type = node.timeline_label.rpartition(" = ")[2].partition("(")[0] or node.node_name
                op = times.by_op.setdefault(op_type, OpTime())
                op.milliseconds += spent
                op.count += 1 / steps
                layer, phase = _layer_and_phase(node.node_name, layers)
                times.by_layer.setdefault(layer, dict.fromkeys(PHASES, 0.0))[phase] += spent
    by_op = sorted(times.by_op.items(), key=lambda item: -item[1].milliseconds)
    by_layer = sorted(times.by_layer.items(), key=lambda item: -sum(item[1].values()))
    return StepTimes(dict(by_op), dict(by_layer))


def _layer_and_phase(node: str, layers: tuple[str, ...]) -> tuple[str, str]:
    """Return (layer, "l2" or "other"; phase) of the graph node with this name."""
    phase = "gradient" if "gradients/" in node else "update" if UPDATE.search(node) else "forward"
    scopes = set(re.split(r"/|update_", node))
    return next((layer for layer in (*layers, "l2") if layer in scopes), "other"), phase
