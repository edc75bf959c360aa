"""The assignment's folder: x_train.npy, y_train.npy, optional x_test.npy, y_test.npy and class_names.txt."""

import dataclasses
import hashlib
import warnings
from pathlib import Path

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.files import update_digest
from graphcnn.data.checks import check_classes, check_compatible, check_images, check_labels
from graphcnn.data.dataset import Dataset, file_state


def read_array(path):
    """Return the .npy file's array, memory-mapped read-only; nothing in it is executed.

    Errors: InputError for a missing, empty, truncated or pickled file, a Git-LFS pointer, an object dtype.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the folder's name, or its spelling") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if not start:
        raise InputError(f"{path}: the file is empty; download or save it again")
    if start.startswith(b"version https://git-lfs"):
        raise InputError(f"{path}: is a Git-LFS pointer, not the data; fetch it with `git lfs pull`")
    if not start.startswith(b"\x93NUMPY"):
        what = "a pickle" if start.startswith(b"\x80") else "not a .npy file"
        raise InputError(f"{path}: is {what}, expected an array written by np.save(path, array)")
    try:
        with warnings.catch_warnings():  # of headers by Python 2, or of a shape beyond all numbers
            warnings.simplefilter("ignore")
            return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy parses the header with Python's own tokenizer, which has many ways to fail
        reason = str(error) or type(error).__name__
        if "Python objects" in reason or "allow_pickle" in reason:
            raise InputError(f"{path}: holds pickled Python objects, expected numbers; save it as uint8") from None
        if "mmap length" in reason:
            reason = f"the file ends early, at {path.stat().st_size} bytes"
        raise InputError(f"{path}: truncated or damaged ({reason.splitlines()[0]}); save or copy it again") from None


def read_images(path, like):
    """Return images [N, H, W(, C)] of a .npy file, checked to have the size and range of the data set `like`."""
    images = read_array(path)
    check_compatible(images, path, like.image_shape, like.pixel_max)
    return images


def load(folder, test):
    """Return the Dataset of a folder with the assignment's files; images stay on disk, memory-mapped.

    The test files are touched only where `test` is True.
    """
    folder = Path(folder).resolve()
    files = {name: folder / f"{name}.npy" for name in ("x_train", "y_train", "x_test", "y_test")}
    states = {files["x_train"]: file_state(files["x_train"])}
    x_train = read_array(files["x_train"])
    pixel_max = check_images(x_train, files["x_train"])
    y_train, columns = check_labels(read_array(files["y_train"]), files["y_train"], len(x_train))
    classes = check_classes(y_train, columns, files["y_train"])
    dataset = Dataset(
        source=str(folder),
        x_train=x_train,
        y_train=y_train,
        class_names=_class_names(folder / "class_names.txt", classes),
        pixel_max=pixel_max,
        has_test_labels=files["x_test"].exists() and files["y_test"].exists(),
        fingerprint=_fingerprint(files["x_train"], files["y_train"]),
        dev_split="first",
        files=files,
        file_states=states,
    )
    dataset.check_unchanged()
    if not (test and files["x_test"].exists()):
        return dataset
    x_test, y_test = read_images(files["x_test"], dataset), None
    if files["y_test"].exists():
        y_test, columns = check_labels(read_array(files["y_test"]), files["y_test"], len(x_test))
        if (columns or classes) != classes or y_test.max() >= classes:
            found = f"is one-hot with {columns} columns" if columns else f"holds label {y_test.max()}"
            raise InputError(f"{files['y_test']}: {found}, expected classes 0..{classes - 1} as in training")
    return dataclasses.replace(dataset, x_test=x_test, y_test=y_test)


def _class_names(path, classes):
    """Return the names in an optional text file, one a line in class order; without it "0", "1", …"""
    if not path.exists():
        return tuple(map(str, range(classes)))
    try:
        names = tuple(path.read_text(encoding="utf-8").split("\n"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    names = tuple(name.strip() for name in names if name.strip())
    if len(names) != classes or len(set(names)) != classes:
        raise InputError(f"{path}: {len(set(names))} different names, expected {classes}, one a line in class order")
    return names


def _fingerprint(*paths):
    """Return the sha256 of the files' bytes, one after the other, as hex."""
    digest = hashlib.sha256()
    for path in paths:
        update_digest(digest, path)
    return digest.hexdigest()
