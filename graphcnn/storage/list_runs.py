"""All runs of a folder, also those that are being trained, were interrupted or are damaged."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphcnn.common.errors import InputError, error_line
from graphcnn.common.replace import TEMPORARY
from graphcnn.config.recipe import Setting
from graphcnn.storage.run import NAME, Run
from graphcnn.storage.run_record import read_record


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """A run in the list; the fields are those of the JSON document.

    Attributes:
        name: name of the run.
        state: running, interrupted, finished or damaged.
        problem: why the run is damaged. The following fields are then None, except age_seconds.
        data: the data source.
        recipe: name of the recipe.
        settings: the settings that differ from this recipe; None if there is no such recipe.
        epochs, planned_epochs: number of finished epochs, and of epochs without early stopping.
        best_epoch, dev_macro_f1, training_seconds: see RunRecord.
        age_seconds: time since the last epoch, or since the start before the first epoch.
    """

    name: str
    state: str
    problem: str | None = None
    data: str | None = None
    recipe: str | None = None
    settings: dict[str, Setting] | None = None
    epochs: int | None = None
    planned_epochs: int | None = None
    best_epoch: int | None = None
    dev_macro_f1: float | None = None
    training_seconds: float | None = None
    age_seconds: float | None = None


def find_runs(root: Path) -> list[Run]:
    """Return the runs under `root`, <run> and <suite>/<run>, sorted by name.

    A folder is a run if it holds a config.json or a checkpoint. Links are not followed.

    Raises:
        InputError: `root` is not a folder.
    """
    if not root.is_dir():
        raise InputError(f"--checkpoints={root}: no such folder; name the folder that holds the runs")
    runs = []
    for run in _folders(root, root):
        if _is_run(run):
            runs.append(run)
        elif not run.path.is_symlink() and "/" not in run.name:
            runs += filter(_is_run, _folders(root, run.path))
    return sorted(runs, key=lambda run: _natural(run.name))


def list_run(run: Run) -> ListedRun:
    """Return the row of a run. An error in its folder makes it a damaged run."""
    try:
        record = read_record(run)
    except (InputError, OSError) as error:
        saved = None
        with suppress(OSError):
            saved = run.config_path.lstat().st_mtime
        return ListedRun(name=run.name, state="damaged", problem=error_line(error), age_seconds=_age(saved))
    return ListedRun(
        name=run.name,
        state=record.state,
        data=record.config["data"]["source"],
        recipe=record.config["recipe_name"],
        settings=record.changed_settings(),
        epochs=record.last.epoch,
        planned_epochs=record.planned_epochs,
        best_epoch=record.best_epoch,
        dev_macro_f1=record.dev_macro_f1,
        training_seconds=record.training_seconds,
        age_seconds=_age(record.saved),
    )


def _folders(root: Path, parent: Path) -> Iterator[Run]:
    """Yield a Run for each folder in `parent` whose name may be that of a run."""
    entries: list[Path] = []
    with suppress(OSError):  # another user's folder
        entries = [path for path in parent.iterdir() if path.is_dir() and not TEMPORARY.fullmatch(path.name)]
    for path in entries:
        name = path.relative_to(root).as_posix()
        if NAME.fullmatch(name):
            yield Run(root, name)


def _is_run(run: Run) -> bool:
    try:
        return run.exists() or run.has_epochs()
    except OSError:  # the folder cannot be read: the list shows the reason
        return True


def _age(saved: float | None) -> float | None:
    return None if saved is None else max(0.0, time.time() - saved)


def _natural(name: str) -> list[Any]:
    """Return a key that sorts digits-2 before digits-10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _descending(value: float | None) -> tuple[bool, float]:
    return (value is None, -(value or 0))


ORDERS: dict[str, Callable[[ListedRun], Any]] = {  # {value of --sort: key}
    "name": lambda run: _natural(run.name),
    "score": lambda run: _descending(run.dev_macro_f1),
    "age": lambda run: (run.age_seconds is None, run.age_seconds),
    "seconds": lambda run: _descending(run.training_seconds),
    "epochs": lambda run: _descending(run.epochs),
}
