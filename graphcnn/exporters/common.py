"""Functions that several export formats use."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

ENDINGS = {"savedmodel": "", "tflite": ".tflite", "npz": ".npz"}  # {format: ending of the file name; "" for a folder}
SIGNATURE = "serving_default"
BATCH = 32  # number of images in a batch


def in_batches(compute: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    """Call compute(batch) for consecutive batches of the images; return the results as one array."""
    return np.concatenate([compute(batch) for batch in _batches(images)])


def _batches(images: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(images), BATCH):
        yield images[start : start + BATCH]
