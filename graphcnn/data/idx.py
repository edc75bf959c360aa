"""A folder of IDX files, such as MNIST and Fashion-MNIST: images and labels, each file plain or compressed with gzip.

An IDX file starts with two zero bytes, the code of the type and the number of dimensions. The size of each dimension
follows as a big-endian uint32, then the values, big-endian, in C order (http://yann.lecun.com/exdb/mnist/).
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from graphcnn.common.errors import InputError, UnreadableFile
from graphcnn.common.files import open_regular
from graphcnn.data.npy import damaged
from graphcnn.data.streams import MAX_BYTES, read_exactly

STEMS = {  # {name of an array: (start, end) of the name of its file}
    "x_train": ("train-images", "idx3-ubyte"),
    "y_train": ("train-labels", "idx1-ubyte"),
    "x_test": ("t10k-images", "idx3-ubyte"),
    "y_test": ("t10k-labels", "idx1-ubyte"),
}
DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}  # {code of the type: dtype}
MOST_DIMENSIONS = 4  # of images with channels
GZIP_MAGIC = b"\x1f\x8b"


class Header(NamedTuple):
    """The header of an IDX file. offset: position of the first value, in bytes. size: of the values, in bytes."""

    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int
    size: int


def files(folder: Path) -> dict[str, Path]:
    """Return {name of an array, or "class_names": its file} of a folder of IDX files; {} for another folder.

    The name of a file has - or . between its two parts, and may end in .gz. Plain files are preferred.

    Raises:
        InputError: the folder has only the images or only the labels of the training.
    """
    found: dict[str, Path] = {}
    for name, (start, end) in STEMS.items():
        names = (f"{start}{separator}{end}{ending}" for ending in ("", ".gz") for separator in "-.")
        path = next((folder / file for file in names if (folder / file).is_file()), None)
        if path:
            found[name] = path
    present = [name for name in ("x_train", "y_train") if name in found]
    if len(present) == 1:
        (absent,) = {"x_train", "y_train"} - set(present)
        raise InputError(
            f"{folder}: has {found[present[0]].name}, but no {'-'.join(STEMS[absent])}, plain or with .gz; put both "
            "files into this folder"
        )
    return found | {"class_names": folder / "class_names.txt"} if present else {}


def read_array(path: Path) -> np.ndarray:
    """Return the array of an IDX file, read-only: memory-mapped, or in memory if the file is compressed with gzip.

    Raises:
        InputError: the file is damaged, is no IDX file, or is compressed and too large for the memory.
        UnreadableFile: the system cannot read the file.
    """
    try:
        with open_regular(path) as file:
            compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            file.seek(0)
            if not compressed:
                return _map(path, file)
            with gzip.GzipFile(fileobj=file) as stream:
                return _decompress(path, stream)
    except (gzip.BadGzipFile, EOFError, ValueError, zlib.error) as error:
        raise damaged(path, error) from None
    except OSError as error:
        raise UnreadableFile(path, f"cannot be read ({error.strerror or error})") from None


def _map(path: Path, file: IO[bytes]) -> np.ndarray:
    """Return the array of a plain IDX file, memory-mapped."""
    header = _parse_header(path, file)
    size, expected = os.fstat(file.fileno()).st_size, header.offset + header.size
    if size != expected:
        raise ValueError(f"it has {size:,} bytes, its header promises {expected:,}")
    return np.memmap(file, header.dtype, "r", header.offset, header.shape)


def _decompress(path: Path, stream: gzip.GzipFile) -> np.ndarray:
    """Return the array of a compressed IDX file."""
    header = _parse_header(path, stream)
    if header.size > MAX_BYTES:
        raise InputError(
            f"{path}: its values have {header.size:,} bytes, expected at most {MAX_BYTES:,} in a compressed file; "
            "decompress it with gunzip, then it is not read into memory"
        )
    values = read_exactly(stream, header.size).view(header.dtype).reshape(header.shape)
    values.flags.writeable = False
    return values


def _parse_header(path: Path, stream: IO[bytes] | gzip.GzipFile) -> Header:
    """Return the Header of an IDX file; see read_array."""
    magic = stream.read(4)
    if len(magic) == 4 and (magic[:2] != b"\0\0" or magic[2] not in DTYPES or not 1 <= magic[3] <= MOST_DIMENSIONS):
        raise InputError(
            f"{path}: starts with the bytes {magic.hex(' ')}, expected an IDX file: 00 00, a type (08, 09, 0b to 0e) "
            f"and 1 to {MOST_DIMENSIONS} dimensions; download it again"
        )
    sizes = stream.read(4 * magic[3]) if len(magic) == 4 else b""
    if len(magic) < 4 or len(sizes) < 4 * magic[3]:
        raise EOFError("it ends in its header")
    shape, dtype = tuple(np.frombuffer(sizes, ">u4").tolist()), np.dtype(DTYPES[magic[2]])
    if 0 in shape:
        raise InputError(f"{path}: declares the shape {shape}, expected at least one image and one pixel")
    return Header(dtype, shape, len(magic) + len(sizes), math.prod(shape) * dtype.itemsize)
