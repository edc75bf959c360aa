"""Image files that `predict` reads batch by batch. N files, H x W pixels."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from graphcnn.common.errors import BadImage, InputError, error_line
from graphcnn.common.files import is_litter
from graphcnn.common.processors import cores
from graphcnn.data.images import SUFFIXES, read_image, suppress_warnings


def find_files(arguments: Sequence[str]) -> list[str]:
    """Return the image files that the arguments name, in the order of the arguments.

    An argument is a file, a folder (all image files below it, sorted, without hidden files; links to folders are not
    followed) or a pattern such as photos/*.jpg. If a pattern finds a file several times through links, it counts once.

    Raises:
        InputError: an argument names no file.
        OSError: a folder cannot be read.
    """
    return [path for argument in arguments for path in _found(argument)]


def _found(argument: str) -> list[str]:
    if os.path.isdir(argument):  # noqa: PTH112 (the paths keep the user's spelling)
        files = list(_below(argument))
        if not files:
            raise InputError(f"{argument}: holds no image files; expected {', '.join(SUFFIXES)}")
        return files
    if os.path.lexists(argument):
        return [argument]
    if not glob.has_magic(argument):
        raise InputError(f"{argument}: no such file")
    paths = [path for path in glob.glob(argument, recursive=True) if not os.path.isdir(path)]  # noqa: PTH112, PTH207
    shortest = {os.path.realpath(path): path for path in sorted(paths, key=len, reverse=True)}
    if not shortest:
        raise InputError(f"{argument}: no file fits this pattern")
    return sorted(shortest.values())


def _below(folder: str) -> Iterator[str]:
    """Yield the image files below a folder, sorted."""

    def refuse(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not is_litter(name))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield os.path.join(parent, name)  # noqa: PTH118


class PhotoFiles:
    """The pixels of image files as an array that is read batch by batch: photos[rows] is float32 [n, H, W, 3].

    A file that cannot be read has black pixels.

    Attributes:
        paths: N files.
        shape: (N, H, W, 3).
        problems: {row: what is wrong with the file}, of the files that could not be read so far.
    """

    def __init__(self, paths: Sequence[str], image_shape: tuple[int, int], fit: str, pixel_max: int) -> None:
        """Open no file.

        Args:
            paths: N files.
            image_shape: (H, W).
            fit: see read_image.
            pixel_max: upper end of the range of the pixels, 255 or 1.
        """
        self.paths, self.shape = paths, (len(paths), *image_shape, 3)
        self.problems: dict[int, str] = {}
        self._fit, self._scale = fit, np.float32(pixel_max / 255)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        with suppress_warnings(), ThreadPoolExecutor(cores()) as threads:
            return np.stack(list(threads.map(self._read, rows.tolist()))) * self._scale

    def _read(self, row: int) -> np.ndarray:
        height, width = self.shape[1:3]
        try:
            return read_image(self.paths[row], (height, width), self._fit)
        except (InputError, OSError) as error:
            self.problems[row] = error.problem if isinstance(error, BadImage) else error_line(error)
            return np.zeros((height, width, 3), np.uint8)
