"""Image files as pixels: PNG, JPEG, BMP, GIF and WebP through Pillow, with a bound on their size."""

import warnings
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from graphcnn.common.errors import InputError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
MAX_PIXELS = 64_000_000  # refuse larger ones before decoding: 192 MB as RGB


def read_image(path, shape=None, formats=FORMATS):
    """Return the picture as uint8 RGB [H, W, 3], turned upright by its EXIF tag and resized bilinearly.

    Args:
        path: an image file; only its first frame is read. Transparency is dropped.
        shape: (H, W) wanted, None for its own.
        formats: Pillow's names of the formats allowed.
    """
    from PIL import Image, UnidentifiedImageError

    path = Path(path)
    try:
        with Image.open(path, formats=formats) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            image.load()
            image = _upright(image)
            if image.mode.startswith("I"):  # 16-bit grey: Pillow would clip it at 255 instead of scaling it
                image = Image.fromarray((np.asarray(image) // 257).clip(0, 255).astype(np.uint8))
            image = image.convert("RGB")
            return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BILINEAR) if shape else image)
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
    except Exception as error:  # each of Pillow's decoders fails in ways of its own
        reason = str(error) or type(error).__name__
        raise InputError(f"{path}: the image is truncated or damaged ({reason}); save or copy it again") from None


def _upright(image):
    """Return the image turned by its EXIF tag, or as it is where the tags are damaged and its pixels are not."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


@contextmanager
def suppress_warnings():
    """Keep Pillow's warnings of odd files off stderr; around all threads that read images, not in each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield
