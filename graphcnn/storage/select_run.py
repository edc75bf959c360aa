"""Find the run, or the runs of an ensemble, that --run names."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from graphcnn.common import paths
from graphcnn.common.errors import InputError
from graphcnn.common.files import read_json
from graphcnn.common.progress import say
from graphcnn.common.replace import TEMPORARY
from graphcnn.storage.run import NAME, REPLACED, Run

NAME_BYTES = 255  # largest number of bytes of a file name


class Start(NamedTuple):
    """The position of a run in the order of the starts, from its config.json. A later start compares as larger.

    number: 1 for the first run of a folder, 2 for the next; 0 in a config.json of version 1. time: time of the file's
    last change in seconds since 1970; 0 if it is in the future. name: name of the run, which orders runs with the same
    number and time.
    """

    number: int
    time: float
    name: str


def next_start(root: Path) -> dict[str, Any]:
    """Return the entry "started" of a new run's config.json: the next number in `root`, and the present time.

    The number gives the order of the runs even if the clock was wrong. A config.json that cannot be read is ignored.
    """
    numbers = [0]
    for run in _runs(root):
        with suppress(OSError):
            numbers.append(_start(run).number)
    number = 1 + max(numbers)
    return {"number": number, "time": datetime.now(timezone.utc).isoformat(timespec="seconds")}


def all_runs(root: Path) -> list[Run]:
    """Return the started runs under `root`, <run> and <suite>/<run>, in reverse order of their starts.

    The folders that `Run.set_aside` renamed are not included.

    Raises:
        InputError: a config.json cannot be read, so the order of the runs is not known.
    """
    runs = [run for run in _runs(root) if not REPLACED.fullmatch(run.name)]
    try:
        return sorted(runs, key=_start, reverse=True)
    except OSError as error:
        raise InputError(
            f"{error.filename or root}: {error.strerror}, so the newest run is not known; call the command again, or "
            "name a run with --run"
        ) from None


def _runs(root: Path) -> list[Run]:
    configs = [*root.glob("*/config.json"), *root.glob("*/*/config.json")]
    names = [path.parent.relative_to(root).as_posix() for path in configs if not TEMPORARY.fullmatch(path.parent.name)]
    return [Run(root, name) for name in names if NAME.fullmatch(name)]


def _start(run: Run) -> Start:
    """Return the Start of a run. Its number is 0 if config.json is missing or has no valid number.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        started = read_json(run.config_path, follow=False)["started"]["number"]
        number = started if type(started) is int and started > 0 else 0
    except (InputError, FileNotFoundError, IsADirectoryError, ValueError, KeyError, TypeError, RecursionError):
        number = 0
    seconds = _change_time(run)
    return Start(number, seconds if seconds <= time.time() else 0.0, run.name)


def _change_time(run: Run) -> float:
    """Return the time of the last change of config.json in seconds since 1970, or 0 if the file is missing."""
    try:
        return run.config_path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


def newest_names(root: Path) -> str:
    """Return the names of the newest runs for an error line: "b, a", "none yet", or "not known"."""
    try:
        return ", ".join(run.name for run in all_runs(root)[:5]) or "none yet"
    except InputError:
        return "not known"


def unused_run(root: Path, stem: str) -> Run:
    """Return the Run <stem>-<n> with the smallest n from 1 whose folder does not exist yet."""
    n = 1
    while (root / f"{stem}-{n}").exists():
        n += 1
    return Run(root, f"{stem}-{n}")


def select_run(root: Path, name: str | None) -> Run:
    """Return the trained Run of this name. Without a name, return the newest run that has a best checkpoint.

    Raises:
        InputError: there is no such run, or it has no finished epoch.
    """
    if name is not None:
        run = Run(root, name)
        if not run.exists():
            raise InputError(f"--run={name}: no such run in {root} (newest: {newest_names(root)}); train it first")
        if not run.has_best():
            raise InputError(f"--run={name}: no finished epoch yet; continue the run with train --run={name} --resume")
        return run
    runs = [run for run in all_runs(root) if run.has_best()]
    if runs:
        _say_later_file(runs)
        return runs[0]
    raise InputError(f"--run: no trained run in {root}; train one with {paths.PROGRAM} train")


def _say_later_file(runs: Sequence[Run]) -> None:
    """Print a line if the config.json of another run has a later date than that of the first run."""
    latest = max(runs, key=_change_time)
    if _change_time(latest) > _change_time(runs[0]):
        say(
            f"--run: {runs[0].name} was started last, although {latest.config_path} has a later date; use --run "
            "to choose another run"
        )


def select_runs(root: Path, names: str) -> list[Run]:
    """Return the trained Runs that --run=a,b,c names, each once.

    Raises:
        InputError: a run is named twice, does not exist, or has no finished epoch.
    """
    run_names = names.split(",")
    if len(set(run_names)) < len(run_names):
        raise InputError(f"--run={names}: a run is named twice; name each run once")
    return [select_run(root, name) for name in run_names]


def ensemble_folder(root: Path, names: list[str]) -> Path:
    """Return the folder for the report of the ensemble of these runs."""
    return root / "ensembles" / joined_name(names, NAME_BYTES)


def joined_name(names: Sequence[str], longest: int) -> str:
    """Return a file name for several runs: "a+b". A longer name is cut and ends with a checksum of all names.

    Args:
        names: names of the runs, in ASCII.
        longest: largest number of bytes.
    """
    name = "+".join(name.replace("/", "-") for name in names)
    if len(name) <= longest:
        return name
    end = f"+{len(names)}runs-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return name[: longest - len(end)] + end
