"""Load the Dataset that --data names. Each module beside this one loads one type of source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graphcnn.common import paths
from graphcnn.common.errors import InputError
from graphcnn.data import cifar10, digits, folder, npy
from graphcnn.data.dataset import Dataset

DEFAULT_FOLDER = paths.DATA
NAMES = ("cifar10", "digits")  # sources that are not folders
EXPECTED = "a folder with x_train.npy and y_train.npy, a folder of images (train/<class>/*), 'cifar10' or 'digits'"


@dataclass(frozen=True)
class DataOptions:
    """Options for loading a source. Each source uses some of the options; a run records all of them.

    Attributes:
        image_size: height and width in pixels to which the images of a folder are resized.
        skip_broken: whether files that are not images, in a folder of images, are skipped instead of refused.
        cache_dir: folder for the decoded images of a folder; None for the default of cache.folder.
        data_cache: folder for downloaded archives; None for the default of cache.folder.
    """

    image_size: int = 32
    skip_broken: bool = False
    cache_dir: str | None = None
    data_cache: str | None = None

    def well_formed(self) -> bool:
        """Return whether each value has the type of its field. The values may come from a file."""
        folders = all(isinstance(value, (str, type(None))) for value in (self.cache_dir, self.data_cache))
        return type(self.image_size) is int and type(self.skip_broken) is bool and folders


def default_source() -> str:
    """Return the source that is used without --data: `data/` if it holds x_train.npy, else "digits"."""
    return str(DEFAULT_FOLDER) if (DEFAULT_FOLDER / "x_train.npy").exists() else "digits"


def load(
    source: str | Path,
    test: bool = False,
    options: DataOptions | None = None,
    check_content: Callable[[str], None] | None = None,
) -> Dataset:
    """Return the Dataset of a --data value.

    Args:
        source: "digits", "cifar10", a folder of .npy files or a folder of images.
        test: whether the test split is read.
        options: DataOptions, None for the defaults.
        check_content: see folder.load; it is called only for a folder of images.

    Raises:
        InputError: the source does not exist, or its files are not valid.
    """
    options = options or DataOptions()
    if source == "digits":
        return digits.load(test)
    if source == "cifar10":
        return cifar10.load(test, options.data_cache)
    path = Path(source)
    if not path.is_dir():
        problem = "is a file" if path.exists() else "no such folder"
        raise InputError(f"--data={source}: {problem}, expected {EXPECTED}")
    if (path / "x_train.npy").exists():
        return npy.load(path, test)
    if not folder.class_folders(path):
        raise InputError(f"{path}: no x_train.npy and no class folders in it; expected {EXPECTED}")
    return folder.load(path, test, options.image_size, options.cache_dir, options.skip_broken, check_content)
