"""What every data source returns, the checks all of them share, and the dev split.

N rows, H x W pixels, K classes.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.progress import bar
from graphcnn.data.batches import rows_at_once

SPLIT_SEED = 0  # of the stratified split: fixed, so that runs with different seeds share their dev rows


@dataclass(frozen=True)
class Dataset:
    """Images in their file's dtype and units, and class ids.

    x_*: [N, H, W], [N, H, W, 1] or [N, H, W, 3], memory-mapped where they come from a file.
    y_*: int32 [N], 0 .. K-1.
    pixel_max: 255 or 1, the top of the pixels' range.
    tested: whether the source has labelled test images.
    source: an absolute folder or the name of an embedded set; what `load` takes.
    fingerprint: a sha256 that tells these training images and labels from others.
    files: {array: the file or folder it comes from}, where there is one.
    written: {file behind a memory-mapped array: `written` of it before it was read}; by default of now.
    """

    source: str
    x_train: np.ndarray
    y_train: np.ndarray
    class_names: tuple
    pixel_max: int
    fingerprint: str
    dev_split: str
    tested: bool
    x_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    files: dict = field(default_factory=dict)
    written: dict = field(default_factory=dict)

    def __post_init__(self):
        mapped = [Path(array.filename) for array in (self.x_train, self.x_test) if isinstance(array, np.memmap)]
        object.__setattr__(self, "written", {path: written(path) for path in mapped} | self.written)

    def refuse_changes(self):
        """Refuse to go on where a file of images was written to since it was loaded.

        One that was deleted, or that another took the name of, keeps its bytes for as long as it is mapped.
        """
        for path, before in self.written.items():
            now = written(path)
            if now and before and now != before and now[0] == before[0]:
                raise InputError(
                    f"{path}: changed while it was read; the last finished epoch is saved: restore the file, then "
                    "continue with --resume, or start a new run"
                )

    @property
    def classes(self):
        """Number of classes, K."""
        return len(self.class_names)

    @property
    def image_shape(self):
        """(H, W) of the stored images."""
        return self.x_train.shape[1:3]

    def file(self, array):
        """Return the file that holds `array` ("x_test", ...) for messages, or the array's name in this source."""
        return self.files.get(array, f"{array} of {self.source}")


