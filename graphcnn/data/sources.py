"""Load the Dataset that --data names. Each module beside this one loads one type of source."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graphcnn.common import paths
from graphcnn.common.errors import InputError
from graphcnn.common.progress import say_if_slow
from graphcnn.config.flags import FITS
from graphcnn.data import arrays, cache, cifar10, digits, folder, idx, label_file, npy, npz
from graphcnn.data.dataset import Dataset
from graphcnn.data.image_cache import Decoding

DEFAULT_FOLDER = paths.DATA
NAMES = ("cifar10", "digits")  # sources that are not folders
EXPECTED = (
    "a folder with x_train.npy and y_train.npy, a .npz file, a folder of IDX files such as MNIST, a folder of images "
    "(train/<class>/*, or any files with --label_file), 'cifar10' or 'digits'"
)


@dataclass(frozen=True)
class DataOptions:
    """Options for loading a source. Each source uses some of the options; a run records all of them.

    Attributes:
        image_size: height and width in pixels to which the images of a folder are resized.
        fit: how image files that are not square are brought to a square; see images.read_image.
        skip_broken: whether files that are not images, in a folder of images, are skipped instead of refused.
        cache_dir: folder for the decoded images of a folder; None for the default of cache.folder.
        data_cache: folder for downloaded archives; None for the default of cache.folder.
        label_file: CSV file with the labels of a folder of images, absolute or relative to this folder; None if the
            images are in class folders.
    """

    image_size: int = 32
    fit: str = "crop"
    skip_broken: bool = False
    cache_dir: str | None = None
    data_cache: str | None = None
    label_file: str | None = None

    def well_formed(self) -> bool:
        """Return whether each value has the type of its field. The values may come from a file."""
        paths = (self.cache_dir, self.data_cache, self.label_file)
        texts = all(isinstance(value, (str, type(None))) for value in paths)
        return type(self.image_size) is int and self.fit in FITS and type(self.skip_broken) is bool and texts

    def decoding(self) -> Decoding:
        """Return how the files of a folder of images are decoded."""
        return Decoding(self.image_size, self.fit, self.skip_broken, cache.folder(self.cache_dir))

    def recorded(self, source: str) -> dict[str, object]:
        """Return {field: value} for config.json. A label file in the folder of the data moves with this folder."""
        values = dataclasses.asdict(self)
        if self.label_file is None:
            del values["label_file"]
        elif Path(self.label_file).is_relative_to(source):
            values["label_file"] = str(Path(self.label_file).relative_to(source))
        return values


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
        source: "digits", "cifar10", a folder of .npy or IDX files, a .npz file or a folder of images.
        test: whether the test split is read.
        options: DataOptions, None for the defaults.
        check_content: see folder.load; it is called only for a folder of images.

    Raises:
        InputError: the source does not exist, or its files are not valid.
    """
    options = options or DataOptions()
    with say_if_slow(f"reading the data {source}"):
        return _load(source, test, options, check_content)


def _load(source: str | Path, test: bool, options: DataOptions, check_content: Callable[[str], None] | None) -> Dataset:
    """Return the Dataset of a --data value; see load."""
    path = Path(source)
    if options.label_file and (source in NAMES or path.is_file()):
        raise InputError(f"--label_file: --data={source} is not a folder of images; remove one of the two flags")
    if source == "digits":
        return digits.load(test)
    if source == "cifar10":
        return cifar10.load(test, options.data_cache)
    if path.suffix == ".npz" and path.is_file():
        path = path.resolve()
        return arrays.load(path, npz.files(path), test)
    if not path.is_dir():
        problem = "is a file" if path.exists() else "no such folder"
        raise InputError(f"--data={source}: {problem}, expected {EXPECTED}")
    path = path.resolve()
    if options.label_file:
        labels = path / options.label_file
        return label_file.load(path, labels, test, options.decoding(), check_content)
    if (path / "x_train.npy").exists():
        return arrays.load(path, npy.files(path), test)
    if idx_files := idx.files(path):
        return arrays.load(path, idx_files, test)
    if not folder.class_folders(path):
        raise InputError(f"{path}: no x_train.npy and no class folders in it; expected {EXPECTED}")
    return folder.load(path, test, options.decoding(), check_content)
