"""A folder of images, train/<class>/* with optional test/<class>/*, or <class>/*: decoded once into a cache.

The cache of a split is `<cache_dir>/images-<fingerprint>/` with x.npy (uint8 [N, S, S, 3]) and index.json (class
names, the files in row order, those skipped). It may be deleted at any time.
"""

import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.files import sha256_of, sync
from graphcnn.common.progress import bar, say
from graphcnn.data import cache
from graphcnn.data.batches import in_order
from graphcnn.data.dataset import Dataset
from graphcnn.data.images import read_image, suppress_warnings
from graphcnn.data.npy import read_array

SUFFIXES = (".png", ".jpg", ".jpeg")  # in either case
FORMATS = ("PNG", "JPEG")
LITTER = ("thumbs.db", "desktop.ini", "__macosx")  # what systems leave in folders, besides hidden files
FORM = "graphcnn image folder, 1"  # to be changed when the same files become other pixels


def class_folders(folder):
    """Return the names of the folders in a folder, sorted, hidden ones left out; none where it is no folder."""
    return [entry.name for entry in _entries(folder) if entry.is_dir()] if folder.is_dir() else []


def load(folder, test, size, cache_dir=None, skip_broken=False):
    """Return the Dataset of a folder of images: uint8 [N, S, S, 3], memory-mapped from the cache.

    Args:
        folder: has train/<class>/* and perhaps test/<class>/*, or <class>/*; the files end in SUFFIXES.
        test: whether the test split is read.
        size: S; images are resized to S x S.
        cache_dir: where decoded images are kept; None for the default.
        skip_broken: whether files that are no images are named and left out, rather than refused.

    Errors: InputError for such files, for classes that have no images or are not the same in train/ and test/.
    """
    folder = Path(folder).resolve()
    train = folder / "train"
    if not class_folders(train):
        train = folder
        if class_folders(folder / "test"):
            raise InputError(f"{folder}: has test/ but no train/ with class folders; put the training images there")
    class_names = class_folders(train)
    _check_names(train, class_names)
    held_out = folder / "test" if train != folder and (folder / "test").is_dir() else None
    if held_out:
        found = class_folders(held_out)
        for odd in sorted(set(found) ^ set(class_names)):
            only = held_out if odd in found else train
            raise InputError(f"{only / odd}: this class is in {only.name}/ alone, expected the same classes in both")

    def split(part):
        return _cached(part, class_names, size, cache.folder(cache_dir), skip_broken)

    x_train, y_train, fingerprint = split(train)
    x_test, y_test, _ = split(held_out) if test and held_out else (None, None, None)
    return Dataset(
        source=str(folder),
        x_train=x_train,
        y_train=y_train,
        class_names=tuple(class_names),
        pixel_max=255,
        has_test_labels=held_out is not None,
        fingerprint=fingerprint,
        dev_split="stratified",
        x_test=x_test,
        y_test=y_test,
        files={"x_train": train, "y_train": train, "x_test": folder / "test", "y_test": folder / "test"},
    )


def _entries(folder):
    """Return what lies in a folder, sorted by name, without hidden files and litter."""
    entries = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return sorted((entry for entry in entries if entry.name.lower() not in LITTER), key=lambda entry: entry.name)


def _check_names(folder, class_names):
    """Refuse fewer than two classes, and names that are not one line of text."""
    if len(class_names) < 2:
        named = f" ({class_names[0]})" if class_names else ""
        raise InputError(f"{folder}: {len(class_names)} class folders{named}, expected at least two")
    for name in class_names:
        if name.splitlines() != [name] or name != name.encode("utf-8", "ignore").decode():
            raise InputError(f"{folder}: class folder {name!a} is not one line of UTF-8 text; rename it")


def _cached(folder, class_names, size, cache_dir, skip_broken):
    """Return (images, class ids int32 [N], fingerprint) of the class folders in `folder`, decoded if need be."""
    names = _files(folder, class_names, skip_broken)
    class_ids = _class_ids(folder, class_names, names)
    fingerprint = _fingerprint(folder, names, size)
    place = cache_dir / f"images-{fingerprint[:32]}"
    with cache.locked(place):
        if place.exists() and not _read(place, names, fingerprint, size):
            say(f"{place}: damaged, made anew")
            shutil.rmtree(place)
        if not place.exists():
            say(f"decoding {len(names):,} images of {folder} to {size}x{size}, once, into {place}")
            _build(place, folder, class_names, names, fingerprint, size, skip_broken)
        images, skipped = _read(place, names, fingerprint, size)
    for name, reason in skipped.items():
        _leave_out(folder / name, reason, skip_broken)
    return images, class_ids[[name not in skipped for name in names]], fingerprint


