"""The cache of decoded images of files. N images, S x S pixels.

The cache entry of some files is `<cache_dir>/images-<first 32 digits of _digest>/`. It contains x.npy (uint8 [N, S, S,
3]) and index.json (class names, the files in the order of the images, the skipped files, the sha256 of the array). You
may delete it at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, TypeVar, cast

import numpy as np

from graphcnn.common.errors import BadImage, InputError, UnreadableFile
from graphcnn.common.files import read_json, sha256_of, sync
from graphcnn.common.processors import cores
from graphcnn.common.progress import bar, say
from graphcnn.common.replace import new_folder, replace_folder
from graphcnn.data import cache
from graphcnn.data.batches import in_order
from graphcnn.data.dataset import FileState
from graphcnn.data.images import read_image, suppress_warnings

INDEX_BYTES = 1 << 30  # maximum size of index.json, which has a line for each image
NAMES_OF_TASK = 64  # files that a thread reads in one task: small files take less time than the start of a task
FORM = "graphcnn image folder, 1"  # to be changed when the decoding changes the pixels of the same files

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Decoding:
    """How image files are decoded.

    Attributes:
        size: height and width S of the decoded images, in pixels.
        fit: see images.read_image.
        skip_broken: whether files that are not images are printed and skipped instead of refused.
        cache_dir: folder of the cache.
    """

    size: int
    fit: str
    skip_broken: bool
    cache_dir: Path


@dataclass(frozen=True)
class ImageFiles:
    """The image files of a split.

    Attributes:
        folder: the folder that holds the files.
        class_names: the names of the class folders, or the labels, sorted.
        names: paths below `folder`, [<split>/]<class>/<file>, by split, then by class, then by name, unless
            there are `labels`. A split without labels has the paths <file>.
        decoding: how the files are decoded.
        labels: {path: class name} from a file of labels; None if the last folder of the path is the class.
    """

    folder: Path
    class_names: list[str]
    names: list[str]
    decoding: Decoding
    labels: Mapping[str, str] | None = None

    def class_of(self, name: str) -> str:
        """Return the class name of an image."""
        return self.labels[name] if self.labels else name.split("/")[-2]


class Images(NamedTuple):
    """Decoded images.

    pixels: uint8 [N, S, S, 3], memory-mapped. names: path of each image, as in ImageFiles. digest: see _digest.
    states: the file_states of a Dataset.
    """

    pixels: np.ndarray
    names: list[str]
    digest: str
    states: dict[Path, FileState | None]


class Decoded(NamedTuple):
    """The files whose images were written, {skipped file: reason}, and the sha256 of the written array."""

    files: list[str]
    skipped: dict[str, str]
    sha256: str


def load(
    files: ImageFiles, check: Callable[[str], None] | None = None, check_names: Callable[[list[str]], object] = len
) -> Images:
    """Return the decoded images of some files, from the cache if it has them.

    Args:
        files: the files.
        check: called with the digest of the files before any image is decoded; an error ends `load`.
        check_names: called with the names of the decoded files before the cache gets a new entry; an error ends `load`.

    Raises:
        InputError: a file is not an image.
    """
    digest, decoding = _digest(files), files.decoding
    if check:
        check(digest)
    entry = decoding.cache_dir / f"images-{digest[:32]}"
    with cache.locked(entry):
        cached = _read(entry, files, digest)
        if cached is None:
            if os.path.lexists(entry):
                say(f"{entry}: damaged, or without a checksum; the images are decoded again")
            count, size = len(files.names), decoding.size
            say(f"decoding {count:,} images of {files.folder} to {size}x{size} into the cache {entry}")
            _build(entry, files, digest, check_names)
            cached = _read(entry, files, digest)
    if cached is None:
        raise InputError(f"{entry}: cannot be read after writing; check the disk, or set --cache_dir to another folder")
    checked, skipped = cached
    for name, reason in skipped.items():
        skip_or_refuse(files.folder / name, reason, decoding.skip_broken)
    names = [name for name in files.names if name not in skipped]
    return Images(checked.array, names, digest, {entry / "x.npy": checked.state})


def _digest(files: ImageFiles) -> str:
    """Return the sha256, as hexadecimal digits, of the decoding and of the name and bytes of each file."""
    decoding = files.decoding
    form = f"{FORM}, {decoding.size}" + f", {decoding.fit}" * (decoding.fit != "stretch")  # stretch as in version 1
    digest = hashlib.sha256(f"{form}\n".encode())

    def checksums(names: list[str]) -> list[bytes]:
        return [bytes.fromhex(sha256_of(files.folder / name)) for name in names]

    groups = list(in_order(files.names, NAMES_OF_TASK))
    with bar("reading", len(files.names)) as advance:
        for names, group in zip(groups, _in_threads(checksums, groups), strict=True):
            for name, checksum in zip(names, group, strict=True):
                digest.update(os.fsencode(name) + b"\0" + checksum)
            advance(len(names))
    return digest.hexdigest()


def _in_threads(function: Callable[[Item], Result], items: list[Item]) -> Iterator[Result]:
    """Yield function(item) for each item, in order, computed by one thread per core in chunks of 256 items."""
    with ThreadPoolExecutor(cores()) as threads:
        for chunk in in_order(items, 256):
            with closing(cast(Generator[Result], threads.map(function, chunk))) as results:
                yield from results


def _build(entry: Path, files: ImageFiles, digest: str, check_names: Callable[[list[str]], object]) -> None:
    """Decode the images into a new entry of the cache. When it is complete, it replaces a damaged entry."""
    shutil.rmtree(entry.with_name(f".{entry.name}.new"), ignore_errors=True)  # left by a killed process of version 1
    with new_folder(entry) as new:
        with (new / "x.npy").open("wb") as file:
            decoded = _decode_all(files, file)
        sync(new / "x.npy")
        check_names(decoded.files)
        index = {"fingerprint": digest, "class_names": files.class_names, **decoded._asdict()}
        (new / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        sync(new / "index.json")
        if entry.is_symlink() or entry.is_file():
            entry.unlink()
        replace_folder(new, entry)


def _decode_all(files: ImageFiles, file: IO[bytes]) -> Decoded:
    """Write the images as a .npy file."""
    size = files.decoding.size

    def decode(name: str) -> np.ndarray | BadImage:  # an error of the disk ends the command, also with --skip_broken
        try:
            return read_image(files.folder / name, (size, size), files.decoding.fit)
        except BadImage as error:
            return error

    names: list[str] = []
    skipped: dict[str, str] = {}
    written = hashlib.sha256()
    with bar("decoding", len(files.names)) as advance, suppress_warnings():
        _write_header(file, len(files.names), size)
        for name, pixels in zip(files.names, _in_threads(decode, files.names), strict=True):
            if isinstance(pixels, np.ndarray):
                row = pixels.tobytes()
                file.write(row)
                written.update(row)
                names.append(name)
            else:
                path = files.folder / name
                reason = pixels.problem
                if not files.decoding.skip_broken:
                    skip_or_refuse(path, reason, skip_broken=False)
                skipped[name] = reason
            advance(1)
        file.seek(0)
        _write_header(file, len(names), size)
    return Decoded(names, skipped, written.hexdigest())


def _write_header(file: IO[bytes], rows: int, size: int) -> None:
    """Write the .npy header of uint8 [rows, S, S, 3]. NumPy pads it, so its length is the same for any `rows`."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (rows, size, size, 3)}
    np.lib.format.write_array_header_1_0(file, header)


