"""Checks of images that all data sources share.

N images, H x W pixels, C channels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.progress import bar
from graphcnn.data.batches import chunk_size

MAX_SIDE = 1 << 13  # maximum height and width of an image, in pixels
MAX_AREA = 1 << 24  # maximum height times width


def is_image_shape(height: int, width: int) -> bool:
    """Return whether images have at least one pixel and are not so large that they exhaust the memory."""
    return 0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE and height * width <= MAX_AREA


def check_images(images: np.ndarray, name: str | Path) -> int:
    """Check rank, channels, size, dtype and values of images; return the upper end of their range, 255 or 1.

    Integer pixels are 0..255. Floating-point pixels are 0..1 if none is above 1, else 0..255.

    Args:
        images: the array to check.
        name: the file or array, for messages.

    Raises:
        InputError: the array does not hold images.
    """
    check_form(images, name)
    if images.dtype == np.uint8:
        return 255
    low, high = _range(images, name)
    if low < 0 or high > 255:
        raise InputError(f"{name}: pixels are {low:g}..{high:g}, expected 0..255 or 0..1; scale them to such a range")
    return 1 if images.dtype.kind == "f" and high <= 1 else 255


def check_form(images: np.ndarray, name: str | Path) -> None:
    """Check rank, channels, size and dtype of images, without reading their values.

    Raises:
        InputError: the array cannot hold images.
    """
    if images.dtype.kind not in "uif":
        raise InputError(f"{name}: dtype is {images.dtype}, expected uint8 or float pixels")
    if images.ndim not in (3, 4):
        raise InputError(f"{name}: shape is {images.shape}, expected (N, H, W, 3), (N, H, W, 1) or (N, H, W)")
    if images.ndim == 4 and images.shape[3] not in (1, 3):
        if images.shape[1] in (1, 3):
            raise InputError(
                f"{name}: shape {images.shape} has its channels first, expected (N, H, W, C); "
                "transpose the array with x.transpose(0, 2, 3, 1)"
            )
        raise InputError(f"{name}: shape is {images.shape}, expected 1 or 3 channels last")
    if 0 in images.shape:
        raise InputError(f"{name}: shape is {images.shape}, expected at least one image and one pixel")
    if not is_image_shape(*images.shape[1:3]):
        raise InputError(
            f"{name}: images are {images.shape[1]}x{images.shape[2]}, expected at most {MAX_SIDE} pixels in each "
            f"direction and {MAX_AREA} in all; make them smaller"
        )


def _range(images: np.ndarray, name: str | Path) -> tuple[float, float]:
    """Return (smallest, largest) pixel value; refuse NaN and infinite pixels."""
    low, high = np.inf, -np.inf
    size = chunk_size(images.shape[1:3])
    with bar("checking pixels", len(images)) as advance:
        for start in range(0, len(images), size):
            chunk = images[start : start + size]
            if not np.isfinite(chunk).all():
                row = int(start + np.argmin(np.isfinite(chunk).reshape(len(chunk), -1).all(axis=1)))
                raise InputError(f"{name}: image {row} has NaN or infinite pixels; remove or repair such images")
            low, high = min(low, chunk.min()), max(high, chunk.max())
            advance(len(chunk))
    return low, high


def check_compatible(images: np.ndarray, name: str | Path, image_shape: tuple[int, ...], pixel_max: int) -> None:
    """Check images like check_images, and check that their size and range are those of the training images.

    Args:
        images: the array to check.
        name: the file or array, for messages.
        image_shape: (H, W) of the training images.
        pixel_max: upper end of the range of the training images, 255 or 1.

    Raises:
        InputError: the array does not hold images, or they differ from the training images in size or range.
    """
    images_max = check_images(images, name)
    if tuple(images.shape[1:3]) != tuple(image_shape):
        raise InputError(
            f"{name}: images are {images.shape[1]}x{images.shape[2]}, expected {image_shape[0]}x{image_shape[1]} "
            "like the training images; resize them"
        )
    black = images_max < pixel_max and not images.any()  # fits either range
    if images_max != pixel_max and not black:
        raise InputError(
            f"{name}: pixels are 0..{images_max}, expected 0..{pixel_max} like the training images; rescale them"
        )
