"""The files of a submission, which is a folder or a zip file. They are read with limits, and nothing is unpacked."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from graphcnn.common.errors import InputError, RefusedSubmission
from graphcnn.common.files import BLOCK, JSON_BYTES, file_type, is_litter, open_regular
from graphcnn.submission.files import FILES

RESULT = "result.npy"
MOST_MEMBERS = 1_000  # files in a zip file
MOST_ENTRIES = 10_000  # entries in a folder
LARGEST_READ = 1 << 20  # bytes that zipfile reads at once; so the list of the members has at most this size
LARGEST_TOTAL = 8 << 30  # unpacked bytes of all members
LARGEST_RATIO, RATIO_BYTES = 200, 1 << 20  # unpacked / packed bytes, of members that are larger than RATIO_BYTES
LARGEST = {  # {file: its maximum size in bytes}; JSON_BYTES for the others
    RESULT: 1 << 30,
    "x_test.npy": 8 << 30,
    "model.ckpt.meta": 256 << 20,
    "model.ckpt.index": 256 << 20,
    "model.ckpt.data-00000-of-00001": 4 << 30,
}
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
REGULAR = (0, stat.S_IFREG, stat.S_IFDIR)  # types of members; 0 if the zip file does not tell
ENCRYPTED = 0x1  # flag of a member
LISTED = 20  # ignored names that are kept


class Entry(NamedTuple):
    """A file of a submission: its size in bytes, and the CRC-32 of its content."""

    size: int
    crc32: int


class Contents(ABC):
    """The files of a submission.

    Attributes:
        entries: {name: Entry} of the files that a submission may have; others are not read.
        ignored: names of the other files, at most LISTED.
    """

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.ignored: list[str] = []

    @abstractmethod
    def open(self, name: str) -> IO[bytes]:
        """Open a file of `entries` for reading."""

    def read(self, name: str, limit: int) -> bytes:
        """Return the content of a file.

        Raises:
            RefusedSubmission: the file is missing, damaged, or larger than `limit` bytes.
        """
        if name in self.entries and self.entries[name].size > limit:
            raise RefusedSubmission(f"{name}: has {self.entries[name].size:,} bytes, expected at most {limit:,}")
        return b"".join(self._blocks(name))

    def copy(self, name: str, target: Path) -> None:
        """Copy a file of `entries` to a new file.

        Raises:
            RefusedSubmission: the file is missing or damaged.
        """
        with target.open("xb") as new:
            for block in self._blocks(name):
                new.write(block)

    def sha256(self, name: str) -> str:
        """Return the sha256 of a file as hexadecimal digits."""
        digest = hashlib.sha256()
        for block in self._blocks(name):
            digest.update(block)
        return digest.hexdigest()

    def _blocks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a file in blocks, which together have the size of its Entry."""
        if name not in self.entries:
            raise RefusedSubmission(f"has no {name}; add the file")
        size, count = self.entries[name].size, 0
        with _damaged_refused(name), self.open(name) as file:
            while count <= size and (block := file.read(BLOCK)):
                count += len(block)
                if count <= size:
                    yield block
        if count != size:
            raise RefusedSubmission(f"{name}: changed while it was read; submit it again")

    def signature(self) -> str:
        """Return a checksum of the names, sizes and CRC-32 of all files. It detects changes, and no forgery."""
        listed = [(name, *entry) for name, entry in sorted(self.entries.items())]
        return hashlib.sha256(repr((listed, self.ignored)).encode(errors="surrogatepass")).hexdigest()

    def _ignore(self, name: str) -> None:
        if len(self.ignored) < LISTED:
            self.ignored.append(name)

    def _check_sizes(self) -> None:
        for name, entry in self.entries.items():
            limit = LARGEST.get(name, JSON_BYTES)
            if entry.size > limit:
                raise RefusedSubmission(
                    f"{name}: has {entry.size:,} bytes, expected at most {limit:,}; remove the file"
                )


@contextmanager
def open_contents(path: Path) -> Iterator[Contents]:
    """Yield the Contents of a folder or a zip file.

    Raises:
        RefusedSubmission: the submission has a form that no submission has, or it changed while the block read it.
        OSError: it cannot be read.
    """
    mode = path.lstat().st_mode
    if stat.S_ISDIR(mode):
        yield _Folder(path)
        return
    if not stat.S_ISREG(mode):
        raise RefusedSubmission(f"is {file_type(mode)}, expected a folder or a zip file")
    with open_regular(path, follow=False) as file:
        before = _state(file)
        with _damaged_refused("the zip file"):
            contents = _Zip(file)
        try:
            yield contents
        finally:
            if _state(file) != before:
                raise RefusedSubmission("the zip file changed while it was read; grade it again")


