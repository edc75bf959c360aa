"""Early stopping with the assignment's class, method and meaning."""

import math


class EarlyStopping:
    """Says when to stop, from one number an epoch.

    A value no worse than the best so far resets the count; the (patience + 1)-th worse one in a row stops.

    Args:
        patience: how many worse values in a row are borne.
        verbose: 1 prints a line on stopping.
        mode: "min" for a loss, "max" for a score.
    """

    def __init__(self, patience=0, verbose=0, mode="min"):
        if mode not in ("min", "max"):
            raise ValueError(f"mode: expected 'min' or 'max', found {mode!r}")
        self.patience = patience
        self.verbose = verbose
        self.mode = mode
        self.best = math.inf if mode == "min" else -math.inf
        self.worse_in_a_row = 0

    def validate(self, loss):
        """Take the epoch's value; return True when training should stop. NaN counts as worse."""
        no_worse = loss <= self.best if self.mode == "min" else loss >= self.best
        if no_worse:
            self.best = loss
            self.worse_in_a_row = 0
            return False
        self.worse_in_a_row += 1
        stop = self.worse_in_a_row > self.patience
        if stop and self.verbose:
            print(f"Stopped early: {self.worse_in_a_row} epochs in a row were worse than the best, {self.best:.6g}.")
        return stop

    def state(self):
        """Return what `restore` needs, as JSON values (no best yet is None)."""
        return {"best": self.best if math.isfinite(self.best) else None, "worse_in_a_row": self.worse_in_a_row}

    def restore(self, state):
        """Take up the count and the best value that `state` returned."""
        if state["best"] is not None:
            self.best = state["best"]
        self.worse_in_a_row = state["worse_in_a_row"]
