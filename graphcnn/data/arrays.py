"""A Dataset of the arrays x_train, y_train and optionally x_test and y_test, from .npy, .npz or IDX files."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.files import read_text, update_digest
from graphcnn.data import idx, npy, npz
from graphcnn.data.checks import check_compatible, check_form, check_images
from graphcnn.data.dataset import Dataset, file_state
from graphcnn.data.fingerprint import fingerprint, update_with_array
from graphcnn.data.labels import Labels, class_ids, strings, training_labels

NAMES_BYTES = 16 << 20  # maximum size of class_names.txt
BYTE_ORDER_MARK = "\ufeff"  # some editors write it at the start of a UTF-8 file


def read(path: Path, array: str) -> np.ndarray:
    """Return an array of a file: the array of a .npy or IDX file, or one of the arrays of a .npz file.

    The array is memory-mapped, except those of .npz files and of compressed IDX files.

    Raises:
        InputError: the file is not valid.
        UnreadableFile: the system cannot read the file.
    """
    if path.suffix == ".npz":
        return npz.read_array(path, array)
    return npy.read_array(path) if path.suffix == ".npy" else idx.read_array(path)


def load(source: Path, files: Mapping[str, Path], test: bool) -> Dataset:
    """Return the Dataset of a source whose images and labels are arrays.

    Args:
        source: the absolute path that --data names.
        files: {name of an array, or "class_names": its file}. The files of the test split and of the class names may
            be left out or missing.
        test: whether the test split is read.

    Raises:
        InputError: a file is missing or not valid.
    """
    x_file, y_file = files["x_train"], files["y_train"]
    state = file_state(x_file)
    x_train = read(x_file, "x_train")
    check_form(x_train, _name(x_file, "x_train"))
    labels = training_labels(read(y_file, "y_train"), _name(y_file, "y_train"), len(x_train))
    class_names = _class_names(files.get("class_names"), labels)
    pixel_max = check_images(x_train, _name(x_file, "x_train"))  # last, because it reads all values
    dataset = Dataset(
        source=str(source),
        x_train=x_train,
        y_train=labels.class_ids,
        class_names=class_names,
        pixel_max=pixel_max,
        has_test_labels=_exists(files, "x_test") and _exists(files, "y_test"),
        fingerprint=_fingerprint((x_file, y_file), x_train, labels.class_ids, class_names),
        dev_split="first",
        first_label=labels.first,
        files=dict(files),
        file_states={x_file: state} if isinstance(x_train, np.memmap) else {},
    )
    dataset.check_unchanged()
    return _with_test_split(dataset) if test and _exists(files, "x_test") else dataset


def check_test_files(dataset: Dataset) -> Dataset:
    """Check shape, range and labels of the test arrays, if they are in files; return the Dataset with its test split.

    Image files are not read: of a folder of images, the Dataset is returned unchanged.

    Raises:
        InputError: a file is not valid, or its images or labels do not fit the training files.
    """
    if not dataset.file_names and _exists(dataset.files, "x_test"):
        return _with_test_split(dataset)
    return dataset


def _with_test_split(dataset: Dataset) -> Dataset:
    """Return the Dataset with its test images, and with their labels if they exist."""
    x_file = dataset.files["x_test"]
    x_test, y_test = read(x_file, "x_test"), None
    check_compatible(x_test, _name(x_file, "x_test"), dataset.image_shape, dataset.pixel_max)
    if _exists(dataset.files, "y_test"):
        y_file = dataset.files["y_test"]
        labels, name = read(y_file, "y_test"), _name(y_file, "y_test")
        y_test = class_ids(labels, name, len(x_test), dataset.class_names, dataset.first_label)
    return dataclasses.replace(dataset, x_test=x_test, y_test=y_test)


def _exists(files: Mapping[str, Path], array: str) -> bool:
    """Return whether the file of an array exists."""
    return array in files and files[array].exists()


def _name(path: Path, array: str) -> Path | str:
    """Return the name of an array for messages: its file, and the name of the array if the file has several arrays."""
    return f"{path}: {array}" if path.suffix == ".npz" else path


def _class_names(path: Path | None, labels: Labels) -> tuple[str, ...]:
    """Return the names in class_names.txt or in a .npz file, in class order; without them, the labels as text."""
    if path is None or not path.exists():
        return labels.class_names
    name, classes = _name(path, "class_names"), len(labels.class_names)
    names = strings(read(path, "class_names"), name) if path.suffix == ".npz" else _lines(path)
    if len(names) != classes or len(set(names)) != classes:
        raise InputError(f"{name}: {len(set(names))} different names, expected {classes}, in class order")
    if labels.first is None and names != labels.class_names:
        found, expected = next(pair for pair in zip(names, labels.class_names, strict=True) if pair[0] != pair[1])
        raise InputError(f"{name}: found {found!r}, expected {expected!r}: the labels name the classes; remove it")
    return names


def _lines(path: Path) -> tuple[str, ...]:
    """Return the names in a text file, one per line."""
    try:
        lines = read_text(path, NAMES_BYTES).removeprefix(BYTE_ORDER_MARK).split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    return tuple(line.strip() for line in lines if line.strip())


def _fingerprint(files: Sequence[Path], images: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> str:
    """Return the fingerprint of the training data: of the bytes of .npy files, or of the arrays of other files."""
    digest = hashlib.sha256()
    sizes = [images.nbytes, labels.nbytes]
    if files[0].suffix == ".npy":
        sizes = [path.stat().st_size for path in files]
        for path in files:
            update_digest(digest, path)
    else:
        for array in (images, labels):
            update_with_array(digest, array)
    return fingerprint(digest.hexdigest(), sizes, images, class_names)