class _Folder(Contents):
    """The files of a folder. A link, a FIFO or a device with the name of an expected file is refused."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        with os.scandir(path) as scanned:
            names = sorted(entry.name for entry in islice(scanned, MOST_ENTRIES + 1))
        if len(names) > MOST_ENTRIES:
            raise RefusedSubmission(
                f"the folder has more than {MOST_ENTRIES:,} entries; submit only the files of the submission"
            )
        for name in names:
            mode = (path / name).lstat().st_mode
            if name not in FILES:
                if not is_litter(name):
                    self._ignore(name)
            elif not stat.S_ISREG(mode):
                raise RefusedSubmission(
                    f"{name}: is {file_type(mode)}, expected a regular file; submit a copy of the file"
                )
            else:
                self.entries[name] = Entry(*self._measure(name))
        self._check_sizes()

    def open(self, name: str) -> IO[bytes]:
        return open_regular(self._path / name, follow=False)

    def _measure(self, name: str) -> tuple[int, int]:
        """Return (size, CRC-32) of a file. The file is not read if it is too large."""
        with self.open(name) as file:
            size, crc = os.fstat(file.fileno()).st_size, 0
            if size <= LARGEST.get(name, JSON_BYTES):
                left = size
                while left > 0 and (block := file.read(min(BLOCK, left))):
                    crc, left = zlib.crc32(block, crc), left - len(block)
        return size, crc


class _Zip(Contents):
    """The files of a zip file. They are at its top, or in the one folder that holds result.npy."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._archive = zipfile.ZipFile(_LimitedReads(file))
        members = self._archive.infolist()
        if len(members) > MOST_MEMBERS:
            raise RefusedSubmission(f"the zip file has {len(members):,} members, expected at most {MOST_MEMBERS:,}")
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in members:
            _check_member(member)
            if member.filename in self._members:
                raise RefusedSubmission(f"{member.filename}: is in the zip file twice; pack each file once")
            self._members[member.filename] = member
        if sum(member.file_size for member in members) > LARGEST_TOTAL:
            raise RefusedSubmission(f"the zip file has more than {LARGEST_TOTAL:,} bytes when it is unpacked")
        self._prefix = self._find_prefix()
        for name, member in self._members.items():
            own = name.removeprefix(self._prefix)
            if name.startswith(self._prefix) and own in FILES:
                self.entries[own] = Entry(member.file_size, member.CRC)
            elif not (member.is_dir() or any(map(is_litter, name.split("/")))):
                self._ignore(name)
        self._check_sizes()

    def open(self, name: str) -> IO[bytes]:
        return self._archive.open(self._members[self._prefix + name])

    def _find_prefix(self) -> str:
        """Return the folder of the submission in the zip file, "" or a path with "/" at its end."""
        paths = [PurePosixPath(name) for name in self._members if not any(map(is_litter, name.split("/")))]
        holders = sorted({path.parent for path in paths if path.name == RESULT})
        if len(holders) > 1:
            raise RefusedSubmission(
                f"the zip file has several {RESULT}: {holders[0] / RESULT} and {holders[1] / RESULT}"
            )
        if not holders:
            holders = sorted({path.parent for path in paths if path.name in FILES})
        return f"{holders[0]}/" if holders and holders[0] != PurePosixPath() else ""


class _LimitedReads:
    """A file that zipfile reads. It refuses to read more than LARGEST_READ bytes at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell, self.seekable, self.close = file.seek, file.tell, file.seekable, file.close

    def read(self, count: int = -1) -> bytes:
        """Return at most `count` bytes; all remaining bytes for -1."""
        if count < 0:
            count = os.fstat(self._file.fileno()).st_size - self._file.tell()
        if count > LARGEST_READ:
            raise RefusedSubmission(
                f"the list of its members has {count:,} bytes; expected at most {MOST_MEMBERS:,} members"
            )
        return self._file.read(count)


def _check_member(member: zipfile.ZipInfo) -> None:
    """Refuse a member of a zip file whose name, type or size no submission has."""
    name, mode = member.filename, stat.S_IFMT(member.external_attr >> 16)
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.orig_filename or ":" in name[:2] or not path.parts:
        raise RefusedSubmission(f"{name}: is not a name inside of the submission's folder; pack the folder again")
    if mode not in REGULAR:
        raise RefusedSubmission(f"{name}: is {file_type(mode)}, expected a regular file; pack a copy of the file")
    if member.flag_bits & ENCRYPTED:
        raise RefusedSubmission(f"{name}: is encrypted; pack the files without a password")
    if member.file_size > RATIO_BYTES and member.file_size > LARGEST_RATIO * member.compress_size:
        ratio = member.file_size // max(1, member.compress_size)
        raise RefusedSubmission(
            f"{name}: is {ratio:,} times as large when it is unpacked, expected at most {LARGEST_RATIO}"
        )
    if PurePosixPath(name).name in FILES and member.compress_type not in METHODS:
        raise RefusedSubmission(f"{name}: has the compression method {member.compress_type}, expected deflate")


@contextmanager
def _damaged_refused(what: str) -> Iterator[None]:
    """Turn the errors of zipfile and zlib about a damaged file into RefusedSubmission."""
    try:
        yield
    except InputError as error:
        raise RefusedSubmission(str(error)) from None
    except Exception as error:  # zipfile raises many types of errors for damaged files
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise RefusedSubmission(f"{what}: truncated or damaged ({reason}); pack and submit it again") from None


def _state(file: IO[bytes]) -> tuple[int, int]:
    """Return what changes when an open file is written."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns
