"""What a user asks `train` to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DEV_FRACTION = 0.25  # of the training rows, unless the user names another one


@dataclass(frozen=True)
class TrainRequest:
    """The settings of one call of `train`; None stands for a flag that was not given.

    Args:
        root: folder of the runs.
        run: name of the run.
        resume: whether to continue the run.
        overwrite: whether to replace a run of this name.
        show_augmentation: whether to draw augmented images and train nothing.
        data: folder or name of the data.
        data_options: {name: value} of the DataOptions that were given.
        recipe: name of a recipe or an experiment.
        settings: {Recipe field: value} of the settings that were given.
        dev_fraction: fraction of the training rows that is held out as the dev split.
        dev_split: "first" or "stratified".
    """

    root: Path
    run: str | None = None
    resume: bool = False
    overwrite: bool = False
    show_augmentation: bool = False
    data: str | None = None
    data_options: Mapping[str, Any] = field(default_factory=dict)
    recipe: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    dev_fraction: float | None = None
    dev_split: str | None = None
