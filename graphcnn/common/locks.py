"""Locks of files between processes. The kernel holds a lock, and releases it when the process ends."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from graphcnn.common.errors import FileLocked, UnsafeFile
from graphcnn.common.files import regular_descriptor

TRIES, PAUSE = 3, 0.02  # `is_locked` of another process holds a lock for a moment; the pause is in seconds

if sys.platform == "win32":
    import msvcrt

    BYTE = 0x7FFFFFFE  # offset of the locked byte: other processes cannot read it, so it lies behind the content

    def acquire(descriptor: int) -> None:
        """Lock an open file exclusively; wait until another process releases its lock. Closing the file unlocks it."""
        while not try_acquire(descriptor):
            time.sleep(PAUSE)

    def try_acquire(descriptor: int, shared: bool = False) -> bool:
        """Lock an open file; return False if another process holds a lock. Windows has no shared locks here."""
        position = os.lseek(descriptor, 0, os.SEEK_CUR)
        os.lseek(descriptor, BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        finally:
            os.lseek(descriptor, position, os.SEEK_SET)
        return True

else:
    import fcntl

    def acquire(descriptor: int) -> None:
        """Lock an open file or folder exclusively; wait until another process releases its lock.

        Closing the file releases the lock.
        """
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def try_acquire(descriptor: int, shared: bool = False) -> bool:
        """Lock an open file or folder; return False if another process holds a lock that excludes this one.

        Args:
            descriptor: the open file; closing it releases the lock.
            shared: whether other processes may hold shared locks too.
        """
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextmanager
def lock(path: Path, busy: str | None = None) -> Iterator[None]:
    """Hold an exclusive lock on a file while the block runs; the file and its folder are created.

    The kernel releases the lock when the process ends, even if it is killed. The content of the file is not changed.

    Args:
        path: the lock file. It stays when the lock is released.
        busy: message of FileLocked if another process holds the lock. None: wait until it releases the lock.

    Raises:
        FileLocked: another process holds the lock and `busy` is given.
        UnsafeFile: the lock file is a link, or not a regular file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _open_lock(path, os.O_RDWR | os.O_CREAT)
    try:
        if busy is None:
            acquire(descriptor)
        elif not _acquire_soon(descriptor):
            raise FileLocked(busy)
        yield
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock of a file, which may be missing. The file is not changed.

    A system call that only asks does not exist, so a shared lock is held for a moment.

    Raises:
        UnsafeFile: the lock file is a link, or not a regular file.
        OSError: the lock file cannot be opened.
    """
    try:
        descriptor = _open_lock(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not try_acquire(descriptor, shared=True)
    finally:
        os.close(descriptor)


def _open_lock(path: Path, options: int) -> int:
    """Return a descriptor of a lock file, opened with these options of os.open."""
    if path.is_symlink():
        raise UnsafeFile(path, "is a symbolic link, expected a lock file; remove the link")
    return regular_descriptor(path, options | os.O_NOFOLLOW)


def _acquire_soon(descriptor: int) -> bool:
    """Lock an open file; return False if another process holds the lock for longer than `is_locked` does."""
    for attempt in range(TRIES):
        if try_acquire(descriptor):
            return True
        if attempt < TRIES - 1:
            time.sleep(PAUSE)
    return False
