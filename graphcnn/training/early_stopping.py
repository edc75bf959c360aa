"""Early stopping. The assignment prescribes the class EarlyStopping, its method validate and their behaviour."""

from __future__ import annotations

import math
from typing import Any

from graphcnn.common.progress import say


class EarlyStopping:
    """Decides when to stop, from one value per epoch.

    An epoch is worse if its value is worse than the best value so far. An epoch that is not worse resets the count of
    worse epochs. Training stops at the (patience + 1)-th worse epoch in a row.

    Args:
        patience: number of worse epochs in a row after which training still continues.
        verbose: 1 to print a line when training stops.
        mode: "min" if a lower value is better (a loss), "max" if a higher one is (a score).
    """

    def __init__(self, patience: int = 0, verbose: int = 0, mode: str = "min") -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"mode: expected 'min' or 'max', found {mode!r}")
        self.patience = patience
        self.verbose = verbose
        self.mode = mode
        self.best = math.inf if mode == "min" else -math.inf
        self.worse_in_a_row = 0

    def validate(self, loss: float) -> bool:
        """Record the value of an epoch and return whether training should stop. NaN counts as worse."""
        no_worse = loss <= self.best if self.mode == "min" else loss >= self.best
        if no_worse:
            self.best = loss
            self.worse_in_a_row = 0
            return False
        self.worse_in_a_row += 1
        stop = self.worse_in_a_row > self.patience
        if stop and self.verbose:
            say(f"Stopped early: {self.worse_in_a_row} epochs in a row were worse than the best one.")
        return stop

    def state(self) -> dict[str, Any]:
        """Return {"best", "worse_in_a_row"} as JSON values for `restore`; "best" is None before the first epoch."""
        return {"best": self.best if math.isfinite(self.best) else None, "worse_in_a_row": self.worse_in_a_row}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a result of `state`."""
        if state["best"] is not None:
            self.best = state["best"]
        self.worse_in_a_row = state["worse_in_a_row"]
