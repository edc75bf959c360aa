"""Statistics of the training images: mean and standard deviation of each channel, and whitening filters."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from graphcnn.data import batches


def channel_statistics(
    images: np.ndarray, rows: np.ndarray, advance: Callable[[int], None] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return (mean, standard deviation), each float32 [3], over all pixels of the given rows.

    The sums are float64 and are computed chunk by chunk, so that no large array is copied. A constant channel gets the
    standard deviation 1.

    Args:
        images: [M, H, W], [M, H, W, 1] or [M, H, W, 3].
        rows: indices of the images to use, int [N].
        advance: called with the number of images after each chunk, for a progress bar.
    """
    count, total, squares = 0, np.zeros(3), np.zeros(3)
    for chunk in batches.in_order(rows, batches.chunk_size(images.shape[1:3])):
        pixels = batches.as_rgb(images[chunk]).reshape(-1, 3).astype(np.float64)
        count += len(pixels)
        total += pixels.sum(axis=0)
        squares += np.square(pixels).sum(axis=0)
        if advance:
            advance(len(chunk))
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    deviation[deviation < 1e-6 * np.maximum(np.abs(mean), 1e-6)] = 1
    return mean.astype(np.float32), deviation.astype(np.float32)


def whitening_filters(chunks: Iterable[np.ndarray], patch_size: int, epsilon: float = 5e-4) -> np.ndarray:
    """Return convolution filters [P, P, C, 2 * P * P * C] that whiten the patches of images, P = patch_size.

    The filters are the eigenvectors of the second moments of the patches, largest eigenvalue first. Each is divided by
    the root of its eigenvalue + epsilon. The negated filters follow them, so that a ReLU loses no information (arXiv
    2404.00498, section 3.1). If the patches do not vary in a direction (for example between the equal channels of grey
    images), its filter is replaced by one of the other filters: its own output would be rounding errors, and a filter
    of zeros would give batch norm a channel without variance.

    Args:
        chunks: the images, an iterable of float arrays [n, H, W, C].
        patch_size: height and width of a patch, in pixels.
        epsilon: added to each eigenvalue.
    """
    moments, count = 0.0, 0
    for images in chunks:
        length = patch_size * patch_size * images.shape[3]
        patches = np.lib.stride_tricks.sliding_window_view(
            images, (patch_size, patch_size), (1, 2)
        )  # [n, h, w, C, P, P]
        patches = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, length)
        moments += (patches.T @ patches).astype(np.float64)
        count += len(patches)
    values, vectors = np.linalg.eigh(moments / count)
    filters = (vectors / np.sqrt(np.maximum(values, 0) + epsilon))[:, ::-1]
    filters = filters[:, np.arange(length) % max(1, np.sum(values > 1e-6))]
    filters = np.concatenate([filters, -filters], axis=1)
    return filters.reshape(patch_size, patch_size, -1, 2 * length).astype(np.float32)
