"""The cache folder of downloads, decoded images and features: its entries, their locks and their checksums."""

from __future__ import annotations

import hashlib
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from platformdirs import user_cache_dir

from graphcnn.common import files, locks
from graphcnn.common.errors import InputError
from graphcnn.common.progress import bar
from graphcnn.data.dataset import FileState, file_state
from graphcnn.data.npy import read_array

ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)  # errors of a file that is not in the cache
BLOCK = 1 << 24  # bytes between two steps of the progress bar


class CheckedArray(NamedTuple):
    """A memory-mapped array of the cache, and the FileState of its file before the check."""

    array: np.ndarray
    state: FileState | None


def folder(path: str | Path | None = None) -> Path:
    """Return the Path of the cache folder.

    Args:
        path: the value of a flag. None: the system's folder for caches, on Linux $XDG_CACHE_HOME/graphcnn or
            ~/.cache/graphcnn. On other systems, ~/.cache/graphcnn is used if it exists.
    """
    if path:
        return Path(path).resolve()
    used = Path.home() / ".cache" / "graphcnn"  # by earlier versions on every system
    system = Path(user_cache_dir("graphcnn", appauthor=False))
    return system if system.is_absolute() and (os.environ.get("XDG_CACHE_HOME") or not used.is_dir()) else used


def in_default_folder(path: str) -> bool:
    """Return whether a path is the default cache folder or is inside it. Links are followed."""
    try:
        return Path(path).resolve().is_relative_to(folder().resolve())
    except (OSError, ValueError, RuntimeError):  # not a valid path, or a loop of links
        return False


def locked(path: Path) -> AbstractContextManager[None]:
    """Lock an entry of the cache while the block runs. One process creates the entry, and the others wait."""
    return locks.lock(path.with_name(f".{path.name}.lock"))


def read_checked(path: Path, sha256: object) -> CheckedArray:
    """Check the sha256 of the array in a .npy file of the cache; return the array, memory-mapped read-only.

    Args:
        path: the file.
        sha256: the recorded sha256 of the array; see array_sha256.

    Raises:
        InputError: the file is a link or damaged, or the sha256 of its array is not the recorded one.
        OSError, UnreadableFile: the file cannot be read.
    """
    files.open_regular(path, follow=False).close()
    state = file_state(path)
    array = read_array(path)
    if not array.flags.c_contiguous or array_sha256(array) != sha256:
        raise InputError(f"{path}: the sha256 of its array is not the recorded one")
    return CheckedArray(array, state)


def array_sha256(array: np.ndarray) -> str:
    """Return the sha256 of the elements of a C-contiguous array, as hexadecimal digits."""
    content, digest = array.reshape(-1).view(np.uint8), hashlib.sha256()
    with bar("checking, MB", len(content) / 1e6) as advance:
        for start in range(0, len(content), BLOCK):
            block = content[start : start + BLOCK]
            digest.update(block.data)
            advance(len(block) / 1e6)
    return digest.hexdigest()
