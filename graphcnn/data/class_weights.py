"""The weight of each class in the loss. N training images, K classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphcnn.common.errors import InputError, SettingError, literal, unknown_name
from graphcnn.common.files import read_json
from graphcnn.config.setting_paths import is_class_weights_file

CHOICES = ("none", "balanced", "sqrt")  # values of the setting class_weights that are not files
FILE_BYTES = 16 << 20  # maximum size of a file of weights
LARGE_RATIO = 3  # of the largest and the smallest class; above it, `train` suggests class weights


def class_weights(setting: str, labels: np.ndarray, class_names: Sequence[str]) -> np.ndarray | None:
    """Return the weight of each class, float64 [K], with a mean of 1 over the training images; None for no weights.

    "balanced" is scikit-learn's compute_class_weight: N / (K * images of the class). "sqrt" is its square root.

    Args:
        setting: one of CHOICES, or a JSON file with an object {class name: weight}.
        labels: class ids of the training images, int [N]; each class has an image.
        class_names: K names.

    Raises:
        SettingError: the setting is not possible.
        InputError: the file is not valid.
    """
    if setting == "none":
        return None
    counts = np.bincount(labels, minlength=len(class_names))
    if setting in CHOICES:
        weights = len(labels) / (len(class_names) * counts)
        weights = weights if setting == "balanced" else np.sqrt(weights)
    elif is_class_weights_file(setting):
        weights = _read(setting, class_names)
    else:
        raise SettingError("class_weights", literal(unknown_name(setting, [*CHOICES, "FILE.json"])))
    return weights * (len(labels) / np.sum(counts * weights))


def _read(path: str, class_names: Sequence[str]) -> np.ndarray:
    """Return the weights of a file, float64 [K]."""
    try:
        content = read_json(path, FILE_BYTES)
    except FileNotFoundError:
        raise InputError(f"--class_weights={path}: no such file") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not a JSON file ({error})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected an object {{class name: weight}}")
    for name in content:
        if name not in class_names:
            raise InputError(f"{path}: {unknown_name(name, class_names)}")
    for name in class_names:
        weight = content.get(name, 0)
        if type(weight) not in (int, float) or not 0 < weight < np.inf:
            found = repr(weight) if name in content else "no weight"
            raise InputError(f"{path}: class {name!r} has {found}, expected a number above 0")
    return np.array([content[name] for name in class_names], np.float64)


def unequal_classes(labels: np.ndarray, class_names: Sequence[str]) -> str | None:
    """Return a line that suggests class weights; None if the largest class is at most LARGE_RATIO times the smallest.

    Args:
        labels: class ids of the training images, int [N].
        class_names: K names.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    low, high = int(counts.argmin()), int(counts.argmax())
    if counts[high] <= LARGE_RATIO * counts[low]:
        return None
    return (
        f"suggestion: class {class_names[high]} has {counts[high]:,} training images, class {class_names[low]} only "
        f"{counts[low]:,}; to give small classes more weight, add --class_weights=balanced or --sampling=balanced"
    )
