"""Data sources: each file of this package turns one kind of source into a Dataset."""

from pathlib import Path

from graphcnn.errors import InputError

DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / "data"  # data/ beside the package


def default_source():
    """Return the --data that is meant when none is given: `data/` where it holds x_train.npy, else "digits"."""
    return str(DEFAULT_FOLDER) if (DEFAULT_FOLDER / "x_train.npy").exists() else "digits"


def load(source, test=False):
    """Return the Dataset of a --data value: "digits" or a folder with the assignment's .npy files.

    The test split is read only where `test` is True.
    """
    if source == "digits":
        from graphcnn.data import digits

        return digits.load(test)
    folder = Path(source)
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "no such folder"
        raise InputError(f"--data={source}: {found}, expected a folder with x_train.npy and y_train.npy, or 'digits'")
    from graphcnn.data import npy

    return npy.load(folder, test)
