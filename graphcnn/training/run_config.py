"""What config.json records of a run."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np
import sklearn

from graphcnn import __version__
from graphcnn.config.recipe import Recipe
from graphcnn.data.dataset import Dataset
from graphcnn.data.sources import DataOptions
from graphcnn.ops.tf1 import cpu, tf


def run_config(
    name: str,
    recipe: Recipe,
    dataset: Dataset,
    options: DataOptions,
    split: Mapping[str, Any],
    origin: Mapping[str, str] | None,
) -> dict[str, Any]:
    """Return the content of config.json, as JSON values.

    Args:
        name: name of the recipe.
        recipe: every setting.
        dataset: the data.
        options: how the data were loaded.
        split: kind and fraction of the dev split, numbers of training rows and dev rows.
        origin: source and sha256 of the initial weights, None for random ones.
    """
    return {
        "recipe_name": name,
        "recipe": dataclasses.asdict(recipe),
        "data": {
            "source": dataset.source,
            "fingerprint": dataset.fingerprint,
            "image_shape": list(dataset.image_shape),
            "pixel_max": dataset.pixel_max,
            "options": dataclasses.asdict(options),
        },
        "weights": origin,
        "split": split,
        "class_names": list(dataset.class_names),
        "versions": {
            "graphcnn": __version__,
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "cpu": cpu(),
    }
