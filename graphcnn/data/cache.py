"""The cache folder of downloads, decoded images and features, and the lock of one entry of it."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path

from graphcnn.common import files


def folder(path: str | Path | None = None) -> Path:
    """Return the Path of the cache folder.

    Args:
        path: the value of a flag. None: $XDG_CACHE_HOME/graphcnn if that variable is set, else ~/.cache/graphcnn.
    """
    if path:
        return Path(path).resolve()
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".cache") / "graphcnn"


def locked(path: Path) -> AbstractContextManager[None]:
    """Lock an entry of the cache while the block runs. One process creates the entry, and the others wait."""
    return files.lock(path.with_name(f".{path.name}.lock"))
