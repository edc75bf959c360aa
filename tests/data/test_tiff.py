"""TIFF files: unusual ones load, and those that would take much time or memory are refused."""

import struct

import numpy as np
import pytest
from conftest import one_line
from PIL import Image
from test_image_limits import PIXELS, encoded

from graphcnn.common.errors import BadImage
from graphcnn.data import images

RGB = Image.fromarray(PIXELS)
GREY = PIXELS[..., 0]
PLACE = 8 + 2 + 9 * 12 + 4  # of the values behind a directory of nine tags


def read(content, tmp_path):
    (tmp_path / "image.tif").write_bytes(content)
    with images.suppress_warnings():
        return images.read_image(tmp_path / "image.tif")


def directory(tags, values=b""):
    """Return a TIFF file with {tag: (type, number of values, value)} and the bytes behind its directory."""
    entries = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + values


def strips(width, height, rows, count):
    """Return a grey TIFF file with `count` strips of `rows` rows, which are all at one place."""
    size = {256: (4, 1, width), 257: (4, 1, height), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 277: (3, 1, 1)}
    places = {273: (4, count, PLACE), 278: (4, 1, rows), 279: (4, count, PLACE)}
    return directory(size | places, struct.pack("<I", PLACE) * 3 * count)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "1", "CMYK", "YCbCr"])
def test_modes(mode, tmp_path):
    image = RGB.convert(mode)
    expected = image.convert("RGB") if mode not in ("RGBA", "LA") else image.convert(mode[:-1]).convert("RGB")
    assert np.array_equal(read(encoded(image, "TIFF"), tmp_path), expected)


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_grey_is_scaled(order, tmp_path):
    values = GREY.astype(np.uint16) * 257
    image = (
        Image.fromarray(values) if order == "<" else Image.frombytes("I;16B", (12, 9), values.astype(">u2").tobytes())
    )
    assert np.array_equal(read(encoded(image, "TIFF"), tmp_path), np.repeat(GREY[..., None], 3, 2))


def test_only_the_first_page_is_read(tmp_path):
    pages = encoded(RGB, "TIFF", save_all=True, append_images=[Image.new("RGB", (3, 3))])
    assert np.array_equal(read(pages, tmp_path), PIXELS)


def test_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert np.array_equal(read(encoded(RGB, "TIFF", exif=exif), tmp_path), np.rot90(PIXELS, -1))


REFUSED = {
    "BigTIFF": (lambda: encoded(RGB, "TIFF", big_tiff=True), "is a BigTIFF file"),
    "cut": (lambda: encoded(RGB, "TIFF")[:200], "truncated or damaged"),
    "a directory behind the end": (lambda: b"II*\0" + struct.pack("<I", 1 << 30), "truncated or damaged"),
    "a large image": (lambda: strips(9000, 9000, 9000, 1), "too many pixels"),
    "many strips": (lambda: strips(1, 10**6, 1, 10**6), "tag 273 has 1,000,000 values, expected at most 100,000"),
    "overlapping strips": (lambda: strips(600, 600, 599, 99_999), "strips or tiles overlap"),
    "many samples": (lambda: directory({256: (4, 1, 1), 257: (4, 1, 1), 277: (3, 1, 65000)}), "not an image"),
    "tags that share their values": (
        lambda: directory({30_000 + n: (7, 400_000, 70_000) for n in range(5_000)}, bytes(500_000)),
        "its tags declare more bytes than the file has",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case, tmp_path, capfd):
    make, words = REFUSED[case]
    with pytest.raises(BadImage, match=words) as caught:
        read(make(), tmp_path)
    assert one_line(f"{caught.value}\n")
    assert capfd.readouterr() == ("", "")  # Pillow's log is silent
