"""The Dataset that every data source returns.

N images, H x W pixels, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from graphcnn.common.errors import InputError


class FileState(NamedTuple):
    """What tells whether a file was written to: its inode, its size in bytes, the time of its last change in ns."""

    inode: int
    size: int
    changed: int


def file_state(path: str | Path) -> FileState | None:
    """Return the FileState of a file, None where there is no such file."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return FileState(status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class ImageSpec:
    """What a net must know of the images that it is made for.

    Attributes:
        shape: (H, W) of the stored images.
        classes: K.
        pixel_max: the top of the pixels' range, 255 or 1.
    """

    shape: tuple[int, int]
    classes: int
    pixel_max: int


@dataclass(frozen=True)
class Dataset:
    """Images in their file's dtype and units, and class ids.

    Attributes:
        source: an absolute folder, or the name of a built-in data set; what `sources.load` takes.
        x_train, x_test: [N, H, W], [N, H, W, 1] or [N, H, W, 3], memory-mapped where they come from a file.
        y_train, y_test: int32 [N], 0 .. K-1.
        class_names: K names, in the order of the class ids.
        pixel_max: the top of the pixels' range, 255 or 1.
        fingerprint: a sha256 of the training images and labels, as hex.
        dev_split: the kind of dev split that is the default for this source, "first" or "stratified".
        has_test_labels: whether the source has labelled test images, whether or not they were read.
        files: {array: the file or folder it comes from}, where there is one.
        file_states: {memory-mapped file: its FileState before it was read}; by default its FileState now.
    """

    source: str
    x_train: np.ndarray
    y_train: np.ndarray
    class_names: tuple[str, ...]
    pixel_max: int
    fingerprint: str
    dev_split: str
    has_test_labels: bool
    x_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    files: dict[str, Path] = field(default_factory=dict)
    file_states: dict[Path, FileState | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        arrays = (self.x_train, self.x_test)
        mapped = [Path(str(array.filename)) for array in arrays if isinstance(array, np.memmap)]
        object.__setattr__(self, "file_states", {path: file_state(path) for path in mapped} | self.file_states)

    def check_unchanged(self) -> None:
        """Check that no file of images was written to since it was loaded.

        A file that was deleted or replaced keeps its bytes for as long as it is mapped, so that is allowed.

        Raises:
            InputError: a file was written to.
        """
        for path, before in self.file_states.items():
            now = file_state(path)
            if now and before and now != before and now.inode == before.inode:
                raise InputError(
                    f"{path}: changed while it was read; the last finished epoch is saved: restore the file, then "
                    "continue with --resume, or start a new run"
                )

    @property
    def spec(self) -> ImageSpec:
        """Size, classes and range of the images."""
        return ImageSpec(self.image_shape, self.classes, self.pixel_max)

    @property
    def classes(self) -> int:
        """Number of classes, K."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int]:
        """(H, W) of the stored images."""
        return self.x_train.shape[1:3]

    def file(self, array: str) -> Path | str:
        """Return the file that holds `array` ("x_test", ...) for messages, or the array's name in this source."""
        return self.files.get(array, f"{array} of {self.source}")
