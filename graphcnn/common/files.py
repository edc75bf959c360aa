"""Reading of regular files, checksums, and syncing to disk."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from graphcnn.common.errors import UnsafeFile

BLOCK = 1 << 20  # bytes read at once
JSON_BYTES = 16 << 20  # maximum size of a JSON file
LITTER = (".ds_store", "thumbs.db", "desktop.ini", "__macosx")  # what operating systems leave in folders
TYPES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Digest(Protocol):
    """A checksum of hashlib, such as hashlib.sha256()."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Add bytes to the input of the checksum."""

    def hexdigest(self) -> str:
        """Return the checksum as hexadecimal digits."""


def file_type(mode: int) -> str:
    """Return the name of a file's type, such as "a FIFO", from the st_mode of os.stat."""
    return TYPES.get(stat.S_IFMT(mode), "a regular file")


def is_litter(name: str) -> bool:
    """Return whether operating systems leave files of this name in folders, such as .DS_Store or ._photo.jpg."""
    return name.lower() in LITTER or name.startswith("._")


def open_regular(path: str | Path, follow: bool = True) -> IO[bytes]:
    """Open a regular file for reading. A FIFO or a device is refused without waiting for it.

    Args:
        path: the file.
        follow: whether `path` may be a symbolic link. Links among its folders are always followed.

    Raises:
        UnsafeFile: the file is not regular, or it is a link and `follow` is False.
        OSError: the file cannot be opened.
    """
    if not follow and Path(path).is_symlink():
        raise UnsafeFile(Path(path), "is a symbolic link, expected a regular file; replace the link by a copy")
    options = os.O_RDONLY | (0 if follow else os.O_NOFOLLOW)
    return open(path, "rb", opener=lambda path, _: regular_descriptor(path, options))


@contextmanager
def named(path: str | Path) -> Iterator[None]:
    """Add the path to an OSError of the block. Operations on an open file raise errors without a file name."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def regular_size(path: str | Path, follow: bool = True) -> int:
    """Return the size of a regular file in bytes. Call it before a library opens the file; see open_regular."""
    with open_regular(path, follow) as file:
        return os.fstat(file.fileno()).st_size


def open_append(path: Path) -> IO[bytes]:
    """Open a regular file to append to it; it is created if it does not exist.

    Raises:
        UnsafeFile: the file is a symbolic link, or not a regular file.
        OSError: the file cannot be opened.
    """
    if path.is_symlink():
        raise UnsafeFile(path, "is a symbolic link, expected a regular file; remove the link")
    return os.fdopen(regular_descriptor(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW), "ab")


def read_bytes(path: str | Path, limit: int, follow: bool = True) -> bytes:
    """Return the content of a regular file of at most `limit` bytes; see open_regular.

    Raises:
        UnsafeFile: the file is not regular, or it is longer than `limit`.
        OSError: the file cannot be read.
    """
    with open_regular(path, follow) as file, named(path):
        content = file.read(limit + 1)
    if len(content) > limit:
        raise UnsafeFile(Path(path), f"is longer than {limit:,} bytes, so it is not the expected file")
    return content


def read_text(path: str | Path, limit: int, follow: bool = True) -> str:
    """Return the UTF-8 text of a regular file of at most `limit` bytes; see read_bytes.

    Raises:
        UnicodeDecodeError: the file is not UTF-8.
    """
    return read_bytes(path, limit, follow).decode("utf-8")


def read_json(path: str | Path, limit: int = JSON_BYTES, follow: bool = True) -> Any:
    """Return the value of a JSON file of at most `limit` bytes; see read_bytes.

    Raises:
        ValueError: the file is not JSON in UTF-8.
        RecursionError: the values are nested too deeply.
    """
    return json.loads(read_text(path, limit, follow))


def refuse_links(path: Path, root: Path) -> None:
    """Refuse a path below `root` if it, or a folder between `root` and it, is a symbolic link. `root` may be a link.

    Raises:
        UnsafeFile: with the path of the link.
    """
    for entry in [path, *path.parents]:
        if entry == root:
            return
        if entry.is_symlink():
            raise UnsafeFile(entry, f"is a symbolic link; graphcnn follows no links below {root}; remove the link")


def update_digest(digest: Digest, path: Path, follow: bool = True) -> None:
    """Add the bytes of a regular file to a checksum, one block at a time."""
    with open_regular(path, follow) as file, named(path):
        while block := file.read(BLOCK):
            digest.update(block)


def sha256_of(path: Path, follow: bool = True) -> str:
    """Return the sha256 of a regular file as hexadecimal digits."""
    digest = hashlib.sha256()
    update_digest(digest, path, follow)
    return digest.hexdigest()


def sync(path: Path) -> None:
    """Wait until the content of a file, or the list of files in a folder, is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        with named(path):
            os.fsync(handle)
    finally:
        os.close(handle)


def regular_descriptor(path: str | Path, options: int) -> int:
    """Return a descriptor of a regular file, opened with these options of os.open.

    Raises:
        UnsafeFile: the file is not regular.
        OSError: the file cannot be opened.
    """
    # O_NONBLOCK: without it, the opening of a FIFO waits for a process that opens the other end
    descriptor = os.open(path, options | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise UnsafeFile(Path(path), f"is {file_type(mode)}, expected a regular file")
    return descriptor
