"""Atomic replacement of files and folders: after a crash, a path has either its old content or its new content.

New content is written under a temporary name beside its target, .NAME.<16 hexadecimal digits>.new. The name is random
and the file is created with O_EXCL, so an existing link of this name is never followed. A killed process leaves its
temporary file. The next write to the same target deletes this file. A folder that is being deleted has the temporary
name .NAME.<16 hexadecimal digits>.deleted.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from graphcnn.common.errors import FileError, InputError
from graphcnn.common.files import file_type, is_litter, sync
from graphcnn.common.locks import acquire, try_acquire

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.(new|old|deleted)")
YOUNG_SECONDS = 60.0  # a younger, empty file may belong to a process that has not locked it yet
AT_FDCWD = -100
RENAME_EXCHANGE = 2  # of Linux's renameat2, and RENAME_SWAP of macOS's renamex_np
NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)  # the file system or the kernel cannot exchange names


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`; when the block ends without an error, sync it and rename it to `path`.

    The temporary file is open for reading too, so that it can be memory-mapped. If `path` is a link, the link is
    replaced and its target is not changed.

    Args:
        path: the file to write. If the block fails, the file keeps its old content.

    Raises:
        InputError: an operation on the open file failed, for example because the disk is full.
        OSError: the temporary file cannot be created or renamed.
    """
    path = Path(path)
    remove_leftovers(path)
    new = _temporary(path, "new")
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            acquire(file.fileno())
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


def replace_link(path: Path, target: str) -> None:
    """Make `path` a symbolic link to `target`; an older link is replaced atomically.

    Raises:
        FileError: `path` is a folder, as in a copy that was made without links.
    """
    if path.is_dir() and not path.is_symlink():
        raise FileError(path, "is a folder, expected a link; copy the original again with `cp -a`, which keeps links")
    new = _temporary(path, "new")
    new.symlink_to(target)
    try:
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    sync(path.parent)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a new empty folder beside `path`, with a temporary name; it is deleted when the block ends.

    The block renames it to `path` with Path.rename or `replace_folder`.
    """
    remove_leftovers(path)
    folder = _temporary(path, "new")
    folder.mkdir(parents=True)
    try:
        with _locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def replace_folder(new: Path, path: Path) -> None:
    """Rename the folder `new` to `path` and delete the old folder `path`, if it exists. Both have the same parent.

    If the system can exchange two names, this is one step. Otherwise the old folder is renamed first. A process that is
    killed between the two steps leaves it as .NAME.<16 hexadecimal digits>.old, and `recover_folder` renames it back.
    """
    sync(new)
    recover_folder(path)
    if not path.exists():
        new.rename(path)
    elif _exchange(new, path):
        shutil.rmtree(new, ignore_errors=True)
    else:
        path.rename(_temporary(path, "old"))
        new.rename(path)
    for old in _temporaries(path, "old"):
        shutil.rmtree(old, ignore_errors=True)
    sync(path.parent)


def recover_folder(path: Path) -> None:
    """Rename an old folder back to `path` if a killed `replace_folder` left it under its temporary name."""
    if not os.path.lexists(path):
        for old in _temporaries(path, "old"):
            if old.is_dir() and not old.is_symlink():
                old.rename(path)
                return


def delete_folder(folder: Path) -> None:
    """Delete a folder. It is renamed first, so that a killed process leaves no folder of this name with fewer files.

    Raises:
        OSError: the folder, or a file in it, cannot be deleted. `remove_deleted` deletes the rest later.
    """
    with _locked(folder):
        hidden = _temporary(folder, "deleted")
        folder.rename(hidden)
        sync(hidden.parent)
        shutil.rmtree(hidden)


def remove_deleted(parent: Path) -> None:
    """Delete the rest of the folders in `parent` that a killed `delete_folder` left."""
    for entry in sorted(parent.iterdir()):
        if TEMPORARY.fullmatch(entry.name) and entry.suffix == ".deleted" and not entry.is_symlink() and entry.is_dir():
            with contextlib.suppress(BlockingIOError, FileNotFoundError), _locked(entry):  # another process deletes it
                shutil.rmtree(entry)


def foreign_entry(folder: Path, files: Collection[str]) -> str | None:
    """Return the first entry below a folder that is not an expected regular file; None if there is no such entry.

    Links are not followed. A regular file that an operating system leaves in folders is ignored; see is_litter.

    Args:
        folder: the folder.
        files: relative paths of the expected files, with "/" as separator. They need not exist.

    Returns:
        The relative path of the entry, with its type in parentheses unless it is a regular file.
    """
    folders = {str(parent) for file in files for parent in PurePosixPath(file).parents}
    pending = [folder]
    while pending:
        for entry in sorted(pending.pop().iterdir()):
            name, mode = entry.relative_to(folder).as_posix(), entry.lstat().st_mode
            if stat.S_ISDIR(mode) and name in folders:
                pending.append(entry)
            elif not stat.S_ISREG(mode):
                return f"{name} ({file_type(mode)})"
            elif name not in files and not is_litter(entry.name):
                return name
    return None


def remove_leftovers(path: Path) -> None:
    """Delete the temporary files and folders beside `path` that a killed process left.

    A temporary file that a running process has locked is kept.
    """
    for leftover in _temporaries(path, "new"):
        with contextlib.suppress(OSError):  # another process has deleted or locked it
            status = leftover.lstat()
            is_folder = stat.S_ISDIR(status.st_mode)
            if not is_folder and not stat.S_ISREG(status.st_mode):
                continue  # not from this package
            empty = not any(leftover.iterdir()) if is_folder else status.st_size == 0
            if empty and time.time() - status.st_mtime < YOUNG_SECONDS:
                continue
            with _locked(leftover):
                shutil.rmtree(leftover, ignore_errors=True) if is_folder else leftover.unlink()


def _temporary(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.{ending}")


def _temporaries(path: Path, ending: str) -> list[Path]:
    """Return the temporary files and folders of a target that have this ending, sorted by name."""
    pattern = re.compile(re.escape(f".{path.name}.") + rf"[0-9a-f]{{16}}\.{ending}")
    try:
        return sorted(entry for entry in path.parent.iterdir() if pattern.fullmatch(entry.name))
    except FileNotFoundError:
        return []


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on an existing file or folder; BlockingIOError if another process holds it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not try_acquire(descriptor):
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK), str(path))
        yield
    finally:
        os.close(descriptor)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange the names of two folders in one step; return False if the system cannot do this."""
    exchange = _exchange_function()
    if exchange is None:
        return False
    if exchange(os.fsencode(first), os.fsencode(second)) == 0:
        return True
    number = ctypes.get_errno()
    if number in NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(second))


def _exchange_function() -> Callable[[bytes, bytes], int] | None:
    """Return the C library's function that exchanges two paths, or None if it has none."""
    library = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin":
        swap = getattr(library, "renamex_np", None)
        return swap and (lambda first, second: swap(first, second, RENAME_EXCHANGE))
    rename = getattr(library, "renameat2", None)
    return rename and (lambda first, second: rename(AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE))
