"""Images as data: URIs of limited size, for pages that need no other files. H x W pixels."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from graphcnn.common.errors import BadImage
from graphcnn.common.progress import say
from graphcnn.data.images import read_image
from graphcnn.evaluation.pictures import reduced

EXAMPLE_PIXELS = 192  # largest number of pixels of an example's longer edge
PICTURE_PIXELS = 1600  # the same for a picture
EXAMPLE_BYTES, PICTURE_BYTES = 24 << 10, 400 << 10  # largest sizes of their files
QUALITY = 85  # of a JPEG


def example_uri(pixels: np.ndarray) -> str:
    """Return an image of a data set, uint8 [H, W, 3], as a data: URI. A large image is reduced."""
    return _uri(pixels, EXAMPLE_PIXELS, EXAMPLE_BYTES)


def picture_uri(path: Path) -> str | None:
    """Return a picture file of a run as a data: URI; None if it is missing, or damaged, which a line tells."""
    if not path.exists():
        return None
    try:
        return _uri(read_image(path), PICTURE_PIXELS, PICTURE_BYTES)
    except BadImage as error:
        say(f"the picture is left out: {error}")
        return None


def _uri(pixels: np.ndarray, longest: int, most_bytes: int) -> str:
    """Return pixels uint8 [H, W, 3] as the data: URI of a PNG, or of a JPEG if a PNG has too many bytes.

    Args:
        pixels: the image.
        longest: largest number of pixels of its longer edge. If a JPEG has too many bytes too, it is halved.
        most_bytes: largest number of bytes of the file.
    """
    picture = Image.fromarray(reduced(pixels, longest))
    options: dict[str, dict[str, Any]] = {"png": {"optimize": True}, "jpeg": {"quality": QUALITY}}
    for kind, chosen in options.items():
        content = io.BytesIO()
        picture.save(content, kind, **chosen)
        if content.tell() <= most_bytes:
            return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
    return _uri(pixels, longest // 2, most_bytes)
