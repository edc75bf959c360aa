"""Atomic writes, locks, checksums, and syncing to disk."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from graphcnn.common.errors import InputError

BLOCK = 1 << 20  # bytes read at once


class Digest(Protocol):
    """A checksum of hashlib, such as hashlib.sha256()."""

    def update(self, data: bytes, /) -> None:
        """Add bytes to the input of the checksum."""

    def hexdigest(self) -> str:
        """Return the checksum as hexadecimal digits."""


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`; when the block ends without an error, sync it and rename it to `path`.

    The temporary file is .NAME.new. It is open for reading too, so that it can be memory-mapped.

    Args:
        path: the file to write. If the block fails, the file keeps its old content.

    Raises:
        InputError: an operation on the open file failed, for example because the disk is full.
        OSError: the temporary file cannot be created or renamed.
    """
    path = Path(path)
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException as error:
        new.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            reason = error.strerror or error  # NumPy's OSError has a message and no errno
            raise InputError(f"{path}: cannot be written ({reason}); its old content is unchanged") from None
        raise


@contextmanager
def lock(path: Path, busy: str | None = None) -> Iterator[None]:
    """Hold an exclusive lock on a file while the block runs; the file and its folder are created.

    The kernel releases the lock when the process ends, even if it is killed.

    Args:
        path: the lock file. It stays when the lock is released.
        busy: message of the InputError if another process holds the lock. None: wait until it releases the lock.

    Raises:
        InputError: another process holds the lock and `busy` is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if busy is None else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(busy or f"{path}: another process holds this lock") from None
        yield


def update_digest(digest: Digest, path: Path) -> None:
    """Add the bytes of a file to a checksum, one block at a time."""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    update_digest(digest, path)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Wait until the content of a file, or the list of files in a folder, is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
