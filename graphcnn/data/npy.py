"""The .npy format, and the folder of the assignment: x_train.npy, y_train.npy, optionally x_test.npy and y_test.npy."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from graphcnn.common.errors import InputError, UnreadableFile
from graphcnn.common.files import open_regular
from graphcnn.data.labels import CURE

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
MAGIC = b"\x93NUMPY"
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


def files(folder: Path) -> dict[str, Path]:
    """Return {name of an array, or "class_names": its file} of a folder. The files of the test split may be missing."""
    return {name: folder / f"{name}.npy" for name in ARRAYS} | {"class_names": folder / "class_names.txt"}


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
    shape, fortran_order, dtype, offset = parse_header(path, file)
    size = os.fstat(file.fileno()).st_size
    if size < offset + math.prod(shape) * dtype.itemsize:
        raise damaged(path, f"the file ends early, at {size} bytes")
    try:
        return np.memmap(file, dtype, "r", offset, shape, "F" if fortran_order else "C")
    except OSError:
        raise
    except Exception as error:  # shapes that no array can have raise many types of errors
        raise damaged(path, error) from None


def _check_start(path: Path | str, start: bytes) -> None:
    """Refuse a file that is not a .npy file by its first bytes."""
    if not start:
        raise InputError(f"{path}: the file is empty; download or save it again")
    if start.startswith(b"version https://git-lfs"):
        raise InputError(f"{path}: is a Git-LFS pointer, not the data; fetch it with `git lfs pull`")
    if not start.startswith(MAGIC):
        content = "a pickle" if start.startswith(b"\x80") else "not a .npy file"
        raise InputError(f"{path}: is {content}, expected an array written by np.save(path, array)")


def parse_header(path: Path | str, file: IO[bytes]) -> Header:
    """Return the Header of an open .npy file; the file must be at its start.

    Args:
        path: the file, or the array of a .npz file, for messages.
        file: a file that can seek.

    Raises:
        InputError: the file is no .npy file, or holds Python objects, which are stored as a pickle.
    """
    _check_start(path, file.read(64))
    file.seek(0)
    try:
        version = np.lib.format.read_magic(file)
        if version not in HEADER_READERS:
            raise ValueError(f"format version {version}, expected one of {', '.join(map(str, HEADER_READERS))}")
        shape, fortran_order, dtype = HEADER_READERS[version](file)
    except Exception as error:  # NumPy parses the header with Python's tokenizer, which raises many types of errors
        raise damaged(path, error) from None
    if dtype.hasobject:
        raise InputError(
            f"{path}: holds pickled Python objects, expected numbers; save images as uint8; for labels, {CURE}"
        )
    if dtype.itemsize == 0 or min(shape, default=0) < 0:  # NumPy would divide by zero and end the process
        raise damaged(path, f"declares the shape {shape} of values of {dtype.itemsize} bytes")
    return Header(shape, fortran_order, dtype, file.tell())


def damaged(path: Path | str, problem: Exception | str) -> InputError:
    """Return the InputError for a truncated or damaged file."""
    reason = str(problem).splitlines() or [type(problem).__name__]
    return InputError(f"{path}: truncated or damaged ({reason[0]}); save or copy it again")
