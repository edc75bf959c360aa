"""Images that occur more than once. Two images are identical if the sha256 of their pixels is the same.

N images, H x W pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from graphcnn.common import paths
from graphcnn.common.progress import bar
from graphcnn.data.batches import as_rgb
from graphcnn.data.split_images import SplitImages

MOST_BYTES = 512 << 20  # of the images that `train` compares; 184 MB take 0.3 s of CPU time
DIGEST_BYTES = 32  # of a sha256


class Twin(NamedTuple):
    """An image, and an identical image that comes before it in the order train, dev, test. Rows are those of the file.

    split, row: the image. twin_split, twin_row: the identical image.
    """

    split: str
    row: int
    twin_split: str
    twin_row: int


class Duplicates(NamedTuple):
    """The identical images of a data set.

    across: images of dev or test that are also in a split before; the twin is the first image with these pixels.
    inside: images that are also in the same split; the twin is the first image of this split with these pixels.
    relabelled: images whose first identical image has another label.
    """

    across: list[Twin]
    inside: list[Twin]
    relabelled: list[Twin]


def find_duplicates(splits: Sequence[SplitImages]) -> Duplicates:
    """Return the identical images of the splits, which are in the order train, dev, test.

    Memory: about 200 bytes for each image, and 200 more for each identical image.
    """
    first = _first_rows(_digests(splits))
    split = np.repeat(np.arange(len(splits)), [len(s.rows) for s in splits])
    row = np.concatenate([s.rows for s in splits])
    label = np.concatenate([np.full(len(s.rows), -1) if s.labels is None else s.labels for s in splits])

    def twins(images: np.ndarray, others: np.ndarray) -> list[Twin]:
        columns = np.stack([split[images], row[images], split[others], row[others]], axis=1)
        return [Twin(splits[a].name, b, splits[c].name, d) for a, b, c, d in columns.tolist()]

    across = np.flatnonzero(split > split[first])
    labelled = (label >= 0) & (label[first] >= 0)
    relabelled = np.flatnonzero(labelled & (label != label[first]))
    # In each split, the image before all its twins: pairs (first image of all splits, split) are numbered once
    _, index, inverse = np.unique(first * len(splits) + split, return_index=True, return_inverse=True)
    own_first = index[inverse.ravel()]
    inside = np.flatnonzero(own_first != np.arange(len(first)))
    return Duplicates(
        twins(across, first[across]), twins(inside, own_first[inside]), twins(relabelled, first[relabelled])
    )


def leak_warning(splits: Sequence[SplitImages]) -> str | None:
    """Return a line about images of dev or test that are also training images; None if there are none.

    Splits of more than MOST_BYTES are not compared, and the line is None.
    """
    if sum(s.images[:1].nbytes * len(s.rows) for s in splits) > MOST_BYTES:
        return None
    across = [twin.split for twin in find_duplicates(splits).across if twin.twin_split == "train"]
    counts = [f"{across.count(name):,} {name}" for name in ("dev", "test") if name in across]
    if not counts:
        return None
    return (
        f"warning: {' and '.join(counts)} images are identical to a training image, which makes the scores on these "
        f"splits too high; {paths.PROGRAM} inspect names them"
    )


def _digests(splits: Sequence[SplitImages]) -> np.ndarray:
    """Return the sha256 of the pixels of each image of the splits, uint8 [N, 32].

    Splits whose files have different dtypes or channels are compared as float32 RGB.
    """
    same_form = len({(s.images.dtype, s.images.shape[1:]) for s in splits}) == 1
    count, digests = sum(len(s.rows) for s in splits), bytearray()
    with bar("comparing images", count) as advance:
        for s in splits:
            for _, chunk in s.chunks():
                content = np.ascontiguousarray(chunk if same_form else as_rgb(chunk)).reshape(-1).view(np.uint8).data
                each = len(content) // len(chunk)
                for position in range(0, len(content), each):
                    digests += hashlib.sha256(content[position : position + each]).digest()
                advance(len(chunk))
    return np.frombuffer(digests, np.uint8).reshape(count, DIGEST_BYTES)


def _first_rows(digests: np.ndarray) -> np.ndarray:
    """Return for each row of uint8 [N, 32] the first row that is equal to it, int64 [N]."""
    keys = np.ascontiguousarray(digests).view(np.uint64)  # [N, 4]
    order = np.lexsort(keys.T)  # stable: equal rows stay in their order
    is_new = np.ones(len(keys), bool)
    is_new[1:] = (keys[order[1:]] != keys[order[:-1]]).any(axis=1)
    first = np.empty(len(keys), np.int64)
    first[order] = order[is_new][np.cumsum(is_new) - 1]
    return first
