"""Data sources: each file of this package turns one kind of source into a Dataset."""

from dataclasses import dataclass
from pathlib import Path

from graphcnn.common import paths
from graphcnn.common.errors import InputError

DEFAULT_FOLDER = paths.DATA
NAMES = ("cifar10", "digits")  # sources that are no folders
EXPECTED = "a folder with x_train.npy and y_train.npy, a folder of images (train/<class>/*), 'cifar10' or 'digits'"


def default_source():
    """Return the --data that is meant when none is given: `data/` where it holds x_train.npy, else "digits"."""
    return str(DEFAULT_FOLDER) if (DEFAULT_FOLDER / "x_train.npy").exists() else "digits"


@dataclass(frozen=True)
class DataOptions:
    """How to load what is not stored as arrays; each source uses what concerns it, a run records all.

    image_size: side in pixels that a folder's images are resized to.
    skip_broken: whether files in it that are no images are left out.
    cache_dir: where its decoded images are kept; None for ~/.cache/graphcnn.
    data_cache: where downloaded archives are kept, likewise.
    """

    image_size: int = 32
    skip_broken: bool = False
    cache_dir: str | None = None
    data_cache: str | None = None

    def well_formed(self):
        """Whether each value, read from a file, is of its field's type."""
        folders = all(isinstance(folder, (str, type(None))) for folder in (self.cache_dir, self.data_cache))
        return type(self.image_size) is int and type(self.skip_broken) is bool and folders


def load(source, test=False, options=None):
    """Return the Dataset of a --data value: "digits", "cifar10", a folder of .npy files or of images.

    The test split is read only where `test` is True. options: DataOptions, None for their defaults.
    """
    options = options or DataOptions()
    if source == "digits":
        from graphcnn.data import digits

        return digits.load(test)
    if source == "cifar10":
        from graphcnn.data import cifar10

        return cifar10.load(test, options.data_cache)
    path = Path(source)
    if not path.is_dir():
        found = "is a file" if path.exists() else "no such folder"
        raise InputError(f"--data={source}: {found}, expected {EXPECTED}")
    from graphcnn.data import folder, npy

    if (path / "x_train.npy").exists():
        return npy.load(path, test)
    if not folder.class_folders(path):
        raise InputError(f"{path / 'x_train.npy'}: no such file, nor class folders beside it; expected {EXPECTED}")
    return folder.load(path, test, options.image_size, options.cache_dir, options.skip_broken)