def _files(folder, class_names, skip_broken):
    """Return the image files as paths below `folder`, <class>/<file>, by class, then by name."""
    for entry in _entries(folder):
        if entry.suffix.lower() in SUFFIXES and entry.is_file():
            _leave_out(entry, "lies beside the class folders, expected in one of them", skip_broken)
    names = []
    for class_name in class_names:
        for entry in _entries(folder / class_name):
            if entry.suffix.lower() in SUFFIXES and entry.is_file():
                names.append(f"{class_name}/{entry.name}")
            else:
                _leave_out(entry, f"is no {', '.join(SUFFIXES)} file, but lies among the images", skip_broken)
    return names


def _leave_out(path, reason, skip_broken):
    """Name a file that is no image and go on, or end the run."""
    if not skip_broken:
        raise InputError(f"{path}: {reason} (--skip_broken leaves such files out)")
    say(f"skipped: {path}: {reason}")


def _class_ids(folder, class_names, names):
    """Return the class ids int32 [N] of paths <class>/<file>; refuse a class without any."""
    ids = {class_name: k for k, class_name in enumerate(class_names)}
    labels = np.array([ids[name.split("/")[0]] for name in names], np.int32)
    for k in np.flatnonzero(np.bincount(labels, minlength=len(class_names)) == 0):
        raise InputError(f"{folder / class_names[k]}: holds no image; add {', '.join(SUFFIXES)} files, or remove it")
    return labels


def _fingerprint(folder, names, size):
    """Return the sha256, as hex, of the side and of each file's name and bytes."""
    digest = hashlib.sha256(f"{FORM}, {size}\n".encode())
    with bar("reading", len(names)) as advance:
        contents = _in_threads(lambda name: bytes.fromhex(sha256_of(folder / name)), names)
        for name, content in zip(names, contents, strict=True):
            digest.update(os.fsencode(name) + b"\0" + content)
            advance(1)
    return digest.hexdigest()


def _in_threads(function, items):
    """Yield function(item) for each item, in order, computed a few at a time by as many threads as there are cores."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for part in in_order(items, 256):
            with closing(threads.map(function, part)) as results:
                yield from results


def _build(place, folder, class_names, names, fingerprint, size, skip_broken):
    """Decode the images into the cache folder `place`, which appears whole or not at all."""

    def decode(name):
        try:
            return read_image(folder / name, (size, size), FORMATS)
        except InputError as error:
            return str(error).removeprefix(f"{folder / name}: ")

    new = place.with_name(f".{place.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        files, skipped = [], {}
        with (new / "x.npy").open("wb") as file, bar("decoding", len(names)) as advance, suppress_warnings():
            _write_header(file, len(names), size)
            for name, pixels in zip(names, _in_threads(decode, names), strict=True):
                if isinstance(pixels, np.ndarray):
                    file.write(pixels.tobytes())
                    files.append(name)
                elif skip_broken:
                    skipped[name] = pixels
                else:
                    _leave_out(folder / name, pixels, skip_broken)
                advance(1)
            file.seek(0)
            _write_header(file, len(files), size)
        sync(new / "x.npy")
        _class_ids(folder, class_names, files)
        index = {"fingerprint": fingerprint, "class_names": class_names, "files": files, "skipped": skipped}
        (new / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        sync(new / "index.json")
        new.rename(place)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _write_header(file, rows, size):
    """Write the .npy header of uint8 [rows, S, S, 3]; NumPy pads it to one length for any number of rows."""
    form = {"descr": "|u1", "fortran_order": False, "shape": (rows, size, size, 3)}
    np.lib.format.write_array_header_1_0(file, form)


def _read(place, names, fingerprint, size):
    """Return (images uint8 [N, S, S, 3] memory-mapped, {skipped file: reason}) of a cache, or None if it is damaged."""
    try:
        index = json.loads((place / "index.json").read_text(encoding="utf-8"))
        images = read_array(place / "x.npy")
        files = [name for name in names if name not in index["skipped"]]
        expected = (fingerprint, files, (len(files), size, size, 3), np.uint8)
        if (index["fingerprint"], index["files"], images.shape, images.dtype) == expected:
            return images, index["skipped"]
    except (InputError, OSError, ValueError, KeyError, TypeError):
        pass
    return None
