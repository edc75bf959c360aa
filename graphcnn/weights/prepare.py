"""The initial weights of a recipe: find them, read them, and report which of them fit the net."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from graphcnn.common.errors import InputError
from graphcnn.common.files import sha256_of
from graphcnn.common.progress import say
from graphcnn.config.recipe import Recipe
from graphcnn.config.setting_paths import is_built_in, is_checkpoint, is_keras_file
from graphcnn.data.dataset import ImageSpec
from graphcnn.graphs.freezing import moving_moments
from graphcnn.graphs.inference import build_inference
from graphcnn.nets.registry import ARCHITECTURES
from graphcnn.weights import keras_hdf5, tf1_checkpoint
from graphcnn.weights.loaded import LoadedWeights, Origin, Shapes, Values
from graphcnn.weights.other_run import NORMALISATION, load_run
from graphcnn.weights.published import load_published
from graphcnn.weights.report import print_fit, print_names


@dataclass(frozen=True)
class InitialWeights:
    """The initial weights of a training.

    Attributes:
        recipe: the Recipe to train, with the normalisation that the weights expect.
        values: {variable: float32 array}. The other variables of the net are initialised at random.
        origin: Origin of the weights.
    """

    recipe: Recipe
    values: Values
    origin: Origin


def prepare_initial_weights(
    recipe: Recipe,
    images: ImageSpec,
    root: Path,
    data_cache: str | None = None,
    *,
    keep_normalisation: bool,
    recorded: Origin | None = None,
) -> InitialWeights:
    """Read the initial weights of a recipe and print which of them fit its net. No run is changed.

    Args:
        recipe: a Recipe whose `weights` are not "none".
        images: size, range and classes of the images of the net.
        root: the folder of the runs.
        data_cache: the folder of downloads, None for the default.
        keep_normalisation: whether the recipe's normalisation stays; else it becomes the one that the weights expect.
        recorded: the Origin that config.json records, for a run that was started before. Other weights are refused.

    Raises:
        InputError: the weights cannot be read, changed since they were recorded, or do not fit the net.
    """
    if recipe.name_map and not recorded and not is_checkpoint(recipe.weights):
        raise InputError(
            f"--name_map: needs the prefix of a checkpoint, but {recipe.weights}.index does not exist; check --weights"
        )
    net = build_inference(recipe, images.shape, images.classes)
    all_shapes = {variable.op.name: tuple(variable.shape) for variable in net.variables}
    shapes = {name: shape for name, shape in all_shapes.items() if not name.startswith(NORMALISATION)}
    source = recorded.source if recorded else recipe.weights
    loaded = _load(recipe, source, root, data_cache, all_shapes, images.pixel_max)
    if recorded and recorded.sha256 != loaded.origin.sha256:
        raise InputError(
            f"--weights={recipe.weights}: {loaded.origin.source} changed since the run started; "
            "restore it, or start the run again with --overwrite"
        )
    _check_fit(recipe, loaded, shapes)
    if recipe.name_map and not is_built_in(recipe.name_map):
        recipe = dataclasses.replace(recipe, name_map=str(Path(recipe.name_map).resolve()))
    recipe = _with_normalisation(recipe, loaded.normalisation, keep_normalisation)
    both_standardize = recipe.normalisation == loaded.normalisation == "standardize"
    allowed = all_shapes if both_standardize else shapes
    values = {name: array for name, array in loaded.fit.values.items() if name in allowed}
    print_fit(loaded.origin.source, shapes, dataclasses.replace(loaded.fit, values=values))
    return InitialWeights(recipe, values, loaded.origin)


def _load(
    recipe: Recipe, source: str, root: Path, data_cache: str | None, all_shapes: Shapes, pixel_max: int
) -> LoadedWeights:
    """Return the LoadedWeights that --weights names.

    Args:
        recipe, root, data_cache: see prepare_initial_weights.
        source: recipe.weights, or the source that config.json records.
        all_shapes: {variable: shape} of the net, normalisation included.
        pixel_max: upper end of the pixel range of the new images.
    """
    shapes = {name: shape for name, shape in all_shapes.items() if not name.startswith(NORMALISATION)}
    if recipe.weights == "imagenet":
        return load_published(recipe.net, shapes, data_cache)
    if is_keras_file(recipe.weights):
        return _load_keras(Path(source).resolve(), recipe, shapes)
    if not is_checkpoint(source):
        return load_run(recipe.weights, root, all_shapes, pixel_max)
    name_map = tf1_checkpoint.read_name_map(recipe.name_map)
    loaded = tf1_checkpoint.load_checkpoint(Path(source).resolve(), name_map, shapes)
    say(f"normalisation: {recipe.normalisation}; a checkpoint does not record how its program normalised the images")
    return loaded


def _load_keras(path: Path, recipe: Recipe, shapes: Shapes) -> LoadedWeights:
    """Return the LoadedWeights of an HDF5 file."""
    if not path.exists():
        raise InputError(f"--weights={recipe.weights}: there is no file {path}; name a file that Keras saved")
    architecture = ARCHITECTURES.get(recipe.net)
    normalisation = architecture.preprocessing if architecture else None
    fit = keras_hdf5.read_keras(path, shapes)
    return LoadedWeights(Origin(str(path), sha256_of(path)), normalisation, fit)


def _check_fit(recipe: Recipe, loaded: LoadedWeights, shapes: Shapes) -> None:
    """Refuse weights of which none fits, or that lack variables of the net which training leaves unchanged."""
    fit = loaded.fit
    if not any(name in shapes for name in fit.values):
        print_names(loaded.origin.source, shapes, fit.stored)
        advice = "--name_map=FILE.json maps names" if is_checkpoint(recipe.weights) else "expected weights of this net"
        raise InputError(
            f"--weights={recipe.weights}: none of the {len(fit.stored)} variables of {loaded.origin.source} fits "
            f"--net={recipe.net} by name and shape, see the table; {advice}"
        )
    missing = [name for name in shapes if name not in fit.values]
    if recipe.epochs == 0 and missing:
        raise InputError(
            f"--weights={recipe.weights}: lacks {len(missing)} of the net's variables, such as {missing[0]}, and "
            "--epochs=0 does not train them; name weights that have all variables, or increase --epochs"
        )
    moments = sorted(moving_moments(shapes).intersection(missing))
    if recipe.freeze_batch_norm and moments:
        raise InputError(
            f"--weights={recipe.weights}: lacks {len(moments)} moving means and variances of batch norm, such as "
            f"{moments[0]}, and --freeze_batch_norm keeps them; name weights that have them, or set "
            "--freeze_batch_norm=false"
        )


def _with_normalisation(recipe: Recipe, expected: str | None, keep: bool) -> Recipe:
    """Return the Recipe with the normalisation that the weights expect, unless `keep`. Print the normalisation.

    Args:
        recipe: Recipe.
        expected: the normalisation that the weights expect; None if it is not known.
        keep: whether the recipe's normalisation stays.
    """
    if expected is None:
        return recipe
    if not keep and recipe.normalisation != expected:
        say(f"normalisation: {expected}, which these weights expect")
        return dataclasses.replace(recipe, normalisation=expected)
    differs = "" if recipe.normalisation == expected else f" (as set; these weights expect {expected})"
    say(f"normalisation: {recipe.normalisation}{differs}")
    return recipe
