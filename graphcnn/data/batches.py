"""Batches as slices of row indices, prefetching, and images as float32 RGB.

N images, H x W pixels, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

Item = TypeVar("Item")


def shuffled(rows: np.ndarray, batch_size: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield slices of a permutation of `rows`. The last slice may be shorter.

    Args:
        rows: int array [N] of row indices.
        batch_size: rows in a slice.
        generator: the source of the permutation, e.g. default_rng([seed, epoch]).
    """
    yield from in_order(generator.permutation(rows), batch_size)


def balanced(rows: np.ndarray, labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return N row indices in random order, in which the numbers of the classes differ by at most 1.

    The rows of a class occur equally often, except for a difference of at most 1.

    Args:
        rows: int array [N] of row indices.
        labels: class ids of these rows, int [N].
        generator: the source of the order.
    """
    classes = np.unique(labels)
    counts = np.full(len(classes), len(rows) // len(classes))
    counts[generator.permutation(len(classes))[: len(rows) % len(classes)]] += 1
    drawn = []
    for k, count in zip(classes, counts, strict=True):
        own = rows[labels == k]
        rounds = [generator.permutation(own) for _ in range(-(-count // len(own)))]
        drawn.append(np.concatenate([own[:0], *rounds])[:count])
    return generator.permutation(np.concatenate(drawn))


def in_order(rows: np.ndarray | list, batch_size: int) -> Iterator:
    """Yield consecutive slices of `rows`. The last slice may be shorter."""
    for start in range(0, len(rows), batch_size):
        yield rows[start : start + batch_size]


def micro_batches(rows: np.ndarray, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index of the first row, slice of `rows`) for consecutive slices of `size` rows.

    Args:
        rows: int array [N], the rows of one batch.
        size: rows in a slice; 0 yields all rows as one slice.
    """
    first = 0
    for batch in in_order(rows, size or len(rows)):
        yield first, batch
        first += len(batch)


def prefetch(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the items of an iterator; a second thread makes the next item while the caller uses the current one."""
    end: Any = object()
    with ThreadPoolExecutor(1) as thread:
        upcoming = thread.submit(next, items, end)
        while (item := upcoming.result()) is not end:
            upcoming = thread.submit(next, items, end)
            yield item


def chunk_size(image_shape: tuple[int, ...], most: int = 256) -> int:
    """Return how many images of (H, W) to process together: at most `most`, and at most about a million pixels."""
    return max(1, min(most, (1 << 20) // (image_shape[0] * image_shape[1])))


def as_rgb(images: np.ndarray) -> np.ndarray:
    """Return images as float32 [N, H, W, 3] in the same units. Grey images get three equal channels.

    Args:
        images: [N, H, W], [N, H, W, 1] or [N, H, W, 3], of any real dtype.
    """
    images = np.asarray(images, np.float32)
    if images.ndim == 3:
        images = images[..., None]
    return images if images.shape[3] == 3 else np.repeat(images, 3, axis=3)
