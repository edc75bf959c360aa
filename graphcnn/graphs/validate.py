"""Whether a recipe is possible for its net, the data and the number of workers.

Recipe itself refuses settings that are not possible for any net and any data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from graphcnn.common.errors import SettingError, literal, unknown_name
from graphcnn.config.recipe import Recipe
from graphcnn.data.batches import chunk_size
from graphcnn.graphs.freezing import frozen_names
from graphcnn.graphs.inputs import add_inputs
from graphcnn.graphs.network import add_network
from graphcnn.nets.architecture import Architecture
from graphcnn.nets.own import how_to_load
from graphcnn.nets.registry import ANY_SIZE, ARCHITECTURES, NETS, SEQUENTIAL
from graphcnn.nets.sequential import Conv, Rows, fits
from graphcnn.ops.tf1 import tf, tf1

ONE_WORKER = {
    "micro_batch": 0,
    "finetune_epochs": 0,
    "freeze": "none",
}  # {setting: value required with several workers}
BATCH_PIXELS = 1 << 27  # largest number of pixels that a net evaluates at a time
OWN_LAYERS = {"whitening_patch_size": 0, "batch_norm": False, "activation": "relu"}  # an ImageNet network's


@dataclass(frozen=True)
class DataShape:
    """The sizes of the data that a recipe is checked against.

    Attributes:
        image_shape: (H, W) of the stored images.
        classes: number of classes.
        training_images: number of images in the training split.
        dev_images: number of images in the dev split.
    """

    image_shape: tuple[int, int]
    classes: int
    training_images: int
    dev_images: int


def validate(recipe: Recipe, data: DataShape, workers: int = 1) -> None:
    """Raise SettingError for a recipe that is not possible.

    Args:
        recipe: Recipe.
        data: sizes of the data to train on.
        workers: number of workers of the training.
    """
    validate_inference(recipe, data.image_shape)
    _check_data(recipe, data)
    _check_freeze(recipe, data)
    _check_classes(recipe)
    _check_freeze_batch_norm(recipe)
    if workers > 1:
        _check_workers(recipe, data, workers)


def has_batch_norm(recipe: Recipe) -> bool:
    """Return whether the net of a recipe has batch norm."""
    return recipe.batch_norm if recipe.net in SEQUENTIAL else ARCHITECTURES[recipe.net].batch_norm


def validate_inference(recipe: Recipe, image_shape: tuple[int, int]) -> None:
    """Raise SettingError for a recipe whose inference graph is not possible, or takes too much memory.

    Args:
        recipe: Recipe. It may come from a stranger's config.json.
        image_shape: (H, W) of the stored images.
    """
    validate_net(recipe)
    _check_pixels(recipe, "translate", image_shape)
    images, size = chunk_size(image_shape), recipe.image_size
    if images * size**2 > BATCH_PIXELS:
        problem = (
            f"evaluation computes {images} images of {image_shape[0]}x{image_shape[1]} pixels at a time, which take "
            f"too much memory at this size; expected at most {math.isqrt(BATCH_PIXELS // images)}"
        )
        raise SettingError("image_size", problem, size)


def validate_net(recipe: Recipe) -> None:
    """Raise SettingError for a net that does not exist, or settings that are not possible for the net."""
    if recipe.net not in NETS and ":" in recipe.net:
        raise SettingError("net", literal(f"this net is not part of graphcnn; {how_to_load(recipe.net)}"), recipe.net)
    if recipe.net not in NETS:
        raise SettingError("net", literal(unknown_name(recipe.net, NETS)))
    if recipe.net in SEQUENTIAL:
        _check_rows(recipe, SEQUENTIAL[recipe.net])
    else:
        _check_architecture(recipe, ARCHITECTURES[recipe.net])


def _check_rows(recipe: Recipe, rows: Rows) -> None:
    """Raise SettingError for image sizes or initial weights that do not fit the layers of a sequential net."""
    if recipe.early_size and recipe.net not in ANY_SIZE and recipe.head == "own":
        problem = (
            f"the dense layers of {{net}}={recipe.net} fit one image size only; use {{early_size}}=0, or "
            f"{{net}}={' or '.join(sorted(ANY_SIZE))}"
        )
        raise SettingError("early_size", problem, recipe.early_size)
    for setting in ("image_size", "early_size"):
        size = getattr(recipe, setting)
        if size and not fits(rows, size - max(0, recipe.whitening_patch_size - 1)):
            raise SettingError(setting, f"too small for the windows of {{net}}={recipe.net}; enlarge it", size)
    even = next((row for row in rows if isinstance(row, Conv) and row.kernel % 2 == 0), None)
    if recipe.init == "dirac" and even is not None:
        problem = (
            f"needs kernels of odd size, but layer {even.scope} of {{net}}={recipe.net} has a kernel of "
            f"{even.kernel}x{even.kernel} pixels; choose another {{init}} or another {{net}}"
        )
        raise SettingError("init", problem, recipe.init)


def _check_architecture(recipe: Recipe, architecture: Architecture) -> None:
    """Raise SettingError for settings that are not possible for an ImageNet network."""
    for setting in ("image_size", "early_size"):
        size = getattr(recipe, setting)
        if size and size < architecture.smallest_size:
            problem = f"{{net}}={recipe.net} needs at least {architecture.smallest_size} pixels; enlarge it"
            raise SettingError(setting, problem, size)
    for setting, value in OWN_LAYERS.items():
        if getattr(recipe, setting) != value:
            problem = f"the layers of {{net}}={recipe.net} are fixed, so this setting is not possible; remove it"
            raise SettingError(setting, problem)
    if architecture.batch_norm and recipe.micro_batch:
        problem = (
            f"{{net}}={recipe.net} has batch norm, which needs the mean and variance of the whole batch; lower "
            f"{{batch_size}} (now {recipe.batch_size}) instead"
        )
        raise SettingError("micro_batch", problem, recipe.micro_batch)


def _check_data(recipe: Recipe, data: DataShape) -> None:
    """Raise SettingError for a blur larger than the images, and early stopping on an empty dev split."""
    if recipe.stop_on == "dev_macro_f1" and not data.dev_images:
        raise SettingError("stop_on", "there is no dev split; use {stop_on}=loss", recipe.stop_on)
    _check_pixels(recipe, "blur", data.image_shape)


def _check_pixels(recipe: Recipe, setting: str, image_shape: tuple[int, int]) -> None:
    """Raise SettingError for an augmentation by as many pixels as the images have."""
    (height, width), pixels = image_shape, getattr(recipe, setting)
    if pixels >= min(height, width):
        raise SettingError(setting, f"expected less than the {height}x{width} pixels of the images", pixels)


def _check_freeze(recipe: Recipe, data: DataShape) -> None:
    """Raise SettingError if the net does not have the scope of `freeze`, or if nothing would be left to train."""
    if recipe.freeze.startswith("until:"):
        with tf1.Graph().as_default() as graph:
            inputs = add_inputs(data.image_shape)
            network = add_network(recipe, data.classes, inputs, dtype=tf.float32, step=tf.constant(0))
            frozen_names(recipe.freeze, network.predict(graph, inputs.x, inputs.tta).variables)


def _check_classes(recipe: Recipe) -> None:
    """Raise SettingError if small classes would get more weight twice."""
    if recipe.sampling == "balanced" and recipe.class_weights != "none":
        raise SettingError("class_weights", "excludes {sampling}=balanced; drop one of them", recipe.class_weights)


def _check_freeze_batch_norm(recipe: Recipe) -> None:
    """Raise SettingError if batch norm would keep the initial moments of random weights, which do not normalise."""
    if recipe.freeze_batch_norm and recipe.weights == "none" and recipe.trains_backbone() and has_batch_norm(recipe):
        problem = (
            "keeps the moving mean and variance of the initial weights, so it needs {weights}; name weights, or set "
            "{freeze_batch_norm}=false"
        )
        raise SettingError("freeze_batch_norm", problem)


def _check_workers(recipe: Recipe, data: DataShape, workers: int) -> None:
    """Raise SettingError for settings that are not possible with several workers."""
    for setting, value in ONE_WORKER.items():
        if getattr(recipe, setting) != value:
            raise SettingError(setting, "is possible with one worker only; remove it, or train without TF_CONFIG")
    if recipe.epochs == 0:
        raise SettingError("epochs", "is possible with one worker only; train without TF_CONFIG", 0)
    images, size = data.training_images, recipe.batch_size
    smallest = min(size, images, images % size or size)
    if smallest < workers:
        problem = (
            f"{images} training images in batches of {size} leave a batch of {smallest}, fewer than the {workers} "
            "workers; choose another batch size"
        )
        raise SettingError("batch_size", problem)
