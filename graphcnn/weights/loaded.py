"""The types that the readers of weights return: the weights of a source, under the variable names of a net."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graphcnn.common.errors import InputError

Shapes = dict[str, tuple[int, ...]]  # {variable: shape}
Values = dict[str, np.ndarray]  # {variable: float32 array}

NOT_TRAINED = (
    "note: no step was trained (--epochs=0); if the initial weights were trained on some of these images, the score is "
    "too high"
)
LAYER_AND_LEAF = re.compile(r"(?:(.+?)/)?((?:(?:depthwise|pointwise)/)?[^/]*)")


@dataclass(frozen=True)
class Fit:
    """The weights of a source that fit a net.

    Attributes:
        values: the weights whose name and shape agree with a variable of the net.
        stored: the shapes of all weights of the source, under the names of the net if a name is known.
        by_order: whether layers were matched by their order in the file, not by their names.
    """

    values: Values
    stored: Shapes
    by_order: bool = False


@dataclass(frozen=True)
class Origin:
    """The source of weights, as config.json records it.

    Attributes:
        source: a path, a URL, a package NAME==VERSION or the name of a run.
        sha256: of the file that holds the weights, as hex.
    """

    source: str
    sha256: str

    @classmethod
    def from_config(cls, config: dict[str, Any], path: Path) -> Origin:
        """Return the Origin that a run's config.json records.

        Args:
            config: the content of config.json.
            path: its path, for the message.

        Raises:
            InputError: it records no Origin.
        """
        recorded = config.get("weights")
        keys = ("source", "sha256")
        if not isinstance(recorded, dict) or not all(isinstance(recorded.get(key), str) for key in keys):
            raise InputError(f"{path}: 'weights' is damaged; restore the file, or train the run again with --overwrite")
        return cls(*(recorded[key] for key in keys))


@dataclass(frozen=True)
class LoadedWeights:
    """Weights that were read from a source.

    Attributes:
        origin: Origin.
        normalisation: the normalisation that the weights expect, as in Recipe; None if it is not known.
        fit: Fit.
    """

    origin: Origin
    normalisation: str | None
    fit: Fit


def split_name(name: str) -> tuple[str, str]:
    """Return (layer, leaf) of a variable's name: ("conv1", "w"), ("block1", "depthwise/w")."""
    match = LAYER_AND_LEAF.fullmatch(name)
    return (match[1] or "", match[2]) if match else ("", name)


def check_finite(path: str | Path, values: Mapping[str, np.ndarray]) -> None:
    """Refuse weights that are NaN or infinite.

    Args:
        path: the file that holds them, for the message.
        values: the weights.

    Raises:
        InputError: a weight is not finite.
    """
    for name, array in values.items():
        if not np.isfinite(array).all():
            raise InputError(f"{path}: {name} holds NaN or infinite numbers")