def written(path):
    """Return (inode, bytes, nanoseconds of the last change) of a file, None where it is not there."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def check_images(images, name):
    """Check rank, channels, size, dtype, finiteness and range; return the top of the range, 255 or 1.

    Integer pixels are 0..255; floating-point ones are 0..1 if none is above 1, else 0..255.
    """
    if images.dtype.kind not in "uif":
        raise InputError(f"{name}: dtype is {images.dtype}, expected uint8 or float pixels")
    if images.ndim not in (3, 4):
        raise InputError(f"{name}: shape is {images.shape}, expected (N, H, W, 3), (N, H, W, 1) or (N, H, W)")
    if images.ndim == 4 and images.shape[3] not in (1, 3):
        if images.shape[1] in (1, 3):
            raise InputError(
                f"{name}: shape {images.shape} has its channels first, expected (N, H, W, C); "
                "transpose it with x.transpose(0, 2, 3, 1)"
            )
        raise InputError(f"{name}: shape is {images.shape}, expected 1 or 3 channels last")
    if 0 in images.shape:
        raise InputError(f"{name}: shape {images.shape} holds no pixels")
    if images.dtype == np.uint8:
        return 255
    low, high = np.inf, -np.inf
    chunk = rows_at_once(images.shape[1:3])
    with bar("checking pixels", len(images)) as advance:
        for start in range(0, len(images), chunk):
            part = images[start : start + chunk]
            if not np.isfinite(part).all():
                row = int(start + np.argmin(np.isfinite(part).reshape(len(part), -1).all(axis=1)))
                raise InputError(f"{name}: row {row} has NaN or infinite pixels; remove or repair such rows")
            low, high = min(low, part.min()), max(high, part.max())
            advance(len(part))
    if low < 0 or high > 255:
        raise InputError(f"{name}: pixels run from {low:g} to {high:g}, expected 0..255 or 0..1; undo their scaling")
    return 1 if images.dtype.kind == "f" and high <= 1 else 255


def check_labels(labels, name, rows):
    """Return (class ids int32 [N], K or None) from (N,), (N, 1) or one-hot (N, K) labels.

    K is known from one-hot labels alone. `rows` is the images' count N. Only the form is checked here; `check_classes`
    checks the ids as a set.
    """
    if labels.dtype.kind not in "uifb":
        raise InputError(f"{name}: dtype is {labels.dtype}, expected whole class numbers 0, 1, 2, …")
    if labels.ndim not in (1, 2) or 0 in labels.shape:
        raise InputError(f"{name}: shape is {labels.shape}, expected (N,), (N, 1) or one-hot (N, K)")
    if len(labels) != rows:
        raise InputError(f"{name}: {len(labels)} labels for {rows} images; expected one label an image, in order")
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] > 1:
        if not (np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()):
            raise InputError(f"{name}: shape {labels.shape} is not one-hot: expected a single 1 in each row, else 0")
        return labels.argmax(axis=1).astype(np.int32), labels.shape[1]
    labels = labels.reshape(-1)
    if labels.dtype.kind == "f" and not (np.isfinite(labels).all() and (labels == np.floor(labels)).all()):
        raise InputError(f"{name}: holds fractional or non-finite labels, expected whole class numbers 0, 1, 2, …")
    if labels.min() < 0:
        raise InputError(f"{name}: the smallest label is {labels.min():g}, expected class numbers from 0 up")
    if labels.max() >= 2**31:
        raise InputError(f"{name}: the largest label is {labels.max():g}, expected class numbers 0, 1, 2, …")
    return labels.astype(np.int32), None


def check_classes(labels, classes, name):
    """Check that the ids are 0 .. K-1 without a gap, K >= 2; return K. `classes` is K where one-hot labels said it."""
    present = np.unique(labels)
    classes = classes or int(present[-1]) + 1
    if len(present) == classes == 1:
        raise InputError(f"{name}: a single class (every label is 0), expected at least two")
    if len(present) != classes:
        missing = int(np.argmin(np.isin(np.arange(len(present) + 1), present)))
        raise InputError(
            f"{name}: {classes} classes, 0 to {classes - 1}, but no label is {missing}; "
            f"number the classes 0 to {len(present) - 1} without a gap"
        )
    return classes


def split_dev(dataset, kind, fraction):
    """Return (training rows, dev rows), sorted int64 arrays.

    Args:
        dataset: Dataset.
        kind: "first" (the first floor(N * fraction) rows) or "stratified" (by class, seeded with SPLIT_SEED).
        fraction: 0 <= fraction < 1; 0 leaves no dev rows.
    """
    labels, rows = dataset.y_train, len(dataset.y_train)
    if not 0 <= fraction < 1:
        raise InputError(f"--dev_fraction: found {fraction:g}, expected a number from 0 to below 1")
    count = int(rows * fraction)
    if fraction == 0:
        dev = np.arange(0)
    elif count == 0:
        raise InputError(f"--dev_fraction: {fraction:g} of {rows} rows leaves the dev split empty; ask for more, or 0")
    elif kind == "first":
        dev = np.arange(count)
    else:
        dev = _stratified(labels, dataset.classes, count)
    train = np.setdiff1d(np.arange(rows), dev)
    absent = sorted(set(range(dataset.classes)) - set(labels[train].tolist()))
    if absent:
        raise InputError(
            f"{dataset.file('y_train')}: too few rows to split: class {dataset.class_names[absent[0]]} has none among "
            f"the {len(train)} training rows; lower --dev_fraction ({fraction:g}) or use --dev_split=stratified"
        )
    return train, dev


def _stratified(labels, classes, count):
    """Return `count` sorted rows in which each class has its share of all rows."""
    from sklearn.model_selection import train_test_split

    smallest = np.bincount(labels, minlength=classes).min()
    if smallest < 2 or count < classes or len(labels) - count < classes:
        raise InputError(
            f"--dev_fraction: too few rows to split: {count} dev and {len(labels) - count} training rows for {classes} "
            f"classes, the smallest with {smallest}; expected at least 2 rows a class and one in each part"
        )
    _, dev = train_test_split(np.arange(len(labels)), test_size=count, random_state=SPLIT_SEED, stratify=labels)
    return np.sort(dev)
