"""Read image files (PNG, JPEG, BMP, GIF and WebP) with Pillow, up to a maximum number of pixels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graphcnn.common.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
MAX_PIXELS = 64_000_000  # 192 MB as RGB; larger images are refused before they are decoded


def read_image(
    path: str | Path, shape: tuple[int, int] | None = None, formats: tuple[str, ...] = FORMATS
) -> np.ndarray:
    """Return an image as uint8 RGB [H, W, 3], turned upright by its EXIF tag and resized bilinearly.

    Args:
        path: an image file. Only its first frame is read. Transparency is dropped.
        shape: (H, W) to resize to; None keeps the size of the image.
        formats: Pillow's names of the allowed formats.

    Raises:
        InputError: the file is missing, damaged, too large or not an image of an allowed format.
    """
    from PIL import Image, UnidentifiedImageError

    path = Path(path)
    try:
        with Image.open(path, formats=formats) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            image.load()
            return _to_rgb(image, shape)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, expected an image file") from None
    except UnidentifiedImageError:
        raise InputError(f"{path}: not an image, expected one of {', '.join(formats)}") from None
    except Image.DecompressionBombError:
        raise InputError(f"{path}: too many pixels, expected at most {MAX_PIXELS}; make it smaller") from None
    except PermissionError:
        raise InputError(f"{path}: cannot be read (permission denied)") from None
    except Exception as error:  # each of Pillow's decoders raises its own types of errors
        reason = str(error) or type(error).__name__
        raise InputError(f"{path}: the image is truncated or damaged ({reason}); save or copy it again") from None


def _to_rgb(image: Image, shape: tuple[int, int] | None) -> np.ndarray:
    """Return the pixels of a loaded image, uint8 [H, W, 3], upright and resized to `shape` unless it is None."""
    from PIL import Image

    image = _upright(image)
    if image.mode.startswith("I"):  # 16-bit grey: Pillow would clip the values at 255 instead of scaling them
        image = Image.fromarray((np.asarray(image) // 257).clip(0, 255).astype(np.uint8))
    image = image.convert("RGB")
    return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BILINEAR) if shape else image)


def _upright(image: Image) -> Image:
    """Return the image turned by its EXIF tag. An image with damaged tags is not turned."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


@contextmanager
def suppress_warnings() -> Iterator[None]:
    """Suppress Pillow's warnings about unusual files while the block runs.

    The filter holds for the whole process. So use it around all threads that read images, not inside each thread.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield
