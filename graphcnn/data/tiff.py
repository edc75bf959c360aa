"""Checks of a TIFF file before Pillow reads and decodes it.

A TIFF file has directories of tags. A tag names its values by their place in the file, and so do the tags for the
pixels, which are stored in strips or tiles. So a small file can name the same bytes thousands of times.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from graphcnn.common.errors import InputError

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

STARTS = (b"II*\0", b"MM\0*")
OTHER_STARTS = (b"II+\0", b"MM\0+", b"II\0*", b"MM*\0")  # BigTIFF, and damaged headers that Pillow accepts
MAX_VALUES = 100_000  # of a tag with numbers, such as the places of the strips
BYTE_TYPES = (1, 2, 6, 7)
VALUE_BYTES = {**dict.fromkeys(BYTE_TYPES, 1), 3: 2, 8: 2, 4: 4, 9: 4, 11: 4, 13: 4}  # {type: bytes}; other types: 8
SUBDIRECTORIES = (34665, 34853, 40965)  # tags with the places of the directories for Exif, GPS and interoperability
MAX_BANDS = 8  # each may have its own strips


class Entry(NamedTuple):
    """An entry of a directory: a tag, the type and the number of its values, and the only value or their place."""

    tag: int
    kind: int
    values: int
    value: int


def check_directories(content: bytes) -> None:
    """Refuse a TIFF file whose first directory, or a directory that it names, is too large; accept other formats.

    Args:
        content: the bytes of an image file.

    Raises:
        InputError: a tag has too many values, or the values of all tags are longer than the file.
        struct.error: a directory is not inside the file.
    """
    if content.startswith(OTHER_STARTS):
        raise InputError("is a BigTIFF file, or its header is damaged; save it as a PNG file")
    if not content.startswith(STARTS):
        return
    order = "<" if content.startswith(b"II") else ">"
    entries = _entries(content, order, struct.unpack_from(f"{order}I", content, 4)[0])
    for place in [entry.value for entry in entries if entry.tag in SUBDIRECTORIES]:
        entries += _entries(content, order, place)
    for entry in entries:
        if entry.kind not in BYTE_TYPES and entry.values > MAX_VALUES:
            raise InputError(f"tag {entry.tag} has {entry.values:,} values, expected at most {MAX_VALUES:,}")
    if sum(entry.values * VALUE_BYTES.get(entry.kind, 8) for entry in entries) > len(content):
        raise InputError("its tags declare more bytes than the file has; save it again without metadata")


def check_pixels(image: ImageFile) -> None:
    """Refuse an open TIFF image whose strips or tiles overlap."""
    boxes = [part.extents for part in image.tile if part.extents]
    area = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes)
    if area > MAX_BANDS * image.width * image.height:
        raise InputError("its strips or tiles overlap; save it again")


def _entries(content: bytes, order: str, place: int) -> list[Entry]:
    """Return the entries of the directory at a place; `order` is the sign of the byte order for struct."""
    (count,) = struct.unpack_from(f"{order}H", content, place)
    return [Entry(*struct.unpack_from(f"{order}HHII", content, place + 2 + 12 * n)) for n in range(count)]
