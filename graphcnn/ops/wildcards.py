r"""Paths for TensorFlow's readers, which take the characters *, ?, [ and \ of a path as wildcards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WILDCARDS = frozenset("*?[\\")


@contextmanager
def without_wildcards(path: Path) -> Iterator[str]:
    """Yield a path without wildcards that leads to the same files, while the block runs.

    Args:
        path: the prefix of a checkpoint's files, or a folder.

    Yields:
        `path` itself if it has no wildcards; else the path of links in a private temporary folder.
    """
    path = path.absolute()
    if WILDCARDS.isdisjoint(str(path)):
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="graphcnn-") as folder:
        link = Path(folder) / "link"
        for entry in path.parent.iterdir():
            if entry == path or entry.name.startswith(f"{path.name}."):
                Path(f"{link}{entry.name.removeprefix(path.name)}").symlink_to(entry)
        yield str(link)
