"""The state of a training, which state.json keeps beside each checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphcnn.training.early_stopping import EarlyStopping


@dataclass(frozen=True)
class TrainingState:
    """The state of a training after an epoch.

    Args:
        epoch: the last finished epoch; 0 before the first one.
        best_epoch: the epoch with the highest dev macro F1; the last epoch if there is no dev split.
        best_score: dev macro F1 of the best epoch; None without a dev split, and before the first epoch.
        stopped_early: whether early stopping ended the run.
        stopping: state of the current stage's early stopping, as EarlyStopping.state returns it.
        frozen_epochs: number of epochs before fine-tuning; None until fine-tuning starts, and in a run without it.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_score: float | None = None
    stopped_early: bool = False
    stopping: dict[str, Any] = field(default_factory=lambda: EarlyStopping().state())
    frozen_epochs: int | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainingState:
        """Return the state that state.json holds."""
        names = {attribute.name for attribute in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in names})

    def to_json(self) -> dict[str, Any]:
        """Return the values of state.json."""
        values = dataclasses.asdict(self)
        if self.frozen_epochs is None:
            del values["frozen_epochs"]
        return values

    def after(self, epoch: int, score: float | None, early_stopping: EarlyStopping, *, stopped: bool) -> TrainingState:
        """Return the state after an epoch.

        Args:
            epoch: number of the epoch, from 1.
            score: dev macro F1 of the epoch; None without a dev split.
            early_stopping: early stopping of the stage, after its `validate` for this epoch.
            stopped: whether early stopping ends the stage.
        """
        is_best = score is None or self.best_score is None or score > self.best_score
        return dataclasses.replace(
            self,
            epoch=epoch,
            best_epoch=epoch if is_best else self.best_epoch,
            best_score=score if is_best else self.best_score,
            stopped_early=stopped,
            stopping=early_stopping.state(),
        )
