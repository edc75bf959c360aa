"""The Dataset that every data source returns.

N images, H x W pixels, K classes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.data.fingerprint import update_with_array


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
    """Size, range and classes of the images that a net is built for.

    Attributes:
        shape: (H, W) of the stored images.
        classes: K.
        pixel_max: upper end of the range of the pixels, 255 or 1.
    """

    shape: tuple[int, int]
    classes: int
    pixel_max: int


@dataclass(frozen=True)
class Dataset:
    """Images in the dtype and units of their file, and class ids.

    Attributes:
        source: an absolute path, or the name of a built-in data set, as `sources.load` takes it.
        x_train, x_test: [N, H, W], [N, H, W, 1] or [N, H, W, 3]; memory-mapped if they come from a .npy file.
        y_train, y_test: int32 [N], 0 .. K-1.
        class_names: K names, in the order of the class ids.
        pixel_max: upper end of the range of the pixels, 255 or 1.
        fingerprint: identifies the training images, the labels and the class names; see fingerprint.py.
        dev_split: default of --dev_split for this source, "first" or "stratified". If the source has a dev split: the
            name of its folder with a slash, such as "val/", or the name of the file of labels.
        dev_rows: the rows of the dev split in x_train, int64; None if the source has no dev split.
        first_label: label of class 0 in the file of labels, 0 or 1; None if the labels are class names.
        has_test_labels: whether the source has labelled test images; they need not be loaded.
        files: {name of an array, "class_names", or "dev" for the dev split: the file or folder that has it}.
        file_names: {name of an array: path of each row's image file below the folder in `files`}; {} without image
            files.
        file_states: {memory-mapped file: its FileState before it was read}; by default its present FileState.
    """

    source: str
    x_train: np.ndarray
    y_train: np.ndarray
    class_names: tuple[str, ...]
    pixel_max: int
    fingerprint: str
    dev_split: str
    has_test_labels: bool
    dev_rows: np.ndarray | None = None
    x_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    first_label: int | None = 0
    files: dict[str, Path] = field(default_factory=dict)
    file_names: dict[str, Sequence[str]] = field(default_factory=dict)
    file_states: dict[Path, FileState | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        arrays = (self.x_train, self.x_test)
        mapped = [Path(str(array.filename)) for array in arrays if isinstance(array, np.memmap)]
        object.__setattr__(self, "file_states", {path: file_state(path) for path in mapped} | self.file_states)

    def watch(self, path: Path, state: FileState | None) -> None:
        """Add a file, such as the cached features of the images, to the files that check_unchanged compares."""
        self.file_states[path] = state

    def check_unchanged(self) -> None:
        """Check that no program has written to a file of images after it was loaded.

        Deleting or replacing a file is allowed, as its bytes stay readable while it is mapped.

        Raises:
            InputError: a program has written to a file.
        """
        for path, before in self.file_states.items():
            now = file_state(path)
            if now and before and now != before and now.inode == before.inode:
                raise InputError(
                    f"{path}: changed while it was read; the last finished epoch is saved: restore the file, then "
                    "continue with --resume, or start a new run"
                )

    def test_fingerprint(self) -> str | None:
        """Return a sha256 of the test images, their labels and the class names; None without loaded test labels."""
        if self.x_test is None or self.y_test is None:
            return None
        self.check_unchanged()  # a read beyond the end of a memory-mapped file is a bus error
        digest = hashlib.sha256()
        shapes = [[array.dtype.str, array.shape] for array in (self.x_test, self.y_test)]
        digest.update(json.dumps([self.class_names, shapes]).encode())
        for array in (self.x_test, self.y_test):
            update_with_array(digest, array)
        return digest.hexdigest()

    @property
    def spec(self) -> ImageSpec:
        """ImageSpec of the images."""
        return ImageSpec(self.image_shape, self.classes, self.pixel_max)

    @property
    def classes(self) -> int:
        """Number of classes, K."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int]:
        """(H, W) of the stored images."""
        return self.x_train.shape[1:3]

    def has_test_images(self) -> bool:
        """Return whether the source has test images; they need neither labels nor to be loaded."""
        return self.has_test_labels or ("x_test" in self.files and self.files["x_test"].exists())

    def file(self, array: str) -> Path | str:
        """Return for messages the file of an array such as "x_test", or "x_test of SOURCE" if it has no file."""
        return self.files.get(array, f"{array} of {self.source}")
