"""The folder of a run, checkpoints/<run>/: its name, config.json, dev rows, history.csv and lock.

Files: config.json, split.npz, history.csv, best and last (links, see checkpoint.py), events/, curves.png, report/,
calibration.json, .lock.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import stat
import zipfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np

from graphcnn.common.errors import InputError, UnsafeFile
from graphcnn.common.files import (
    file_type,
    is_litter,
    open_regular,
    read_json,
    read_text,
    refuse_links,
    sync,
)
from graphcnn.common.locks import is_locked, lock
from graphcnn.common.replace import atomic_write
from graphcnn.config.recipe import Recipe
from graphcnn.data import sources
from graphcnn.data.checks import is_image_shape

OWN_FILES = re.compile(
    r"config\.json|split\.npz|history\.csv|best|last|events|curves\.png|report|calibration\.json|\.lock|epoch-\d+"
    r"|\..+\.new\S*"
)
LINKS = re.compile(r"best|last|\.(best|last)\.([0-9a-f]{16}\.)?new")  # the links of a run, and their temporary names
EPOCH_FOLDER = re.compile(r"epoch-\d+")
HISTORY_BYTES = 64 << 20  # maximum size of history.csv
HISTORY_ROWS = 100_000  # maximum number of epochs in it
_PART = r"(?!\.+(?:/|$))[A-Za-z0-9._-]+"  # not only dots
NAME = re.compile(f"{_PART}(/{_PART})?")
REPLACED = re.compile(r".+\.replaced-\d+")  # name of a folder that `Run.set_aside` renamed


class HistoryRow(TypedDict):
    """A row of history.csv: the scores and the duration of one epoch.

    loss: sum of the training loss over the steps of the epoch. cross_entropy, accuracy: on the training split.
    dev_*: scores on the dev split, None without one. seconds: wall-clock time of the whole epoch.
    training_seconds: wall-clock time of all training passes so far, without dev passes and saves.
    """

    epoch: int
    step: int
    loss: float
    cross_entropy: float
    accuracy: float
    dev_macro_f1: float | None
    dev_accuracy: float | None
    dev_cross_entropy: float | None
    seconds: float
    images_per_second: float
    training_seconds: float


class LastEpoch(NamedTuple):
    """The last saved epoch of a run.

    epoch: its number; 0 before the first epoch. stopped_early: whether early stopping ended the run after it.
    worse_in_a_row: number of epochs that early stopping has counted as worse, up to this epoch.
    """

    epoch: int = 0
    stopped_early: bool = False
    worse_in_a_row: int = 0

    def is_final(self, recipe: Recipe) -> bool:
        """Return whether a training with this recipe ends after the epoch."""
        stopped = self.stopped_early and (recipe.finetune_epochs > 0 or self.worse_in_a_row > recipe.patience)
        return stopped or self.epoch >= recipe.all_epochs()


COLUMNS = tuple(HistoryRow.__annotations__)
_NO_NET: dict[str, Any] = {"fingerprint": "", "layers": []}  # the entry "net" of config.json; old runs have none
INTEGERS = ("epoch", "step")


class Run:
    """The folder of one training run under `root`. Nothing is created before `create`.

    Args:
        root: folder of all runs.
        name: name of the run.
        flag: the flag with the name, for the error line.

    Raises:
        InputError: the name is not a valid run name.
    """

    def __init__(self, root: Path, name: str, flag: str = "--run") -> None:
        if not NAME.fullmatch(name):
            raise InputError(f"{flag}: found {name!r}, expected letters, digits, '.', '_', '-' and at most one '/'")
        self.name = name
        self.root = Path(root)
        self.path = self.root / name
        self.config_path = self.path / "config.json"

    def refuse_foreign(self) -> None:
        """Refuse a folder that holds other files than those of a run, lies inside a run, or is behind a link."""
        parents = self.path.parents[: len(self.name.split("/")) - 1]
        self.refuse_links()
        if any((folder / "config.json").exists() for folder in parents):
            raise InputError(f"--run={self.name}: {self.path} lies inside another run; choose another name")
        foreign = self.foreign_entry()
        if foreign:
            raise InputError(
                f"--run={self.name}: {self.path} holds {foreign}, which is not part of a run; choose another name"
            )

    def foreign_entry(self) -> str | None:
        """Return the name of a file or folder in the run's folder that is not part of a run; None if there is none."""
        entries = self.path.iterdir() if self.path.exists() else iter(())
        others = [entry for entry in entries if not OWN_FILES.fullmatch(entry.name)]
        return next((entry.name for entry in others if not (entry.is_file() and is_litter(entry.name))), None)

    def refuse_links(self) -> None:
        """Refuse a run that contains a link to other files, or a file that is not regular.

        A run may contain only two links: `best` and `last`, which point to a folder epoch-<n> of the run.

        Raises:
            UnsafeFile: the folder, or a folder above it up to the root, is a link; or the folder contains another link,
                a FIFO, a socket or a device.
        """
        refuse_links(self.path, self.root)
        folders = [self.path] if self.path.is_dir() else []
        while folders:
            folder = folders.pop()
            for entry in list(os.scandir(folder)):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(folder / entry.name)
                else:
                    with suppress(FileNotFoundError):  # a training has just replaced the file
                        _check_entry(folder / entry.name, may_link=folder == self.path)

    def exists(self) -> bool:
        """Return whether a run of this name was started."""
        return _is_present(self.config_path)

    def has_best(self) -> bool:
        """Return whether the run has a best checkpoint, and thus at least one finished epoch."""
        return _is_present(self.path / "best")

    def has_last(self) -> bool:
        """Return whether the run has a checkpoint to resume from."""
        return _is_present(self.path / "last")

    def has_epochs(self) -> bool:
        """Return whether the run has a link to a checkpoint, or the folder of one."""
        return self.has_best() or self.has_last() or any(self.path.glob("epoch-*"))

    def lacks_config(self) -> bool:
        """Return whether the run has checkpoints but no config.json."""
        return self.has_epochs() and not self.exists()

    def create(self, config: dict[str, Any], dev_rows: np.ndarray) -> None:
        """Write config.json, and split.npz with the row indices of the dev split, into the folder."""
        self.path.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.path / "split.npz") as file:
            np.savez(file, dev_rows=dev_rows)
        self.write_config(config)

    def write_config(self, config: dict[str, Any]) -> None:
        """Write config.json atomically."""
        with atomic_write(self.config_path) as file:
            file.write((json.dumps(config, indent=2) + "\n").encode())

    def config(self) -> dict[str, Any]:
        """Return config.json.

        Raises:
            InputError: the file is missing, cannot be read or has another format.
            UnsafeFile: the run contains a link or a file that is not regular; see refuse_links.
        """
        self.refuse_links()
        try:
            config = read_json(self.config_path, follow=False)
            data, split, class_names = config["data"], config["split"], config["class_names"]
            texts = [config["recipe_name"], data["source"], data["fingerprint"], split["kind"], *class_names]
            if not (
                isinstance(config["recipe"], dict)
                and all(isinstance(text, str) for text in texts)
                and data["pixel_max"] in (1, 255)
                and data.get("first_label", 0) in (0, 1, None)
                and [type(size) for size in data["image_shape"]] == [int, int]
                and is_image_shape(*data["image_shape"])
                and isinstance(split["fraction"], (int, float))
                and sources.DataOptions(**data.get("options", {})).well_formed()
                and len(class_names) > 1
                and _are_class_weights(config.get("class_weights"), len(class_names))
                and _is_net(config.get("net", _NO_NET))
            ):
                names = "'recipe_name', 'recipe', 'data', 'split', 'class_names', 'class_weights' or 'net'"
                raise ValueError(f"{names} is not what train writes")
            return config
        except FileNotFoundError:
            raise InputError(
                f"{self.config_path}: no such run; train it first, or name another run with --run"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise _unreadable(self.config_path, error) from None

    def dev_rows(self, rows: int) -> np.ndarray:
        """Return the row indices of the dev split, int64, in increasing order.

        Args:
            rows: number of images in the training file.

        Raises:
            InputError: split.npz is missing, cannot be read, or does not hold increasing indices below `rows`.
        """
        path = self.path / "split.npz"
        try:
            with open_regular(path, follow=False) as file:
                with zipfile.ZipFile(file) as archive:
                    if max(member.file_size for member in archive.infolist()) > 8 * rows + 1024:
                        raise ValueError(f"larger than {rows} row numbers")
                file.seek(0)
                with np.load(file, allow_pickle=False) as split:
                    dev = split["dev_rows"]
            if dev.dtype.kind != "i" or dev.ndim != 1 or (len(dev) and not 0 <= dev[0] <= dev[-1] < rows):
                raise ValueError(f"expected row numbers below {rows}")
            if not (np.diff(dev) > 0).all():
                raise ValueError("expected each row once, in order")
            return dev
        except UnsafeFile:
            raise
        except Exception as error:  # zipfile, zlib and NumPy raise types of their own for damaged files
            raise _unreadable(path, error) from None

    def write_history(self, rows: Sequence[HistoryRow]) -> None:
        """Write history.csv atomically, one line per row; None becomes an empty cell."""
        with atomic_write(self.path / "history.csv") as file:
            lines = [",".join(COLUMNS)]
            for row in rows:
                values = dict(row)
                lines.append(",".join("" if values[name] is None else repr(values[name]) for name in COLUMNS))
            file.write(("\n".join(lines) + "\n").encode())

    def history(self, epochs: int | None = None) -> list[HistoryRow]:
        """Return the first `epochs` rows of history.csv, or all of them.

        Raises:
            InputError: the file is missing, cannot be read, or lacks the row of an epoch.
        """
        path = self.path / "history.csv"
        try:
            lines = read_text(path, HISTORY_BYTES, follow=False).splitlines()
            if len(lines) > HISTORY_ROWS + 1:
                raise ValueError(f"more than {HISTORY_ROWS:,} rows")
            rows = [_history_row(cells) for cells in csv.DictReader(lines)]
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
            raise _unreadable(path, error) from None
        epochs = len(rows) if epochs is None else epochs
        found = [row["epoch"] for row in rows[:epochs]]
        if len(found) != epochs or found != list(range(1, epochs + 1)):  # a damaged state.json may hold any number
            raise InputError(
                f"{path}: expected rows for epochs 1 to {epochs}; restore the file, or train the run again with "
                "--overwrite"
            )
        return rows[:epochs]

    def history_so_far(self) -> list[HistoryRow]:
        """Return the rows of history.csv to show progress, or no rows if the file cannot be read."""
        try:
            return self.history()
        except InputError:
            return []

    def last_epoch(self) -> LastEpoch:
        """Return the last saved epoch; LastEpoch() before the first one.

        If a crash came between the replacements of `last` and `best`, a resumed training repeats the epoch of `last`.
        The result is then the epoch before `last`. If a state.json is missing or not valid, the result is LastEpoch():
        a resumed training verifies the checkpoint and names the file.

        Raises:
            OSError: a state.json cannot be read.
        """
        try:
            last, best = (read_json(self.path / link / "state.json", follow=False) for link in ("last", "best"))
            worse = last["stopping"]["worse_in_a_row"]
            if any(type(number) is not int for number in (last["epoch"], last["best_epoch"], best["epoch"], worse)):
                return LastEpoch()
            if best["epoch"] != last["best_epoch"]:
                return LastEpoch(last["epoch"] - 1)
            return LastEpoch(last["epoch"], bool(last["stopped_early"]), worse)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return LastEpoch()

    def lock(self) -> AbstractContextManager[None]:
        """Lock the run for one training while the block runs; InputError if another process holds the lock."""
        busy = f"--run={self.name}: another training is writing {self.path}; wait for it"
        return lock(self.path / ".lock", busy)

    def is_locked(self) -> bool:
        """Return whether a training holds the lock of the run; see locks.is_locked."""
        return is_locked(self.path / ".lock")

    def set_aside(self) -> Path:
        """Rename the folder to <run>.replaced-<n>, with the smallest unused n from 1, and return its new path.

        Raises:
            InputError: another process is training the run.
            OSError: the folder cannot be renamed.
        """
        with self.lock():
            n = 1
            while _is_present(aside := self.path.with_name(f"{self.path.name}.replaced-{n}")):
                n += 1
            self.path.rename(aside)
            sync(aside.parent)
        return aside

    def clear(self) -> None:
        """Delete the run except its lock. config.json is deleted first, so that no run exists after a crash."""
        self.refuse_foreign()
        self.config_path.unlink(missing_ok=True)
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != ".lock":
                entry.unlink()

    def remove_leftovers(self) -> None:
        """Delete the temporary files and folders that a killed training left; the lock must be held."""
        for entry in self.path.glob(".*.new"):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def _is_net(net: Any) -> bool:
    """Return whether the entry "net" of a config.json has the fields of a NetRecord."""
    return net.keys() == _NO_NET.keys() and all(isinstance(text, str) for text in (net["fingerprint"], *net["layers"]))


def _are_class_weights(weights: Any, classes: int) -> bool:
    """Return whether the entry "class_weights" of a config.json is None or a finite number above 0 for each class."""
    return weights is None or (len(weights) == classes and all(0 < weight < math.inf for weight in weights))


def _check_entry(path: Path, may_link: bool) -> None:
    """Raise UnsafeFile if a file of a run is not regular.

    Args:
        path: the file.
        may_link: whether the file may be the link `best` or `last`, to a folder epoch-<n>.
    """
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        target = str(path.readlink())
        if not (may_link and LINKS.fullmatch(path.name) and EPOCH_FOLDER.fullmatch(target)):
            raise UnsafeFile(path, f"is a link to {target}, but a run contains no such link; remove it")
    elif not stat.S_ISREG(mode):
        raise UnsafeFile(path, f"is {file_type(mode)}, expected a regular file; remove it")


def _is_present(path: Path) -> bool:
    """Return whether a file, folder or link exists. An error of the disk is raised: a later call may succeed."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _history_row(cells: dict[str, str]) -> HistoryRow:
    """Parse the cells of a row of history.csv; an empty cell becomes None."""
    values = {name: (int if name in INTEGERS else float)(cells[name]) if cells.get(name) else None for name in COLUMNS}
    return values  # type: ignore[return-value]


def _unreadable(path: Path, error: Exception) -> InputError:
    """Return the InputError for a file of a run that cannot be read, or whose content is not valid."""
    if isinstance(error, OSError) and error.strerror:
        advice = "restore the file" if isinstance(error, FileNotFoundError) else "try again"
        return InputError(f"{path}: cannot be read ({error.strerror}); {advice}")
    cause = f"no {error}" if isinstance(error, KeyError) else error
    return InputError(f"{path}: cannot be read ({cause}); restore the file, or train the run again with --overwrite")
