"""A folder of the assignment: x_train.npy, y_train.npy, and optionally x_test.npy, y_test.npy and class_names.txt."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from graphcnn.common.errors import InputError, UnreadableFile
from graphcnn.common.files import open_regular, read_text, update_digest
from graphcnn.data.checks import check_classes, check_compatible, check_form, check_images, check_labels
from graphcnn.data.dataset import Dataset, file_state
from graphcnn.data.fingerprint import fingerprint

MAGIC = b"\x93NUMPY"
NAMES_BYTES = 16 << 20  # maximum size of class_names.txt
BYTE_ORDER_MARK = "\ufeff"  # some editors write it at the start of a UTF-8 file
HEADER_READERS = {  # {version of the .npy format: its reader}
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
    (3, 0): np.lib.format.read_array_header_2_0,  # 3.0 differs only in the encoding of field names
}


class Header(NamedTuple):
    """The header of a .npy file. offset: position of the first number in the file, in bytes."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype
    offset: int


def read_array(path: str | Path) -> np.ndarray:
    """Return the array of a .npy file, memory-mapped read-only. Nothing in the file is executed.

    Raises:
        InputError: the file is missing, not regular, empty, truncated, pickled or a Git-LFS pointer, or holds Python
            objects.
        UnreadableFile: the system cannot read the file.
    """
    path = Path(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns of headers that Python 2 wrote, and of shapes that overflow
        try:
            with open_regular(path) as file:
                return _map_array(path, file)
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; check the name of the folder") from None
        except OSError as error:
            raise UnreadableFile(path, f"cannot be read ({error.strerror or error})") from None


def _map_array(path: Path, file: IO[bytes]) -> np.ndarray:
    """Return the array of an open .npy file, memory-mapped read-only; see read_array."""
    _check_start(path, file.read(64))
    file.seek(0)
    shape, fortran_order, dtype, offset = _parse_header(path, file)
    size = os.fstat(file.fileno()).st_size
    if size < offset + math.prod(shape) * dtype.itemsize:
        raise _damaged(path, f"the file ends early, at {size} bytes")
    try:
        return np.memmap(file, dtype, "r", offset, shape, "F" if fortran_order else "C")
    except OSError:
        raise
    except Exception as error:  # shapes that no array can have raise many types of errors
        raise _damaged(path, error) from None


def _check_start(path: Path, start: bytes) -> None:
    """Refuse a file that is not a .npy file by its first bytes."""
    if not start:
        raise InputError(f"{path}: the file is empty; download or save it again")
    if start.startswith(b"version https://git-lfs"):
        raise InputError(f"{path}: is a Git-LFS pointer, not the data; fetch it with `git lfs pull`")
    if not start.startswith(MAGIC):
        content = "a pickle" if start.startswith(b"\x80") else "not a .npy file"
        raise InputError(f"{path}: is {content}, expected an array written by np.save(path, array)")


def _parse_header(path: Path, file: IO[bytes]) -> Header:
    """Return the Header of an open .npy file; raise InputError for Python objects, which are stored as a pickle."""
    try:
        version = np.lib.format.read_magic(file)
        if version not in HEADER_READERS:
            raise ValueError(f"format version {version}, expected one of {', '.join(map(str, HEADER_READERS))}")
        shape, fortran_order, dtype = HEADER_READERS[version](file)
    except Exception as error:  # NumPy parses the header with Python's tokenizer, which raises many types of errors
        raise _damaged(path, error) from None
    if dtype.hasobject:
        raise InputError(f"{path}: holds pickled Python objects, expected numbers; save it as uint8")
    if dtype.itemsize == 0 or min(shape, default=0) < 0:  # NumPy would divide by zero and end the process
        raise _damaged(path, f"declares the shape {shape} of values of {dtype.itemsize} bytes")
    return Header(shape, fortran_order, dtype, file.tell())


def _damaged(path: Path, problem: Exception | str) -> InputError:
    """Return the InputError for a truncated or damaged file."""
    reason = str(problem).splitlines() or [type(problem).__name__]
    return InputError(f"{path}: truncated or damaged ({reason[0]}); save or copy it again")


def read_images(path: str | Path, dataset: Dataset) -> np.ndarray:
    """Return the images of a .npy file, and check that they have the size and range of the training images.

    Args:
        path: holds [N, H, W], [N, H, W, 1] or [N, H, W, 3].
        dataset: the Dataset with the training images.
    """
    images = read_array(path)
    check_compatible(images, path, dataset.image_shape, dataset.pixel_max)
    return images


def read_labels(path: Path, count: int, classes: int) -> np.ndarray:
    """Return the class ids int32 [N] of a .npy file of shape (N,), (N, 1) or one-hot (N, K).

    Args:
        path: the file.
        count: number of images, N.
        classes: number of classes in the training, K. The file need not have each class.
    """
    labels, columns = check_labels(read_array(path), path, count)
    if (columns or classes) != classes or labels.max() >= classes:
        content = f"is one-hot with {columns} columns" if columns else f"holds label {labels.max()}"
        raise InputError(f"{path}: {content}, expected classes 0..{classes - 1} as in training")
    return labels


def load(folder: str | Path, test: bool) -> Dataset:
    """Return the Dataset of a folder with the files of the assignment. The images are memory-mapped.

    Args:
        folder: the folder.
        test: whether the test files are read.

    Raises:
        InputError: a file is missing or not valid.
    """
    folder = Path(folder).resolve()
    files = {name: folder / f"{name}.npy" for name in ("x_train", "y_train", "x_test", "y_test")}
    files["class_names"] = folder / "class_names.txt"
    states = {files["x_train"]: file_state(files["x_train"])}
    x_train = read_array(files["x_train"])
    check_form(x_train, files["x_train"])
    y_train, columns = check_labels(read_array(files["y_train"]), files["y_train"], len(x_train))
    pixel_max = check_images(x_train, files["x_train"])  # last, because it reads all values
    classes = check_classes(y_train, columns, files["y_train"])
    class_names = _class_names(files["class_names"], classes)
    dataset = Dataset(
        source=str(folder),
        x_train=x_train,
        y_train=y_train,
        class_names=class_names,
        pixel_max=pixel_max,
        has_test_labels=files["x_test"].exists() and files["y_test"].exists(),
        fingerprint=_fingerprint((files["x_train"], files["y_train"]), x_train, class_names),
        dev_split="first",
        files=files,
        file_states=states,
    )
    dataset.check_unchanged()
    return _with_test_split(dataset) if test and files["x_test"].exists() else dataset


def check_test_files(dataset: Dataset) -> None:
    """Check shape, range and labels of the test files beside the training files, if there are any.

    Raises:
        InputError: a file is not valid, or its images or labels do not fit the training files.
    """
    x_path = dataset.files.get("x_test")
    if x_path and x_path.suffix == ".npy" and x_path.exists():
        _with_test_split(dataset)


def _with_test_split(dataset: Dataset) -> Dataset:
    """Return the Dataset with its test images, and with their labels if y_test.npy exists."""
    x_path, y_path = dataset.files["x_test"], dataset.files["y_test"]
    x_test, y_test = read_images(x_path, dataset), None
    if y_path.exists():
        y_test = read_labels(y_path, len(x_test), dataset.classes)
    return dataclasses.replace(dataset, x_test=x_test, y_test=y_test)


def _class_names(path: Path, classes: int) -> tuple[str, ...]:
    """Return the names in an optional text file, one per line in class order; without the file "0", "1", …"""
    if not path.exists():
        return tuple(map(str, range(classes)))
    try:
        lines = read_text(path, NAMES_BYTES).removeprefix(BYTE_ORDER_MARK).split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) != classes or len(set(names)) != classes:
        raise InputError(f"{path}: {len(set(names))} different names, expected {classes}, one per line in class order")
    return names


def _fingerprint(paths: Sequence[Path], images: np.ndarray, class_names: Sequence[str]) -> str:
    """Return the fingerprint of the training files."""
    digest, sizes = hashlib.sha256(), []
    for path in paths:
        sizes.append(path.stat().st_size)
        update_digest(digest, path)
    return fingerprint(digest.hexdigest(), sizes, images, class_names)
