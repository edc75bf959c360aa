"""The images of each split of a Dataset. N images, H x W pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graphcnn.data.batches import chunk_size, in_order
from graphcnn.data.dataset import Dataset


@dataclass(frozen=True)
class SplitImages:
    """The images of a split.

    Attributes:
        name: train, dev or test.
        images: [M, H, W], [M, H, W, 1] or [M, H, W, 3]; may be memory-mapped.
        rows: int64 [N], indices of the split's images in `images`, ascending.
        labels: class ids of these rows, int [N]; None without labels.
        folder: the folder of `file_names`.
        file_names: path of the file of each of the M images; empty if the images are not from image files.
    """

    name: str
    images: np.ndarray
    rows: np.ndarray
    labels: np.ndarray | None
    folder: Path | None = None
    file_names: Sequence[str] = ()

    @property
    def title(self) -> str:
        """Return the name for a sentence: training, dev or test."""
        return "training" if self.name == "train" else self.name

    def image_name(self, row: int) -> str:
        """Return the path of the image's file below the folder, or "row 7" without image files."""
        return self.file_names[row] if self.file_names else f"row {row}"

    def files(self) -> list[Path]:
        """Return the image file of each row; [] without image files."""
        return [self.folder / self.file_names[row] for row in self.rows] if self.folder and self.file_names else []

    def chunks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield (slice of `rows`, images of these rows) for consecutive slices of at most about a million pixels."""
        first = 0
        for rows in in_order(self.rows, chunk_size(self.images.shape[1:3])):
            yield slice(first, first + len(rows)), self.images[rows]
            first += len(rows)


def splits_of(dataset: Dataset, train_rows: np.ndarray, dev_rows: np.ndarray) -> list[SplitImages]:
    """Return the splits of a Dataset that have images, in the order train, dev, test.

    Args:
        dataset: the Dataset; the test split is left out unless it is loaded.
        train_rows, dev_rows: see splits.split_dev.
    """
    folders, names = dataset.files, dataset.file_names
    splits = [
        SplitImages(
            name, dataset.x_train, rows, dataset.y_train[rows], folders.get("x_train"), names.get("x_train", ())
        )
        for name, rows in (("train", train_rows), ("dev", dev_rows))
        if len(rows)
    ]
    if dataset.x_test is not None:
        rows = np.arange(len(dataset.x_test))
        splits.append(
            SplitImages("test", dataset.x_test, rows, dataset.y_test, folders.get("x_test"), names.get("x_test", ()))
        )
    return splits
