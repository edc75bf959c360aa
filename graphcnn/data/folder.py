"""A folder of images: train/<class>/* and optionally test/<class>/*, or <class>/*. A cache keeps the decoded images.

The cache entry of a split is `<cache_dir>/images-<first 32 digits of _digest>/`. It contains x.npy (uint8 [N, S, S, 3])
and index.json (class names, the files in the order of the images, the skipped files, the sha256 of the array). You may
delete it at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple, TypeVar, cast

import numpy as np

from graphcnn.common.errors import BadImage, InputError, UnreadableFile
from graphcnn.common.files import is_litter, read_json, sha256_of, sync
from graphcnn.common.progress import bar, say
from graphcnn.common.replace import new_folder, replace_folder
from graphcnn.data import cache
from graphcnn.data.batches import in_order
from graphcnn.data.dataset import Dataset, FileState
from graphcnn.data.fingerprint import fingerprint
from graphcnn.data.images import MAX_BYTES, read_image, suppress_warnings

SUFFIXES = (".png", ".jpg", ".jpeg")  # in upper or lower case
FORMATS = ("PNG", "JPEG")
INDEX_BYTES = 1 << 30  # maximum size of index.json, which has a line for each image
FORM = "graphcnn image folder, 1"  # to be changed when the decoding changes the pixels of the same files

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ImageFiles:
    """The image files of a split.

    Attributes:
        folder: the folder that holds the class folders.
        class_names: the names of the class folders, sorted.
        names: paths below `folder`, <class>/<file>, by class, then by name.
        size: height and width S of the decoded images, in pixels.
        skip_broken: whether files that are not images are skipped instead of refused.
    """

    folder: Path
    class_names: list[str]
    names: list[str]
    size: int
    skip_broken: bool


class Split(NamedTuple):
    """The decoded images of a split.

    images: uint8 [N, S, S, 3], memory-mapped. class_ids: int32 [N]. digest: see _digest. states: the
    file_states of a Dataset.
    """

    images: np.ndarray
    class_ids: np.ndarray
    digest: str
    states: dict[Path, FileState | None]


class Decoded(NamedTuple):
    """The files whose images were written, {skipped file: reason}, and the sha256 of the written array."""

    files: list[str]
    skipped: dict[str, str]
    sha256: str


def class_folders(folder: Path) -> list[str]:
    """Return the sorted names of the folders in a folder, without hidden ones; [] if it is not a folder."""
    return [entry.name for entry in _entries(folder) if entry.is_dir()] if folder.is_dir() else []


def image_files(folder: Path) -> list[Path]:
    """Return the image files in a class folder, sorted by name, without hidden files and litter."""
    return [entry for entry in _entries(folder) if entry.suffix.lower() in SUFFIXES and entry.is_file()]


def load(
    folder: str | Path,
    test: bool,
    size: int,
    cache_dir: str | Path | None = None,
    skip_broken: bool = False,
    check_content: Callable[[str], None] | None = None,
) -> Dataset:
    """Return the Dataset of a folder of images: uint8 [N, S, S, 3], memory-mapped from the cache.

    Args:
        folder: holds train/<class>/* and optionally test/<class>/*, or <class>/*; the files end in SUFFIXES.
        test: whether the test split is read.
        size: S; images are resized to S x S.
        cache_dir: folder of the cache; None for the default.
        skip_broken: whether files that are not images are printed and skipped instead of refused.
        check_content: called with <content> of the fingerprint before any image is decoded; an error ends `load`.

    Raises:
        InputError: a file is not an image, a class has no images, or train/ and test/ have different classes.
    """
    folder = Path(folder).resolve()
    train, test_folder = _split_folders(folder)
    class_names = class_folders(train)
    _check_class_names(train, class_names)
    if test_folder:
        test_classes = class_folders(test_folder)
        for name in sorted(set(test_classes) ^ set(class_names)):
            only = test_folder if name in test_classes else train
            raise InputError(
                f"{only / name}: this class is only in {only.name}/, expected the same classes in train/ and test/"
            )

    def read(split: Path, check: Callable[[str], None] | None = None) -> Split:
        return load_classes(split, class_names, size, cache.folder(cache_dir), skip_broken, check)

    train_split = read(train, check_content)
    test_split = read(test_folder) if test and test_folder else None
    return Dataset(
        source=str(folder),
        x_train=train_split.images,
        y_train=train_split.class_ids,
        class_names=tuple(class_names),
        pixel_max=255,
        has_test_labels=test_folder is not None,
        fingerprint=fingerprint(train_split.digest, (), train_split.images, class_names),
        dev_split="stratified",
        x_test=test_split and test_split.images,
        y_test=test_split and test_split.class_ids,
        files={"x_train": train, "y_train": train, "x_test": folder / "test", "y_test": folder / "test"},
        file_states=train_split.states | (test_split.states if test_split else {}),
    )


def load_classes(
    folder: Path,
    class_names: list[str],
    size: int,
    cache_dir: Path,
    skip_broken: bool,
    check_content: Callable[[str], None] | None = None,
) -> Split:
    """Return the decoded images of the folders <class>/ in a folder.

    Args:
        folder: the folder.
        class_names: names of the class folders, sorted; a class id is an index of this list.
        cache_dir: folder of the cache.
        size, skip_broken, check_content: see load.

    Raises:
        InputError: a file is not an image, or a class has no images.
    """
    files = ImageFiles(folder, class_names, _image_names(folder, class_names, skip_broken), size, skip_broken)
    return _load_split(files, cache_dir, check_content)


def _split_folders(folder: Path) -> tuple[Path, Path | None]:
    """Return (the folder with the training classes, the folder with the test classes or None)."""
    train, test = folder / "train", folder / "test"
    if class_folders(train):
        return train, test if test.is_dir() else None
    if class_folders(test):
        raise InputError(f"{folder}: has test/ but no train/ with class folders; put the training images there")
    return folder, None


def _entries(folder: Path) -> list[Path]:
    """Return the entries of a folder, sorted by name, without hidden files and litter."""
    entries = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return sorted((entry for entry in entries if not is_litter(entry.name)), key=lambda entry: entry.name)


def _check_class_names(folder: Path, class_names: list[str]) -> None:
    """Refuse fewer than two classes, and class names that are not one line of UTF-8 text."""
    if len(class_names) < 2:
        names = f" ({class_names[0]})" if class_names else ""
        raise InputError(f"{folder}: {len(class_names)} class folders{names}, expected at least two")
    for name in class_names:
        if name.splitlines() != [name] or name != name.encode("utf-8", "ignore").decode():
            raise InputError(f"{folder}: class folder {name!a} is not one line of UTF-8 text; rename it")


def _image_names(folder: Path, class_names: list[str], skip_broken: bool) -> list[str]:
    """Return the image files as paths below `folder`, <class>/<file>, by class, then by name."""
    for entry in _entries(folder):
        if entry.suffix.lower() in SUFFIXES and entry.is_file():
            _skip_or_refuse(entry, "this image is beside the class folders, expected in one of them", skip_broken)
    names = []
    for class_name in class_names:
        for entry in _entries(folder / class_name):
            if entry.suffix.lower() in SUFFIXES and entry.is_file():
                if entry.stat().st_size > MAX_BYTES:
                    _skip_or_refuse(entry, f"has more than {MAX_BYTES >> 20} MiB; make the image smaller", skip_broken)
                else:
                    names.append(f"{class_name}/{entry.name}")
            else:
                _skip_or_refuse(entry, f"expected only {', '.join(SUFFIXES)} files in a class folder", skip_broken)
    return names


def _skip_or_refuse(path: Path, reason: str, skip_broken: bool) -> None:
    """Print the name of a skipped file, or refuse it with InputError."""
    if not skip_broken:
        raise InputError(f"{path}: {reason} (--skip_broken skips such files)")
    say(f"skipped: {path}: {reason}")


def _class_ids(files: ImageFiles, names: list[str]) -> np.ndarray:
    """Return the class ids int32 [N] of paths <class>/<file>; refuse a class that has no image."""
    ids = {class_name: k for k, class_name in enumerate(files.class_names)}
    labels = np.array([ids[name.split("/")[0]] for name in names], np.int32)
    for k in np.flatnonzero(np.bincount(labels, minlength=len(ids)) == 0):
        folder = files.folder / files.class_names[k]
        raise InputError(f"{folder}: holds no image; add {', '.join(SUFFIXES)} files, or remove the folder")
    return labels


# The cache


def _load_split(files: ImageFiles, cache_dir: Path, check: Callable[[str], None] | None) -> Split:
    """Return the decoded images of a split, from the cache if it has them. First, `check` is called with the digest."""
    class_ids = _class_ids(files, files.names)
    digest = _digest(files)
    if check:
        check(digest)
    entry = cache_dir / f"images-{digest[:32]}"
    with cache.locked(entry):
        cached = _read(entry, files, digest)
        if cached is None:
            if os.path.lexists(entry):
                say(f"{entry}: damaged, or without a checksum; the images are decoded again")
            count, size = len(files.names), files.size
            say(f"decoding {count:,} images of {files.folder} to {size}x{size} into the cache {entry}")
            _build(entry, files, digest)
            cached = _read(entry, files, digest)
    if cached is None:
        raise InputError(f"{entry}: cannot be read after writing; check the disk, or set --cache_dir to another folder")
    checked, skipped = cached
    for name, reason in skipped.items():
        _skip_or_refuse(files.folder / name, reason, files.skip_broken)
    class_ids = class_ids[[name not in skipped for name in files.names]]
    return Split(checked.array, class_ids, digest, {entry / "x.npy": checked.state})


def _digest(files: ImageFiles) -> str:
    """Return the sha256, as hexadecimal digits, of the decoded size and of the name and bytes of each file."""
    digest = hashlib.sha256(f"{FORM}, {files.size}\n".encode())
    with bar("reading", len(files.names)) as advance:
        checksums = _in_threads(lambda name: bytes.fromhex(sha256_of(files.folder / name)), files.names)
        for name, checksum in zip(files.names, checksums, strict=True):
            digest.update(os.fsencode(name) + b"\0" + checksum)
            advance(1)
    return digest.hexdigest()


def _in_threads(function: Callable[[Item], Result], items: list[Item]) -> Iterator[Result]:
    """Yield function(item) for each item, in order, computed by one thread per core in chunks of 256 items."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for chunk in in_order(items, 256):
            with closing(cast(Generator[Result], threads.map(function, chunk))) as results:
                yield from results


def _build(entry: Path, files: ImageFiles, digest: str) -> None:
    """Decode the images into a new entry of the cache. When it is complete, it replaces a damaged entry."""
    shutil.rmtree(entry.with_name(f".{entry.name}.new"), ignore_errors=True)  # left by a killed process of version 1
    with new_folder(entry) as new:
        with (new / "x.npy").open("wb") as file:
            decoded = _decode_all(files, file)
        sync(new / "x.npy")
        _class_ids(files, decoded.files)
        index = {"fingerprint": digest, "class_names": files.class_names, **decoded._asdict()}
        (new / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        sync(new / "index.json")
        if entry.is_symlink() or entry.is_file():
            entry.unlink()
        replace_folder(new, entry)


def _decode_all(files: ImageFiles, file: IO[bytes]) -> Decoded:
    """Write the images as a .npy file."""

    def decode(name: str) -> np.ndarray | BadImage:  # an error of the disk ends the command, also with --skip_broken
        try:
            return read_image(files.folder / name, (files.size, files.size), FORMATS)
        except BadImage as error:
            return error

    names: list[str] = []
    skipped: dict[str, str] = {}
    written = hashlib.sha256()
    with bar("decoding", len(files.names)) as advance, suppress_warnings():
        _write_header(file, len(files.names), files.size)
        for name, pixels in zip(files.names, _in_threads(decode, files.names), strict=True):
            if isinstance(pixels, np.ndarray):
                row = pixels.tobytes()
                file.write(row)
                written.update(row)
                names.append(name)
            else:
                path = files.folder / name
                reason = pixels.problem
                if not files.skip_broken:
                    _skip_or_refuse(path, reason, skip_broken=False)
                skipped[name] = reason
            advance(1)
        file.seek(0)
        _write_header(file, len(names), files.size)
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
        expected = (digest, names, (len(names), files.size, files.size, 3), np.uint8)
        if (index["fingerprint"], index["files"], checked.array.shape, checked.array.dtype) == expected:
            return checked, index["skipped"]
    except UnreadableFile:
        raise
    except (InputError, ValueError, KeyError, TypeError, RecursionError, *cache.ABSENT):
        pass
    return None
