"""Numbers that describe the images of a split: images of each class, pixel range, mean images, sizes of the files.

N images, H x W pixels, C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from graphcnn.common.progress import bar
from graphcnn.data.batches import as_rgb
from graphcnn.data.images import file_size, suppress_warnings
from graphcnn.data.split_images import SplitImages

MOST_FILES = 20_000  # image files whose sizes are read; more would take longer than some seconds
MEAN_SIDE = 128  # pixels of a mean image in each direction; of larger images, only some pixels are used


class SplitSummary(NamedTuple):
    """The numbers of a split.

    counts: images of each class, K numbers; None without labels. low, high: smallest and largest value of a pixel.
    """

    name: str
    images: int
    counts: list[int] | None
    low: float
    high: float

    @property
    def classes(self) -> int | None:
        """Number of classes with an image; None without labels."""
        return None if self.counts is None else sum(count > 0 for count in self.counts)

    @property
    def largest_to_smallest(self) -> float | None:
        """Images of the largest class divided by those of the smallest; None without labels or if one is empty."""
        return max(self.counts) / min(self.counts) if self.counts and min(self.counts) else None


class FileSizes(NamedTuple):
    """The sizes of image files in pixels, as (smallest, median, largest).

    smaller: files whose width or height is smaller than the images of the Dataset, so that they are enlarged.
    """

    files: int
    width: tuple[int, int, int]
    height: tuple[int, int, int]
    smaller: int


def summary(split: SplitImages, classes: int) -> SplitSummary:
    """Return the numbers of a split; classes: K."""
    low, high = np.inf, -np.inf
    with bar("reading pixels", len(split.rows)) as advance:
        for _, chunk in split.chunks():
            low, high = min(low, chunk.min()), max(high, chunk.max())
            advance(len(chunk))
    counts = None if split.labels is None else np.bincount(split.labels, minlength=classes).tolist()
    return SplitSummary(split.name, len(split.rows), counts, float(low), float(high))


def mean_images(split: SplitImages, classes: Sequence[int]) -> np.ndarray:
    """Return the mean of all images, then the mean of the images of each given class, float64 [1 + classes, h, w, 3].

    Args:
        split: a split with labels. Each of the classes has an image in it.
        classes: class ids.
    """
    assert split.labels is not None
    step = -(-max(split.images.shape[1:3]) // MEAN_SIDE)
    shape = split.images[:1, ::step, ::step].shape[1:3]
    sums, counts = np.zeros((1 + len(classes), *shape, 3)), np.zeros(1 + len(classes))
    with bar("averaging images", len(split.rows)) as advance:
        for part, chunk in split.chunks():
            is_class = split.labels[part] == np.array(classes, int)[:, None]
            weights = np.concatenate([np.ones((1, len(chunk))), is_class]).astype(np.float32)  # [1 + classes, n]
            pixels = as_rgb(chunk[:, ::step, ::step])
            sums += np.tensordot(weights, pixels, 1)
            counts += weights.sum(axis=1)
            advance(len(chunk))
    return sums / counts[:, None, None, None]


def file_sizes(files: Sequence[Path], image_shape: tuple[int, int]) -> FileSizes | None:
    """Return the sizes of image files; None if there are none or more than MOST_FILES. Only headers are read.

    Args:
        files: the image files.
        image_shape: (H, W) of the images in the Dataset.

    Raises:
        BadImage: a file was changed after it was loaded, and is not an image.
    """
    if not 0 < len(files) <= MOST_FILES:
        return None
    sizes = np.empty((len(files), 2), int)
    with bar("reading headers", len(files)) as advance, suppress_warnings():
        for n, path in enumerate(files):
            sizes[n] = file_size(path)
            advance(1)
    height, width = ((int(s.min()), int(np.median(s)), int(s.max())) for s in sizes.T)
    return FileSizes(len(files), width, height, int((sizes < image_shape).any(axis=1).sum()))
