"""The folder that keeps downloads, decoded images and features, and the lock of an entry in it."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path

from graphcnn.common import files


def folder(path: str | Path | None = None) -> Path:
    """Return the Path of the cache folder.

    Args:
        path: the value of a flag. None: ~/.cache/graphcnn, or graphcnn in XDG_CACHE_HOME where that is set.
    """
    if path:
        return Path(path).resolve()
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".cache") / "graphcnn"


def locked(path: Path) -> AbstractContextManager[None]:
    """Lock an entry of the cache while the block runs: of several processes one makes it and the others wait."""
    return files.lock(path.with_name(f".{path.name}.lock"))
