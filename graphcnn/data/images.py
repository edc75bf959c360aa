"""Read image files with Pillow, with limits on pixels, bytes, parts and scans."""

from __future__ import annotations

import io
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graphcnn.common.errors import BadImage, InputError
from graphcnn.common.files import named, open_regular
from graphcnn.data import tiff

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")  # of image files; in any case
MAX_PIXELS = 64_000_000  # 192 MB as RGB; larger images are refused before they are decoded
LARGE_PIXELS = 1 << 23  # larger images are decoded one at a time, which bounds the memory of several threads
MAX_BYTES = 256 << 20  # maximum size of a file
HEADER_READS = 10_000  # limit for reads before the first pixel: a read for each part, or each byte of a JPEG's padding
READS = 500_000  # limit for reads while the pixels are decoded, such as the chunks of a PNG or the runs of a BMP
MAX_SCANS = 1_000  # of a JPEG; a progressive one commonly has about 10
SCANNED_PIXELS = 12 * MAX_PIXELS  # limit for pixels times scans of a JPEG: the decoder visits all pixels in each scan
MAX_SEGMENTS = 100_000  # of a JPEG
JPEG_START, SCAN, END, SINGLE = b"\xff\xd8", 0xDA, 0xD9, 0x01  # codes of markers; no length follows SINGLE
MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")  # not FF00 and FFD0 to FFD7, which occur inside a scan


_large = threading.Lock()


class _CountedReads(io.BytesIO):
    """A file in memory that refuses to be read more than `left` times."""

    left = HEADER_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the next bytes."""
        self.left -= 1
        if self.left < 0:
            raise InputError("consists of too many small parts; save it again without metadata")
        return super().read(size)


def read_image(path: str | Path, shape: tuple[int, int] | None = None, fit: str = "stretch") -> np.ndarray:
    """Return an image as uint8 RGB [H, W, 3], turned upright by its EXIF tag and resized bilinearly.

    Args:
        path: an image file. Only its first frame is read. Transparency is dropped.
        shape: (H, W) to resize to; None keeps the size of the image.
        fit: how an image of another aspect ratio is brought to `shape`: stretch (the whole image, distorted), crop (the
            largest centred part with the aspect ratio of `shape`) or pad (the whole image between black bars).

    Raises:
        BadImage: the content is damaged, too large, would take too long to decode, or is not of a format in FORMATS.
        InputError: the file is missing or is not a regular file.
        OSError: the file cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    path = Path(path)
    content = _content(path)
    try:
        tiff.check_directories(content)
        file = _CountedReads(content)
        with Image.open(file, formats=FORMATS) as image:
            pixels = image.width * image.height
            if pixels > MAX_PIXELS:
                raise Image.DecompressionBombError
            if content.startswith(JPEG_START):
                _check_scans(content, min(MAX_SCANS, SCANNED_PIXELS // pixels))
            if image.format == "TIFF":
                tiff.check_pixels(image)
            file.left = READS
            with _large if pixels > LARGE_PIXELS else nullcontext():
                image.load()
                return _to_rgb(image, shape, fit)
    except UnidentifiedImageError:
        raise BadImage(path, f"not an image, expected one of {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise BadImage(path, f"too many pixels, expected at most {MAX_PIXELS}; make it smaller") from None
    except InputError as error:
        raise BadImage(path, str(error)) from None
    except Exception as error:  # each of Pillow's decoders raises its own types of errors
        reason = str(error) or type(error).__name__
        raise BadImage(path, f"the image is truncated or damaged ({reason}); save or copy it again") from None


def resize_pixels(pixels: np.ndarray, shape: tuple[int, int], fit: str) -> np.ndarray:
    """Return an image uint8 [h, w, 3] as uint8 [H, W, 3], resized as read_image resizes a file."""
    from PIL import Image

    return _to_rgb(Image.fromarray(pixels), shape, fit)


def file_size(path: Path) -> tuple[int, int]:
    """Return the (height, width) that an image file declares in its header, before it is turned by its EXIF tag.

    Raises:
        BadImage: the file is not an image.
        InputError: the file is not a regular file.
        OSError: the file cannot be read.
    """
    from PIL import Image

    with open_regular(path) as file:
        try:
            with Image.open(file, formats=FORMATS) as image:
                return image.height, image.width
        except Exception as error:  # see read_image
            raise BadImage(path, f"not an image ({type(error).__name__}); save or copy it again") from None


def _content(path: Path) -> bytes:
    """Return the bytes of an image file."""
    try:
        with open_regular(path) as file, named(path):
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder, expected an image file") from None
    if len(content) > MAX_BYTES:
        raise BadImage(path, f"has more than {MAX_BYTES >> 20} MiB; make the image smaller")
    return content


def _check_scans(content: bytes, most: int) -> None:
    """Refuse a JPEG with more than `most` scans. Markers are searched in the same way as in the decoder."""
    position, scans = len(JPEG_START), 0
    for _ in range(MAX_SEGMENTS):
        marker = MARKER.search(content, position)
        if marker is None or marker[1][0] == END:
            return
        position = marker.end()
        if marker[1][0] != SINGLE:
            position += int.from_bytes(content[position : position + 2], "big")
        scans += marker[1][0] == SCAN
        if scans > most:
            raise InputError(f"has more than {most} scans, which take too long to decode; save it as a baseline JPEG")
    raise InputError(f"has more than {MAX_SEGMENTS:,} segments; save it again")


def _to_rgb(image: Image, shape: tuple[int, int] | None, fit: str) -> np.ndarray:
    """Return the pixels of a loaded image, uint8 [H, W, 3], upright and resized to `shape` unless it is None."""
    from PIL import Image

    image = _upright(image)
    if image.mode == "F":
        raise InputError("has floating-point pixels; save it with 8 or 16 bits per channel")
    if image.mode.startswith("I"):  # 16-bit grey: Pillow would clip the values at 255 instead of scaling them
        image = Image.fromarray((np.asarray(image) // 257).clip(0, 255).astype(np.uint8))
    image = image.convert("RGB")
    return np.asarray(_resized(image, shape, fit) if shape else image)


def _resized(image: Image, shape: tuple[int, int], fit: str) -> Image:
    """Return an RGB image of the height and width `shape`, resized bilinearly; see read_image."""
    from PIL import Image, ImageOps

    height, width = shape
    if fit == "crop":
        return ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    if fit == "pad":
        if min(width / image.width, height / image.height) * min(image.size) < 1:
            raise InputError(f"is too narrow to be padded to {height}x{width}; crop it, or use --fit=crop")
        return ImageOps.pad(image, (width, height), Image.Resampling.BILINEAR)
    return image.resize((width, height), Image.Resampling.BILINEAR)


def _upright(image: Image) -> Image:
    """Return the image turned by its EXIF tag. An image with damaged tags is not turned."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


@contextmanager
def suppress_warnings() -> Iterator[None]:
    """Suppress Pillow's warnings and log lines about unusual files while the block runs.

    The filters hold for the whole process. So use them around all threads that read images, not inside each thread.
    """
    log = logging.getLogger("PIL")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")
            yield
    finally:
        log.setLevel(level)
