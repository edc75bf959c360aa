"""scikit-learn's 1,797 handwritten digits (UCI, 8x8, 17 grey levels) as 32x32x3. They need no download."""

from __future__ import annotations

import hashlib

import numpy as np

from graphcnn.data.dataset import Dataset
from graphcnn.data.fingerprint import fingerprint

SIZE = 32  # height and width of the images, in pixels
TEST_EVERY = 5  # images 0, 5, 10, … are the test split: 360 images; 1,437 remain for training and dev


def load(test: bool) -> Dataset:
    """Return the Dataset "digits": uint8 [N, 32, 32, 3], 0..255, enlarged bilinearly.

    Args:
        test: whether the test split is included.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    enlarge = _bilinear(8, SIZE)
    grey = enlarge @ (digits.images * (255 / 16)) @ enlarge.T
    images = np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=3)
    labels = digits.target.astype(np.int32)
    held_out = np.arange(len(labels)) % TEST_EVERY == 0
    x_train, y_train = images[~held_out], labels[~held_out]
    class_names = tuple(map(str, digits.target_names))
    content = hashlib.sha256(x_train.tobytes() + y_train.tobytes()).hexdigest()
    return Dataset(
        source="digits",
        x_train=x_train,
        y_train=y_train,
        class_names=class_names,
        pixel_max=255,
        has_test_labels=True,
        fingerprint=fingerprint(content, (x_train.nbytes, y_train.nbytes), x_train, class_names),
        dev_split="stratified",
        x_test=images[held_out] if test else None,
        y_test=labels[held_out] if test else None,
    )


def _bilinear(old: int, new: int) -> np.ndarray:
    """Return the float64 matrix [new, old] that interpolates linearly between pixel centres and repeats the edges."""
    centres = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.maximum(1 - np.abs(centres[:, None] - np.arange(old)), 0)
