"""Export to a .npz file with an array for each variable and the settings as JSON. N images, H x W pixels, K classes."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from graphcnn.common.files import open_regular
from graphcnn.config.parse import recipe_from_dict
from graphcnn.evaluation.one_graph import build_one_graph, images_only
from graphcnn.evaluation.predictor import Predictor, probabilities
from graphcnn.ops.tf1 import session as new_session
from graphcnn.ops.tf1 import tf1
from graphcnn.storage import checkpoint

ABOUT = "config.json"  # name of the array that contains the JSON text


def write(path: Path, predictor: Predictor, about: dict[str, Any]) -> None:
    """Write the file; it contains `about` as JSON text."""
    arrays: dict[str, Any] = {variable.op.name: variable for variable in predictor.graph.variables}
    arrays = predictor.session.run(arrays) | {ABOUT: np.array(json.dumps(about))}
    with path.open("wb") as file:
        np.savez(file, **arrays)


def compute(path: Path, images: np.ndarray) -> tuple[np.ndarray, str]:
    """Return (softmax outputs [N, K] for images [N, H, W, 3], name of the runtime), computed only from the file."""
    with np.load(path, allow_pickle=False) as file:
        values = dict(file)
    about = json.loads(str(values.pop(ABOUT)))
    recipes = [images_only(recipe_from_dict(member["recipe"], path)) for member in about["members"]]
    weights = [member["share"] for member in about["members"]]
    classes, temperature = len(about["class_names"]), about.get("temperature")
    graph = build_one_graph(recipes, about["image_shape"], classes, weights, temperature)
    with graph.graph.as_default(), new_session(graph.graph) as session:
        session.run(tf1.global_variables_initializer())
        checkpoint.assign(session, graph.variables, values)
        return probabilities(session, graph, images), f"graphcnn, with the arrays of NumPy {np.__version__},"


def why_foreign(path: Path) -> str | None:
    """Return the reason why this file is not an export; None if it is one."""
    try:
        with open_regular(path, follow=False) as file, zipfile.ZipFile(file) as packed:
            return None if f"{ABOUT}.npy" in packed.namelist() else f"it has no array {ABOUT}"
    except zipfile.BadZipFile:
        return "it is not a .npz file"
