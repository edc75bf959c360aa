"""What the export formats share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

ENDINGS = {"savedmodel": "", "tflite": ".tflite", "npz": ".npz"}  # {format: ending of its file; "" for a folder}
BATCH = 32  # images that a runtime computes at once


def in_batches(compute: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    """Return compute(batch) of consecutive batches of the images, as one array."""
    return np.concatenate([compute(batch) for batch in _batches(images)])


def _batches(images: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(images), BATCH):
        yield images[start : start + BATCH]
