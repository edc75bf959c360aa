"""Deletion of runs, with the question on the terminal."""

from __future__ import annotations

import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from graphcnn.common.errors import FileLocked, InputError
from graphcnn.common.progress import say, say_if_slow
from graphcnn.common.replace import delete_folder, remove_deleted
from graphcnn.storage.run import Run
from graphcnn.storage.select_run import newest_names


def delete_runs(root: Path, names: Sequence[str], confirmed: bool) -> None:
    """Delete runs after a question on the terminal.

    Args:
        root: folder of all runs.
        names: names of the runs.
        confirmed: whether the user has confirmed the deletion with --yes. No question is asked then.

    Raises:
        InputError: a run does not exist, is being trained, or holds a link or a file that is not part of a run; or it
            is not confirmed, and there is no terminal. Nothing is deleted then.
        OSError: a file cannot be deleted.
    """
    runs = [Run(root, name, "--delete") for name in dict.fromkeys(names)]
    for run in runs:
        _check(run)
    sizes = [_size(run.path) for run in runs]
    say("runs to delete:")
    for run, size in zip(runs, sizes, strict=True):
        say(f"  {run.name}  {_megabytes(size)}  {run.path}")
    if not (confirmed or _is_confirmed(len(runs), sum(sizes))):
        say("nothing was deleted")
        return
    _remove_leftovers(root)
    for run, size in zip(runs, sizes, strict=True):
        with say_if_slow(f"deleting {run.name}"):
            _delete(run)
        say(f"deleted: {run.name} ({_megabytes(size)})")


def _is_confirmed(count: int, size: int) -> bool:
    """Return whether the user answers "yes" on the terminal.

    Raises:
        InputError: there is no terminal.
    """
    if sys.stdin is None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputError("--delete: found no terminal to ask on, so nothing was deleted; confirm it with --yes")
    print(f"delete {count} run{'s' * (count > 1)} ({_megabytes(size)})? Type yes: ", end="", flush=True)
    return sys.stdin.readline().strip().lower() == "yes"


def _delete(run: Run) -> None:
    """Delete a run, unless a training has started meanwhile."""
    try:
        with run.lock():
            delete_folder(run.path)
    except FileLocked:
        raise _is_trained(run) from None


def _remove_leftovers(root: Path) -> None:
    """Delete what killed deletions of runs have left under `root`, as far as the system allows it."""
    suites = [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]
    for parent in (root, *suites):
        with suppress(OSError):  # another user's folder, or a leftover that is already deleted
            remove_deleted(parent)


def _check(run: Run) -> None:
    """Refuse a folder that is not a complete run of this package, and a run that is being trained."""
    if not run.exists():
        raise InputError(
            f"--delete={run.name}: {run.path} is not a run, because it has no config.json (newest runs: "
            f"{newest_names(run.root)}); name a run, or remove the folder yourself"
        )
    run.refuse_links()
    foreign = run.foreign_entry()
    if foreign is None and not (run.path / "split.npz").exists():
        foreign = _foreign_config(run)
    if foreign:
        raise InputError(
            f"--delete={run.name}: {run.path} holds {foreign}, which is not part of a run; move it elsewhere, or "
            "remove the folder yourself"
        )
    if run.is_locked():
        raise _is_trained(run)


def _foreign_config(run: Run) -> str | None:
    """Return "config.json" if it is not what a training writes. A damaged file of a run lies beside a split.npz."""
    try:
        run.config()
    except InputError:
        return "config.json"
    return None


def _is_trained(run: Run) -> InputError:
    return InputError(f"--delete={run.name}: a training is writing this run; stop it first, or wait for it")


def _size(folder: Path) -> int:
    """Return the size in bytes of the files below a folder. Links are not followed."""
    modes = [path.lstat() for path in folder.rglob("*")]
    return sum(status.st_size for status in modes if stat.S_ISREG(status.st_mode))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
