"""The settings of one call of `train`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TrainRequest:
    """The settings of one call of `train`; None means that the flag was not given.

    Args:
        root: folder of the runs.
        run: name of the run.
        resume: whether to continue the run.
        allow_changed_net: whether to continue a run whose net has changed.
        overwrite: whether to replace an existing run of this name.
        show_augmentation: whether to draw augmented images and train nothing.
        data: folder or name of the data.
        data_options: {DataOptions field: value} for the flags that were given.
        recipe: name of a recipe or an experiment.
        settings: {Recipe field: value} for the flags that were given.
        dev_fraction: fraction of the training images in the dev split.
        dev_split: "first" or "stratified".
    """

    root: Path
    run: str | None = None
    resume: bool = False
    allow_changed_net: bool = False
    overwrite: bool = False
    show_augmentation: bool = False
    data: str | None = None
    data_options: Mapping[str, Any] = field(default_factory=dict)
    recipe: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    dev_fraction: float | None = None
    dev_split: str | None = None
