"""Batches as slices of row indices, and the rows they name as float32 RGB."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np


def shuffled(rows, batch_size, generator):
    """Yield slices of a permutation of `rows`; each row once, the last slice may be shorter.

    Args:
        rows: int array [N] of row numbers.
        batch_size: rows in a slice.
        generator: np.random.Generator, e.g. default_rng([seed, epoch]).
    """
    yield from in_order(generator.permutation(rows), batch_size)


def in_order(rows, batch_size):
    """Yield consecutive slices of `rows`; the last may be shorter."""
    for start in range(0, len(rows), batch_size):
        yield rows[start : start + batch_size]


def parts(rows, size):
    """Yield (first, slice) for consecutive slices of `size` of the rows, from row `first` on; size 0: all at once."""
    first = 0
    for part in in_order(rows, size or len(rows)):
        yield first, part
        first += len(part)


def ahead(items):
    """Yield the items of a generator, each made in another thread while the one before it is in use."""
    end = object()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, items, end)
            yield item


def rows_at_once(image_shape, most=256):
    """Return how many images of (H, W) to handle together: at most `most`, and at most about a million pixels."""
    return max(1, min(most, (1 << 20) // (image_shape[0] * image_shape[1])))


def as_rgb(images):
    """Return images [N, H, W], [N, H, W, 1] or [N, H, W, 3] of any real dtype as float32 [N, H, W, 3], units kept."""
    images = np.asarray(images, np.float32)
    if images.ndim == 3:
        images = images[..., None]
    return images if images.shape[3] == 3 else np.repeat(images, 3, axis=3)


def channel_statistics(images, rows, advance=None):
    """Return (mean, standard deviation), each float32 [3], over all pixels of the given rows.

    Sums run in float64 over chunks of rows, so nothing large is copied. A constant channel gets deviation 1.
    `advance` is called with the number of images after each chunk, for a progress bar.
    """
    count, total, squares = 0, np.zeros(3), np.zeros(3)
    for part in in_order(rows, rows_at_once(images.shape[1:3])):
        pixels = as_rgb(images[part]).reshape(-1, 3).astype(np.float64)
        count += len(pixels)
        total += pixels.sum(axis=0)
        squares += np.square(pixels).sum(axis=0)
        if advance:
            advance(len(part))
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    deviation[deviation < 1e-6 * np.maximum(np.abs(mean), 1e-6)] = 1
    return mean.astype(np.float32), deviation.astype(np.float32)


def whitening_filters(parts, side, epsilon=5e-4):
    """Return filters [side, side, C, 2 * side * side * C] that whiten the patches of images.

    The eigenvectors of the patches' second moments, each divided by the root of its eigenvalue (+ epsilon), largest
    first, then the same negated, so that a ReLU after them loses nothing (arXiv 2404.00498, section 3.1). Where the
    patches do not vary, as grey images between their channels, the others repeat: it would show rounding errors, and a
    filter of zeros would give batch norm a channel without variance.

    Args:
        parts: the images, an iterable of float arrays [n, H, W, C].
        side: of a patch, in pixels.
    """
    moments, count = 0.0, 0
    for part in parts:
        size = side * side * part.shape[3]
        patches = np.lib.stride_tricks.sliding_window_view(part, (side, side), (1, 2))  # [n, h, w, C, side, side]
        patches = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, size)
        moments += (patches.T @ patches).astype(np.float64)
        count += len(patches)
    values, vectors = np.linalg.eigh(moments / count)
    filters = (vectors / np.sqrt(np.maximum(values, 0) + epsilon))[:, ::-1]
    filters = filters[:, np.arange(size) % max(1, np.sum(values > 1e-6))]
    return np.concatenate([filters, -filters], axis=1).reshape(side, side, -1, 2 * size).astype(np.float32)
