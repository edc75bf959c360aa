"""Image files as pixels: PNG, JPEG, BMP, GIF and WebP through Pillow, with a bound on their size."""

import warnings
from pathlib import Path

import numpy as np

from graphcnn.errors import InputError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
MAX_PIXELS = 64_000_000  # refuse larger ones before decoding: 192 MB as RGB


def read_image(path, shape):
    """Return the picture as uint8 RGB [H, W, 3], turned upright by its EXIF tag and resized bilinearly.

    Args:
        path: an image file; only its first frame is read.
        shape: (H, W) wanted.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise InputError(
                        f"{path}: {image.width}x{image.height} pixels, expected at most {MAX_PIXELS}; make it smaller"
                    )
                if image.mode.startswith("I"):  # 16-bit grey: Pillow would clip it at 255 instead of scaling it
                    image = Image.fromarray((np.asarray(image) // 257).clip(0, 255).astype(np.uint8))
                image = ImageOps.exif_transpose(image).convert("RGB")
                return np.asarray(image.resize((shape[1], shape[0]), Image.Resampling.BILINEAR))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, expected an image file") from None
    except (UnidentifiedImageError, Image.DecompressionBombError):
        raise InputError(f"{path}: not an image, expected one of {', '.join(FORMATS)}") from None
    except PermissionError:
        raise InputError(f"{path}: cannot be read (permission denied)") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise InputError(f"{path}: the image is truncated or damaged ({error}); save or copy it again") from None
