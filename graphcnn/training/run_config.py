"""The content of a run's config.json."""

from __future__ import annotations

import dataclasses
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import sklearn

from graphcnn import __version__
from graphcnn.config.recipe import Recipe
from graphcnn.data.dataset import Dataset
from graphcnn.data.sources import DataOptions
from graphcnn.graphs.net_record import record_net
from graphcnn.nets.own import CODE
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
        recipe: all settings.
        dataset: the data.
        options: the options that the data were loaded with.
        split: {"kind", "fraction", "train", "dev"}: the dev split, and the numbers of training images and dev images.
        origin: source and sha256 of the initial weights; None for random weights.
    """
    return {
        "recipe_name": name,
        "recipe": dataclasses.asdict(recipe),
        "data": {
            "source": dataset.source,
            "fingerprint": dataset.fingerprint,
            "image_shape": list(dataset.image_shape),
            "pixel_max": dataset.pixel_max,
            "options": options.recorded(dataset.source),
            **({} if dataset.first_label == 0 else {"first_label": dataset.first_label}),
        },
        "weights": origin,
        "split": split,
        "class_names": list(dataset.class_names),
        **environment(),
        "packages": installed_set(),
        "net": record_net(recipe, dataset.classes)._asdict(),
        **({"net_code": CODE[recipe.net]} if recipe.net in CODE else {}),
    }


def installed_set() -> str | None:
    """Return which versions of the packages run.sh has installed, from its stamp; None in another environment."""
    try:
        lines = (Path(sys.prefix) / "installed").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return lines[0].partition(" versions: ")[2] or None if lines else None


def environment() -> dict[str, Any]:
    """Return {"versions", "cpu"} of this process; the bytes of the trained weights depend on them."""
    versions = {
        "graphcnn": __version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
    }
    return {"versions": versions, "cpu": cpu()}


def with_environment(config: dict[str, Any], epoch: int) -> tuple[dict[str, Any], list[str]]:
    """Compare this environment with the last one in the config.json of a resumed run.

    If they differ, {"after_epoch", "versions", "cpu"} is appended to the list "resumed" of config.json.

    Args:
        config: the content of config.json.
        epoch: number of the last finished epoch.

    Returns:
        (the new content of config.json, the differences as text).
    """
    resumed = config.get("resumed")
    earlier = [entry for entry in resumed if isinstance(entry, dict)] if isinstance(resumed, list) else []
    last, current = [config, *earlier][-1], environment()
    differences = []
    for section, values in current.items():
        recorded = last.get(section)
        old = recorded if isinstance(recorded, dict) else {}
        changed = (name for name, value in values.items() if old.get(name) != value)
        differences += [f"{name} was {old.get(name)}, is {values[name]}" for name in changed]
    if differences:
        config = {**config, "resumed": [*earlier, {"after_epoch": epoch, **current}]}
    return config, differences
