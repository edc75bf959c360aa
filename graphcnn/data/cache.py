"""What downloads and decoded images share: the folder they are kept in, a lock, checksums."""

import fcntl
import hashlib
import os
from contextlib import contextmanager
from pathlib import Path

BLOCK = 1 << 20  # bytes read at once


def folder(given=None):
    """Return the Path of the folder that a flag gives, else ~/.cache/graphcnn (in XDG_CACHE_HOME where it is set)."""
    if given:
        return Path(given).resolve()
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".cache") / "graphcnn"


@contextmanager
def locked(path):
    """Hold a lock beside `path`, so that of several processes one makes it and the others wait; makes the folder too.

    The kernel lets go when the process ends, however it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def sha256_of(path):
    """Return the sha256 of a file, as hex."""
    return absorb(hashlib.sha256(), path).hexdigest()


def absorb(digest, path):
    """Update a hashlib object with a file's bytes, a block at a time; return it."""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest
