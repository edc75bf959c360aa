"""Weights from the best epoch of another run of this package."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.config.parse import recipe_from_dict
from graphcnn.storage import checkpoint
from graphcnn.storage.run import Run
from graphcnn.storage.select_run import newest_names
from graphcnn.weights.keras_hdf5 import LEAVES
from graphcnn.weights.loaded import Fit, LoadedWeights, Origin, Shapes

NORMALISATION = "normalisation/"  # scope of the variables that are statistics of a run's training images


def load_run(name: str, root: Path, shapes: Shapes, pixel_max: int) -> LoadedWeights:
    """Return the weights of the best epoch of a run.

    Args:
        name: the run's name.
        root: the folder of the runs.
        shapes: {variable: shape} of the net, normalisation included.
        pixel_max: upper end of the pixel range of the new images. The statistics of the run are scaled to it.

    Raises:
        InputError: there is no such run, it has no finished epoch, or its checkpoint is damaged.
    """
    run = _existing_run(name, root)
    if not (run.path / "best").exists():
        raise InputError(f"--weights={name}: the run has no finished epoch yet; train it first")
    config = run.config()
    normalisation = recipe_from_dict(config["recipe"], run.config_path).normalisation
    stored, values, sha256 = checkpoint.read_variables(
        run, "best", lambda variable, shape: shapes.get(variable) == shape
    )
    for variable in values:
        if variable.startswith(NORMALISATION):
            values[variable] = values[variable] * np.float32(pixel_max / config["data"]["pixel_max"])
    leaves = {leaf.rpartition("/")[2] for leaf in LEAVES.values()}  # an optimizer's variables have other leaves
    stored = {
        variable: shape
        for variable, shape in stored.items()
        if variable.rpartition("/")[2] in leaves and not variable.startswith(NORMALISATION)
    }
    return LoadedWeights(Origin(name, sha256), normalisation, Fit(values, stored))


def _existing_run(name: str, root: Path) -> Run:
    """Return the Run of this name. If there is none, raise InputError with a list of the values of --weights."""
    try:
        run = Run(root, name)
    except InputError:  # not a name that a run can have
        run = None
    if run is None or not run.exists():
        raise InputError(
            f"--weights={name}: expected none, imagenet, FILE.h5, a checkpoint's prefix or a run in {root} "
            f"(newest: {newest_names(root)})"
        )
    return run
