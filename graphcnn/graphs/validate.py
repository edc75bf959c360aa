"""Whether a recipe is possible for a net, data and a number of workers."""

from __future__ import annotations

from graphcnn.common.errors import InputError, unknown_name
from graphcnn.config.recipe import Recipe
from graphcnn.graphs.freezing import frozen_names
from graphcnn.graphs.inputs import add_inputs
from graphcnn.graphs.network import add_network
from graphcnn.nets.architecture import Architecture
from graphcnn.nets.registry import ANY_SIZE, ARCHITECTURES, NETS, SEQUENTIAL
from graphcnn.nets.sequential import fits
from graphcnn.ops.tf1 import tf, tf1


def check_net(recipe: Recipe) -> None:
    """Refuse a net that is not in NETS, with the nearest match, and image sizes that it has no room or weights for."""
    if recipe.net not in NETS:
        raise InputError(f"--net: {unknown_name(recipe.net, list(NETS))}")
    if recipe.net in ARCHITECTURES and recipe.net not in SEQUENTIAL:
        _check_architecture(recipe, ARCHITECTURES[recipe.net])
        return
    if recipe.early_size and recipe.net not in ANY_SIZE and recipe.head == "own":
        raise InputError(
            f"--early_size={recipe.early_size}: the dense layers of --net={recipe.net} fit one size only; use "
            f"--early_size=0, or --net={' or '.join(sorted(ANY_SIZE))}"
        )
    for flag in ("image_size", "early_size"):
        side = getattr(recipe, flag)
        if side and not fits(SEQUENTIAL.get(recipe.net, ()), side - max(0, recipe.whitening_patch_size - 1)):
            raise InputError(f"--{flag}: found {side}, too small for the windows of --net={recipe.net}; enlarge it")


def _check_architecture(recipe: Recipe, architecture: Architecture) -> None:
    """Refuse what a net with layers of its own cannot be given."""
    named, smallest = f"--net={recipe.net}", architecture.smallest_size
    for flag in ("image_size", "early_size"):
        side = getattr(recipe, flag)
        if side and side < smallest:
            raise InputError(f"--{flag}: found {side}, but {named} wants at least {smallest}; enlarge it")
    for flag, own in {"whitening_patch_size": 0, "batch_norm": False, "activation": "relu"}.items():
        if getattr(recipe, flag) != own:
            raise InputError(f"--{flag}: {named} has its own layers; drop the flag, or use a net of rows")
    if architecture.batch_norm and recipe.micro_batch:
        raise InputError(
            f"--micro_batch={recipe.micro_batch}: {named} has batch norm, which needs the moments of the whole batch; "
            f"lower --batch_size (now {recipe.batch_size}) instead"
        )


def check_frozen(recipe: Recipe, image_shape: tuple[int, int], classes: int) -> None:
    """Refuse a recipe that freezes up to a scope that the net does not have."""
    if recipe.freeze.startswith("until:"):
        with tf1.Graph().as_default() as graph:
            inputs = add_inputs(image_shape)
            network = add_network(recipe, classes, inputs, dtype=tf.float32, step=tf.constant(0))
            frozen_names(recipe.freeze, network.predict(graph, inputs.x, inputs.tta).variables)
