"""The job that every implementation gets: a recipe, the layers of its net, the images, and the timing of steps.

The process of each implementation imports this module, so it imports only NumPy and the recipe's schema.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from graphcnn.config.recipe import Recipe

CLASSES = 10
PLANNED_STEPS = 1000  # number of steps for the learning-rate schedule
DISTINCT_BATCHES = 8  # number of different batches; training repeats them
MEAN, SCALE = 120.0, 64.0  # normalisation of the images: (pixel - MEAN) / SCALE
# For small images, these batch sizes are the fastest of 64 to 512, by a few percent
EVALUATION_BATCH = {"keras": 512, "pytorch": 128}
PIXELS_AT_ONCE = 1 << 20  # limit of an evaluation batch, as in graphcnn, to limit the memory


class Layer(NamedTuple):
    """A single layer of a net: its type, and its options by name. `single_layers` lists the types."""

    kind: str
    options: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Job:
    """The net and the settings that an implementation trains and evaluates.

    Args:
        recipe: the net's name, the batch size, the image size, the loss and the optimizer.
        rows: the rows of a sequential net, as [name of the row's class, its fields]; empty for other nets.
        batch_norm_epsilon: epsilon of each batch norm.
        classes: number of classes.
        cores: number of processors that the implementation may use.
    """

    recipe: Recipe
    rows: list[Any]
    batch_norm_epsilon: float
    classes: int
    cores: int

    def to_json(self) -> str:
        """Return the job as one line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Job:
        """Return the job that to_json wrote."""
        fields = json.loads(line)
        return cls(**fields | {"recipe": Recipe(**fields["recipe"])})


def evaluation_batch_size(implementation: str, image_size: int) -> int:
    """Return the batch size of Keras or PyTorch in evaluation."""
    return max(1, min(EVALUATION_BATCH[implementation], PIXELS_AT_ONCE // image_size**2))


def images_and_labels(job: Job) -> tuple[np.ndarray, np.ndarray]:
    """Return random training images uint8 [M, S, S, 3] and labels int64 [M], the same for every implementation."""
    generator = np.random.default_rng(0)
    count, size = DISTINCT_BATCHES * job.recipe.batch_size, job.recipe.image_size
    images = generator.integers(0, 256, (count, size, size, 3), np.uint8)
    return images, generator.integers(0, job.classes, count)


def batch_slice(job: Job, step: int) -> slice:
    """Return the slice of the training images for a step, from step 0."""
    start = step % DISTINCT_BATCHES * job.recipe.batch_size
    return slice(start, start + job.recipe.batch_size)


def repeat_to(images: np.ndarray, count: int) -> np.ndarray:
    """Return `count` images, by repeating all images in their order."""
    return images[np.arange(count) % len(images)]


def time_steps(batches: Iterable[tuple], step: Callable[..., None]) -> list[float]:
    """Call step(*batch) for each batch; return the seconds of each step, which include creating the batch."""
    seconds, start = [], time.perf_counter()
    for batch in batches:
        step(*batch)
        end = time.perf_counter()
        seconds.append(end - start)
        start = end
    return seconds


def single_layers(job: Job) -> Iterator[Layer]:
    """Yield the layers of the job's sequential net, from input to output.

    Types and their options: conv (size, stride, padding, filters, bias, trained), pool (size, stride, padding), norm
    (scale), activation (name), dense (units, bias), scale (factor), dropout (rate), global_max_pool and flatten (none).
    """
    recipe, flat = job.recipe, False
    if recipe.whitening_patch_size:
        size = recipe.whitening_patch_size
        options = {"size": size, "filters": 2 * 3 * size**2, "bias": False, "stride": 1, "padding": "VALID"}
        yield Layer("conv", options | {"trained": False})
        yield Layer("activation", {"name": "relu"})
    for kind, row in job.rows:
        if kind == "Conv":
            yield from _conv_layers(recipe, row)
        elif kind == "GlobalMaxPool":
            yield Layer("global_max_pool", {})
            flat = True
        elif kind == "Dense":
            if not flat:
                yield Layer("flatten", {})
            flat = True
            yield from _dense_layers(recipe, row, job.classes)
        elif recipe.keep_prob < 1:
            yield Layer("dropout", {"rate": 1 - recipe.keep_prob})


def _norm_position(recipe: Recipe) -> str:
    """Return the position of batch norm: "before" or "after" the activation, or "none"."""
    return recipe.batch_norm_position if recipe.batch_norm else "none"


def _conv_layers(recipe: Recipe, row: dict[str, Any]) -> list[Layer]:
    """Return the layers of a Conv row."""
    position = _norm_position(recipe) if row["norm"] else "none"
    norm, activation = _norm_and_activation(recipe)
    options = {"size": row["kernel"], "filters": row["filters"], "bias": position != "before", "trained": True}
    conv = Layer("conv", options | {"stride": row["stride"], "padding": row["padding"]})
    window = {"size": row["pool"], "stride": row["pool_stride"] or row["pool"], "padding": row["pool_padding"]}
    pool = [Layer("pool", window)] if row["pool"] > 1 else []
    if position == "before":
        return [conv, *pool, norm, activation]
    if position == "after":
        return [conv, activation, norm, *pool]
    return [conv, activation, *pool]


def _dense_layers(recipe: Recipe, row: dict[str, Any], classes: int) -> list[Layer]:
    """Return the layers of a Dense row."""
    norm, activation = _norm_and_activation(recipe)
    layers = [Layer("dense", {"units": row["units"] or classes, "bias": row["bias"]})]
    if row["scale"] != 1:
        layers.append(Layer("scale", {"factor": row["scale"]}))
    if row["activation"]:
        layers.append(activation)
        if _norm_position(recipe) == "after":
            layers.append(norm)
    return layers


def _norm_and_activation(recipe: Recipe) -> tuple[Layer, Layer]:
    scale = _norm_position(recipe) == "after"
    return Layer("norm", {"scale": scale}), Layer("activation", {"name": recipe.activation})
