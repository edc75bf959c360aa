"""The comparison of implementations: they take turns in training and evaluating the same net on one machine."""

from __future__ import annotations

import contextlib
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from graphcnn.benchmark import op_timings, timed_recipe
from graphcnn.benchmark.implementation_process import ImplementationProcess
from graphcnn.benchmark.implementations import MODULES
from graphcnn.benchmark.job import CLASSES
from graphcnn.common.errors import InputError
from graphcnn.common.progress import bar, say
from graphcnn.config.recipe import Recipe
from graphcnn.graphs.inference import count_parameters
from graphcnn.ops.tf1 import choose_precision, cpu

WARM_UP_STEPS = 3


@dataclass(frozen=True)
class Turns:
    """The work of each implementation.

    Attributes:
        rounds: number of turns in training, and in evaluation.
        steps: number of training steps in a turn.
        images: number of images that are evaluated in a turn.
    """

    rounds: int
    steps: int
    images: int


@dataclass
class Measurements:
    """The measurements of one implementation in one precision.

    Attributes:
        step_seconds: seconds of each training step.
        evaluation_seconds: seconds of each evaluation turn.
        peak_memory_bytes: peak memory after training.
    """

    step_seconds: list[float]
    evaluation_seconds: list[float]
    peak_memory_bytes: int = 0


Processes = dict[str, ImplementationProcess]  # {label, such as "keras float32": process}


def run(recipe: Recipe, recipe_name: str, turns: Turns, interpreters: Mapping[str, str]) -> dict[str, Any]:
    """Run the comparison and return the content of bench.json.

    Args:
        recipe: the recipe that is timed.
        recipe_name: its name in bench.json.
        turns: the work of each implementation.
        interpreters: {implementation besides graphcnn: path of its Python}.
    """
    countable = timed_recipe.countable_graph(recipe)
    products = op_timings.products(countable)
    flops = {"inference": sum(product.flops for product in products), "training": op_timings.training_flops(products)}
    parameters = count_parameters(countable)
    variants = _variants(recipe, interpreters)
    with contextlib.ExitStack() as stack, bar("bench", len(variants) * (1 + 2 * turns.rounds)) as advance:
        processes: Processes = {}
        for name, precision, python in variants:
            process = ImplementationProcess(name, precision, python, timed_recipe.job_of(recipe))
            stack.callback(process.close)
            if process.parameters not in (None, parameters):
                raise InputError(
                    f"{name}: its net has {process.parameters} parameters, but graphcnn's net has {parameters}"
                )
            process.train(WARM_UP_STEPS)
            processes[f"{name} {precision}"] = process
            say(f"ready: {name} in {precision}, {process.versions}")
            advance(1)
        measured = _take_turns(processes, turns, advance)
        peaks = {own.precision: own.peaks() for own in processes.values() if own.name == "graphcnn"}
    table = {}
    for label, process in processes.items():
        measurements = measured[label]
        table[label] = {
            "versions": process.versions,
            "settings": process.settings,
            "train": _rates(measurements.step_seconds, recipe.batch_size, flops["training"]),
            "evaluate": _rates(measurements.evaluation_seconds, turns.images, flops["inference"]),
            "peak_memory_bytes": measurements.peak_memory_bytes,
        }
    return {
        "recipe": recipe_name,
        "net": recipe.net,
        "batch_size": recipe.batch_size,
        "image_size": recipe.image_size,
        "classes": CLASSES,
        "parameters": parameters,
        "flops_per_image": flops,
        "machine": cpu(),
        "precision": recipe.precision,
        "peak_gflops_per_second": peaks,
        "rounds": turns.rounds,
        "contestants": table,
        "ratios": ratios(table, recipe.precision, "train"),
        "evaluation_ratios": ratios(table, recipe.precision, "evaluate"),
    }


def _variants(recipe: Recipe, interpreters: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Return (implementation, precision, path of its Python) for each process.

    graphcnn runs in the recipe's precision and in float32. The other implementations also run in the precision that is
    fastest on this machine.
    """
    own = {recipe.precision, "float32"}
    fastest, _ = choose_precision("auto")
    variants = [("graphcnn", precision, sys.executable) for precision in sorted(own)]
    for name, python in interpreters.items():
        variants += [(name, precision, python) for precision in sorted(own | {fastest})]
    return variants


def _take_turns(processes: Processes, turns: Turns, advance: Callable[[int], None]) -> dict[str, Measurements]:
    """Train in turns, then evaluate in turns; return {label: Measurements}."""
    measured = {label: Measurements([], []) for label in processes}
    for turn in range(1, turns.rounds + 1):
        for label, process in processes.items():
            measured[label].step_seconds += process.train(turns.steps)
            advance(1)
        say(f"training: turn {turn}/{turns.rounds} is done")
    for label, process in processes.items():
        measured[label].peak_memory_bytes = process.peak_memory()
    for process in processes.values():
        process.evaluate(turns.images)  # warm-up
    for turn in range(1, turns.rounds + 1):
        for label, process in processes.items():
            measured[label].evaluation_seconds.append(process.evaluate(turns.images))
            advance(1)
        say(f"evaluation: turn {turn}/{turns.rounds} is done")
    return measured


def _rates(seconds: list[float], images: int, flops: int) -> dict[str, Any]:
    """Return the seconds, images/s and GFLOP/s of one implementation.

    Args:
        seconds: measured seconds.
        images: number of images in each measurement.
        flops: FLOPs of an image.
    """
    rate = images / statistics.median(seconds)
    return {
        "seconds": seconds,
        "images_per_second": rate,
        "slowest_and_fastest": [images / max(seconds), images / min(seconds)],
        "gflops_per_second": rate * flops / 1e9,
    }


def ratios(table: Mapping[str, Any], precision: str, phase: str) -> dict[str, float]:
    """Return {name of the ratio: images/s of graphcnn divided by images/s of another implementation}.

    - pytorch_best, keras_best: graphcnn in `precision` against the fastest precision of the other implementation;
    - keras_default: graphcnn in `precision` against Keras in float32, the default of Keras;
    - pytorch_float32: both in float32.

    Args:
        table: {label: {phase: {"images_per_second"}}}.
        precision: precision of graphcnn.
        phase: train or evaluate.
    """
    rates = {label: row[phase]["images_per_second"] for label, row in table.items()}
    own = rates[f"graphcnn {precision}"]
    values = {}
    for name in MODULES:
        others = [rate for label, rate in rates.items() if label.startswith(f"{name} ")]
        if others:
            values[f"{name}_best"] = own / max(others)
    if "pytorch float32" in rates:
        values["pytorch_float32"] = rates["graphcnn float32"] / rates["pytorch float32"]
    if "keras float32" in rates:
        values["keras_default"] = own / rates["keras float32"]
    return values
