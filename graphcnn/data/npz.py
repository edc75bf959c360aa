"""A .npz file with the arrays x_train, y_train, optionally x_test, y_test and class_names, like Keras' mnist.npz."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from graphcnn.common.errors import FEW, MACHINE, InputError, UnreadableFile
from graphcnn.common.files import open_regular
from graphcnn.data.npy import ARRAYS, damaged, parse_header
from graphcnn.data.streams import MAX_BYTES, read_exactly

NAMES = (*ARRAYS, "class_names")
REQUIRED = ("x_train", "y_train")
HEADER_BYTES = 1 << 16  # maximum size of the header of an array
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # those of np.savez and np.savez_compressed


def files(path: Path) -> dict[str, Path]:
    """Return {name of an array: the .npz file} for each array in the file.

    Raises:
        InputError: the file is damaged, lacks x_train or y_train, or its arrays are too large for the memory.
        UnreadableFile: the system cannot read the file.
    """
    with _opened(path) as archive:
        sizes = {member.filename.removesuffix(".npy"): member.file_size for member in archive.infolist()}
    missing = [name for name in REQUIRED if name not in sizes]
    if missing:
        found = ", ".join([*sizes][:FEW]) + ", …" * (len(sizes) > FEW)
        raise InputError(
            f"{path}: has no array {missing[0]}, found {found or 'no array'}; expected x_train and y_train, and "
            "optionally x_test, y_test and class_names; save them with np.savez(path, x_train=…, y_train=…)"
        )
    size = sum(sizes[name] for name in NAMES if name in sizes)
    if size > MAX_BYTES:
        raise InputError(
            f"{path}: its arrays have {size:,} bytes, expected at most {MAX_BYTES:,}; save them as .npy files in a "
            "folder, which are not read into memory"
        )
    return {name: path for name in NAMES if name in sizes}


def read_array(path: Path, name: str) -> np.ndarray:
    """Return an array of a .npz file. Nothing in the file is executed.

    Raises:
        InputError: the file or the array is damaged, or the array holds Python objects.
        UnreadableFile: the system cannot read the file.
    """
    with _opened(path) as archive:
        member = archive.getinfo(f"{name}.npy")
        if member.compress_type not in METHODS:
            raise ValueError(f"{name} has the compression method {member.compress_type}")
        with archive.open(member) as stream:
            start = stream.read(HEADER_BYTES)
        shape, fortran_order, dtype, offset = parse_header(f"{path}: {name}", io.BytesIO(start))
        size = math.prod(shape) * dtype.itemsize
        if offset + size != member.file_size:
            raise ValueError(f"{name} has {member.file_size:,} bytes, its header promises {offset + size:,}")
        if size > MAX_BYTES:
            raise ValueError(f"{name} grew while it was read")
        with archive.open(member) as stream:
            stream.read(offset)
            values = read_exactly(stream, size).view(dtype)
        return values.reshape(shape[::-1]).T if fortran_order else values.reshape(shape)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a .npz file; raise InputError for each error of the block that comes from a damaged file."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            yield archive
    except InputError:
        raise
    except Exception as error:  # zipfile and zlib raise many types of errors, also OSError for impossible positions
        if isinstance(error, OSError) and error.errno in MACHINE:
            raise UnreadableFile(path, f"cannot be read ({error.strerror or error})") from None
        raise damaged(path, error) from None
