"""A run's folder, checkpoints/<run>/: its name, config.json, dev rows, history.csv and lock.

Files: config.json, split.npz, history.csv, best and last (links, see checkpoint.py), events/, curves.png, report/,
.lock.
"""

import csv
import fcntl
import json
import os
import re
import shutil
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.data import sources

OWN = re.compile(
    r"config\.json|split\.npz|history\.csv|best|last|events|curves\.png|report|\.lock|epoch-\d+|\..+\.new\S*"
)
NAME = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)?")
COLUMNS = {  # of history.csv, with the type each is read back as; wall-clock columns last
    "epoch": int,
    "step": int,
    "loss": float,
    "cross_entropy": float,
    "accuracy": float,
    "dev_macro_f1": float,
    "dev_accuracy": float,
    "dev_cross_entropy": float,
    "seconds": float,
    "images_per_second": float,
    "training_seconds": float,
}


class Run:
    """The folder of one training run under `root`; nothing is created until `create`."""

    def __init__(self, root, name):
        parts = name.split("/")
        if not NAME.fullmatch(name) or any(set(part) == {"."} for part in parts):
            raise InputError(f"--run: found {name!r}, expected letters, digits, '.', '_', '-' and at most one '/'")
        self.name = name
        self.root = Path(root)
        self.path = self.root / name
        self.config_path = self.path / "config.json"

    def refuse_foreign(self):
        """Refuse a folder that is not this run's alone to write: a link, inside a run, or with other things in it."""
        within = self.path.parents[: len(self.name.split("/")) - 1]
        if self.path.is_symlink() or any(folder.is_symlink() for folder in within):
            raise InputError(f"--run={self.name}: {self.path} leads through a link; name another")
        if any((folder / "config.json").exists() for folder in within):
            raise InputError(f"--run={self.name}: lies inside another run; name another")
        entries = self.path.iterdir() if self.path.exists() else []
        foreign = [entry.name for entry in entries if not OWN.fullmatch(entry.name)]
        if foreign:
            raise InputError(
                f"--run={self.name}: {self.path} holds {foreign[0]}, no part of a run; choose another name"
            )

    def exists(self):
        """Whether a run of this name has been started."""
        return self.config_path.exists()

    def has_best(self):
        """Whether the run has a best checkpoint: at least one finished epoch."""
        best = self.path / "best"
        return best.is_symlink() or best.exists()

    def create(self, config, dev_rows):
        """Write config.json (a dict) and split.npz (the dev rows' indices) into the folder."""
        self.path.mkdir(parents=True, exist_ok=True)
        with replacing(self.path / "split.npz") as file:
            np.savez(file, dev_rows=dev_rows)
        self.write_config(config)

    def write_config(self, config):
        """Write config.json anew, atomically."""
        with replacing(self.config_path) as file:
            file.write((json.dumps(config, indent=2) + "\n").encode())

    def config(self):
        """Return config.json as a dict; InputError if it is missing, damaged or of another format."""
        try:
            config = json.loads(self.config_path.read_text(encoding="utf-8"))
            place, split, names = config["data"], config["split"], config["class_names"]
            texts = [config["recipe_name"], place["source"], place["fingerprint"], split["kind"], *names]
            if not (
                isinstance(config["recipe"], dict)
                and all(isinstance(text, str) for text in texts)
                and place["pixel_max"] in (1, 255)
                and [type(side) for side in place["image_shape"]] == [int, int]
                and isinstance(split["fraction"], (int, float))
                and sources.DataOptions(**place.get("options", {})).well_formed()
                and len(names) > 1
            ):
                raise ValueError("'recipe_name', 'recipe', 'data', 'split' or 'class_names' is not what train writes")
            return config
        except FileNotFoundError:
            raise InputError(f"{self.config_path}: no such run; train it first, or name another with --run") from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else error
            raise InputError(f"{self.config_path}: damaged ({what}); restore the file or train anew") from None

    def dev_rows(self, rows):
        """Return the dev split's row indices, checked to lie within a training file of `rows` rows."""
        path = self.path / "split.npz"
        try:
            with zipfile.ZipFile(path) as packed:
                if max(member.file_size for member in packed.infolist()) > 8 * rows + 1024:
                    raise ValueError(f"larger than {rows} row numbers")
            with path.open("rb") as file, np.load(file, allow_pickle=False) as split:
                dev = split["dev_rows"]
            if dev.dtype.kind != "i" or dev.ndim != 1 or (len(dev) and not 0 <= dev[0] <= dev[-1] < rows):
                raise ValueError(f"expected row numbers below {rows}")
            if not (np.diff(dev) > 0).all():
                raise ValueError("expected each row once, in order")
            return dev
        except FileNotFoundError:
            raise InputError(f"{path}: missing; restore the file or train anew") from None
        except Exception as error:  # zipfile, zlib and NumPy each have errors of their own for damaged files
            raise InputError(f"{path}: damaged ({error}); restore the file or train anew") from None

    def write_history(self, rows):
        """Write history.csv, a row (dict of COLUMNS) an epoch, atomically; None becomes an empty cell."""
        with replacing(self.path / "history.csv") as file:
            lines = [",".join(COLUMNS)]
            lines += [",".join("" if row[c] is None else repr(row[c]) for c in COLUMNS) for row in rows]
            file.write(("\n".join(lines) + "\n").encode())

    def progress(self):
        """Return the rows of history.csv so far; none where there is no readable file."""
        try:
            return self.history(None)
        except InputError:
            return []

    def reached(self):
        """Return (the last saved epoch, whether early stopping ended the run there); (0, False) before the first.

        A crash between `last` and `best` leaves the epoch to be done again: (its number - 1, False).
        """
        try:
            last, best = (
                json.loads((self.path / link / "state.json").read_text(encoding="utf-8")) for link in ("last", "best")
            )
            if best["epoch"] != last["best_epoch"]:
                return last["epoch"] - 1, False
            return int(last["epoch"]), bool(last["stopped_early"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0, False

    def history(self, epochs):
        """Return the first `epochs` rows of history.csv (None: all) as dicts; InputError unless they are there."""
        path = self.path / "history.csv"
        try:
            with path.open(newline="") as file:
                rows = [
                    {c: kind(r[c]) if r.get(c) else None for c, kind in COLUMNS.items()} for r in csv.DictReader(file)
                ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: cannot be read ({error}); restore it or train anew with --overwrite") from None
        epochs = len(rows) if epochs is None else epochs
        if [row["epoch"] for row in rows[:epochs]] != list(range(1, epochs + 1)):
            raise InputError(f"{path}: expected rows for epochs 1 to {epochs}; restore it or train with --overwrite")
        return rows[:epochs]

    def lock(self):
        """Hold the run for one training; see `lock`."""
        return lock(self.path, f"--run={self.name}")

    def clear(self):
        """Delete the run but for its lock, config.json first, so that what a crash leaves is no run."""
        self.refuse_foreign()
        self.config_path.unlink(missing_ok=True)
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != ".lock":
                entry.unlink()


@contextmanager
def lock(folder, flag):
    """Hold a folder for one training; the kernel lets go when the process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{flag}: another training is writing {folder}; wait for it") from None
        yield


@contextmanager
def replacing(path):
    """Open a file beside `path` for writing bytes; when the block ends well, sync it and put it in path's place.

    Errors: InputError with the file's name on a full disk; the file stays as it was.
    """
    path = Path(path)
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException as error:
        new.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            reason = error.strerror or error  # NumPy's own says how much was written, and no number
            raise InputError(f"{path}: cannot be written ({reason}); what was there is untouched") from None
        raise
