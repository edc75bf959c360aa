"""What the folder of a run records, except its weights. Reading it needs no TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from graphcnn.common.errors import FileError, InputError
from graphcnn.config.parse import recipe_from_dict
from graphcnn.config.recipe import Recipe, Setting
from graphcnn.config.suites import named_recipe
from graphcnn.storage.run import HistoryRow, LastEpoch, Run
from graphcnn.storage.state import read_state

TRIES = 3  # a training may replace a checkpoint while it is read
LONGEST_SECONDS = 1e10  # more seconds in a history.csv are no duration of a training


@dataclass(frozen=True)
class RunRecord:
    """The content of a run's folder.

    Attributes:
        name: name of the run.
        running: whether a training holds the lock of the run.
        config: content of config.json.
        recipe: the recipe of the training.
        last: the last finished epoch.
        planned_epochs: number of epochs if early stopping does not end a stage.
        best_epoch: number of the best epoch; None before the first epoch.
        dev_macro_f1: of the best epoch, in float32 if it was computed; None without a dev split.
        history: the rows of history.csv of the finished epochs.
        saved: time of the last epoch in seconds since 1970; before the first epoch, the time of config.json.
    """

    name: str
    running: bool
    config: dict[str, Any]
    recipe: Recipe
    last: LastEpoch
    planned_epochs: int
    best_epoch: int | None
    dev_macro_f1: float | None
    history: list[HistoryRow]
    saved: float

    @property
    def state(self) -> Literal["running", "interrupted", "finished"]:
        """Whether the run is trained at the moment, can be continued, or has its last epoch."""
        if self.running:
            return "running"
        return "finished" if self.best_epoch is not None and self.last.is_final(self.recipe) else "interrupted"

    @property
    def training_seconds(self) -> float | None:
        """Seconds of all training passes; None before the first epoch, and in a run that did not record them."""
        return plausible_seconds(self.history[-1]["training_seconds"]) if self.history else None

    @property
    def dev_cross_entropy(self) -> float | None:
        """Cross-entropy of the best epoch on the dev split; None without one."""
        return self.history[self.best_epoch - 1]["dev_cross_entropy"] if self.best_epoch else None

    def changed_settings(self) -> dict[str, Setting] | None:
        """Return the settings that differ from the recipe that the run names; None if there is no such recipe.

        A run records the precision that `auto` chose, so this is no difference.
        """
        try:
            named = dataclasses.asdict(named_recipe(self.config["recipe_name"]).recipe)
        except InputError:
            return None
        if named["precision"] == "auto":
            named["precision"] = self.recipe.precision
        return {name: value for name, value in dataclasses.asdict(self.recipe).items() if value != named[name]}


def read_record(run: Run) -> RunRecord:
    """Return the RunRecord of a run, which a training may change at the same time.

    The sha256 of the checkpoints is not checked.

    Raises:
        InputError: config.json, a link, a state.json or history.csv is missing or damaged, or there is another link.
        OSError: a file of the run cannot be read.
    """
    for _ in range(TRIES - 1):
        try:
            return _read(run)
        except (InputError, OSError):
            continue
    return _read(run)


def plausible_score(value: float | None) -> float | None:
    """Return a macro F1 score; None if it is missing or not from 0 to 1."""
    return value if value is not None and 0 <= value <= 1 else None


def plausible_seconds(value: float | None) -> float | None:
    """Return a duration; None if it is missing, negative, not finite, or longer than any training."""
    return value if value is not None and 0 <= value <= LONGEST_SECONDS else None


def _read(run: Run) -> RunRecord:
    if run.lacks_config():
        raise FileError(run.config_path, "is missing, but the run has checkpoints; restore the file")
    running, config = run.is_locked(), run.config()
    recipe = recipe_from_dict(config["recipe"], run.config_path)
    last, saved, planned = LastEpoch(), run.config_path.lstat().st_mtime, recipe.all_epochs()
    best_epoch: int | None = None
    score: float | None = None
    if run.has_last():
        state = read_state(run.path / "last")
        saved = (run.path / "last" / "state.json").lstat().st_mtime
        if state.get("frozen_epochs") in range(planned):
            planned = state["frozen_epochs"] + recipe.finetune_epochs
        if run.has_best():  # a crash in the first epoch may have left only `last`
            last = run.last_epoch()
            best = read_state(run.path / "best")
            best_epoch, score = best["epoch"], _float32_score(config, best)
            if best_epoch not in range(last.epoch + 1):
                found = f"leads to epoch {best_epoch}, but the last epoch is {last.epoch}"
                raise FileError(run.path / "best", f"{found}; restore the link, or train the run again")
    elif run.has_best():
        raise FileError(run.path / "last", "is missing, but the link `best` exists; restore the link")
    history = run.history(last.epoch) if last.epoch else []
    return RunRecord(run.name, running, config, recipe, last, planned, best_epoch, score, history, saved)


def _float32_score(config: Mapping[str, Any], best: Mapping[str, Any]) -> float | None:
    """Return the dev macro F1 of the best epoch that config.json records, or else the one that the training measured.

    Args:
        config: content of config.json. It has a score of the finished run in float32.
        best: content of the state.json of the checkpoint `best`.
    """
    recorded = config.get("best")
    if isinstance(recorded, dict) and recorded.get("epoch") == best["epoch"]:
        score = recorded.get("dev_macro_f1")
        if isinstance(score, float):
            return plausible_score(score)
    return plausible_score(best["best_score"])