def _read(entry: Path, files: ImageFiles, digest: str) -> tuple[cache.CheckedArray, dict[str, str]] | None:
    """Return (images, {skipped file: reason}) of an entry of the cache; None if it does not exist or is damaged.

    An entry of version 1 has no sha256 and counts as damaged. The images are uint8 [N, S, S, 3], memory-mapped.

    Raises:
        OSError, UnreadableFile: the system cannot read a file. The entry is not damaged, so it must not be replaced.
    """
    try:
        if entry.is_symlink():
            return None
        index = read_json(entry / "index.json", INDEX_BYTES, follow=False)
        checked = cache.read_checked(entry / "x.npy", index["sha256"])
        names = [name for name in files.names if name not in index["skipped"]]
        size = files.decoding.size
        expected = (digest, names, (len(names), size, size, 3), np.uint8)
        if (index["fingerprint"], index["files"], checked.array.shape, checked.array.dtype) == expected:
            return checked, index["skipped"]
    except UnreadableFile:
        raise
    except (InputError, ValueError, KeyError, TypeError, RecursionError, *cache.ABSENT):
        pass
    return None


def skip_or_refuse(path: Path, reason: str, skip_broken: bool) -> None:
    """Print the name of a skipped file, or refuse it with InputError."""
    if not skip_broken:
        raise InputError(f"{path}: {reason} (--skip_broken skips such files)")
    say(f"skipped: {path}: {reason}")
