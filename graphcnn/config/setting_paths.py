"""Whether a value of the settings `weights`, `name_map` and `class_weights` is a path, and the absolute path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KERAS_SUFFIXES = (".h5", ".hdf5")
PATHS = ("weights", "name_map", "class_weights")  # settings whose values may be paths
WORDS = ("none", "imagenet")  # values of `weights` that are neither files nor runs


def is_keras_file(weights: str) -> bool:
    """Return whether a value of `weights` is the path of a Keras file."""
    return weights.lower().endswith(KERAS_SUFFIXES)


def is_checkpoint(prefix: str | Path) -> bool:
    """Return whether a path is the prefix of a checkpoint in TensorFlow's V2 format."""
    return Path(f"{prefix}.index").is_file()


def is_built_in(name_map: str) -> bool:
    """Return whether a value of `name_map` is the name of a map of this package, not a path."""
    return bool(re.fullmatch(r"\w+", name_map))


def is_class_weights_file(class_weights: str) -> bool:
    """Return whether a value of `class_weights` is the path of a file."""
    return class_weights.lower().endswith(".json")


def absolute(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return {setting: value}, in which the settings of PATHS are absolute paths if they are paths of files."""
    result = dict(settings)
    weights, name_map = settings.get("weights"), settings.get("name_map")
    if weights and weights not in WORDS and (is_keras_file(weights) or is_checkpoint(weights)):
        result["weights"] = str(Path(weights).resolve())
    if name_map and not is_built_in(name_map):
        result["name_map"] = str(Path(name_map).resolve())
    if is_class_weights_file(settings.get("class_weights") or ""):
        result["class_weights"] = str(Path(settings["class_weights"]).resolve())
    return result


def recorded_settings(config: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run with absolute paths, for a comparison with other settings.

    Args:
        config: the run's config.json. For weights from a file, its entry "weights" has the absolute path as "source".
        settings: {setting: value} of its recipe. Its `weights` may be relative to the folder of an earlier command.
    """
    result = absolute(settings)
    origin = config.get("weights")
    source = origin.get("source") if isinstance(origin, dict) else None
    if isinstance(source, str) and Path(source).is_absolute() and result.get("weights") not in WORDS:
        result["weights"] = source
    return result
