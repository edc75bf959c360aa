"""Images that would take long to decode are refused at once; unusual honest images load."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from conftest import one_line
from PIL import Image

from graphcnn.common.errors import InputError
from graphcnn.data import folder as folder_of_images
from graphcnn.data import images
from graphcnn.data.image_cache import Decoding

SECONDS = 8  # time limit for one image, on a busy machine


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


PIXELS = np.random.default_rng(1).integers(0, 256, (9, 12, 3), np.uint8)
PNG, JPEG = encoded(Image.fromarray(PIXELS), "PNG"), encoded(Image.fromarray(PIXELS), "JPEG")
GIF = encoded(Image.fromarray(PIXELS), "GIF")
GIF_TABLE = 13 + 3 * (2 << (GIF[10] & 7))  # the end of its colours


def repeated_scans(side, times, between=b""):
    """Return a progressive JPEG whose last scan is repeated."""
    whole = encoded(Image.new("RGB", (side, side), (9, 99, 200)), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + (between + last) * times + whole[-2:]


def chunk(name, content=b""):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def rle(runs):
    """Return a BMP of 8000x8000 pixels in run-length encoding."""
    head = struct.pack("<IiiHHIIiiII", 40, 8000, 8000, 1, 8, 1, 0, 0, 0, 256, 256)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + 1024) + head + bytes(1024) + b"\0\2\0\0" * runs


COSTLY = {
    "a JPEG of 200 kB with 6,000 scans": (lambda: repeated_scans(4000, 6000), "has more than 48 scans"),
    "scans behind fill bytes": (lambda: repeated_scans(4000, 100, b"\xff" * 9), "has more than 48 scans"),
    "scans behind garbage": (lambda: repeated_scans(4000, 100, b"\xff\x00\x01\xff\xd0"), "has more than 48 scans"),
    "a small JPEG with 2,000 scans": (lambda: repeated_scans(16, 2000), "has more than 1000 scans"),
    "a JPEG with padding": (lambda: JPEG[:20] + bytes(20 << 20) + JPEG[20:], "too many small parts"),
    "a JPEG with many tables": (
        lambda: JPEG[:-2] + b"\xff\xfe\0\2" * 200_000 + JPEG[-2:],
        "more than 100,000 segments",
    ),
    "a PNG with many chunks": (lambda: PNG[:33] + chunk(b"prVt") * 10**6 + PNG[33:], "too many small parts"),
    "chunks behind the pixels": (lambda: PNG[:-12] + chunk(b"prVt") * 10**6 + PNG[-12:], "too many small parts"),
    "a GIF with long comments": (
        lambda: GIF[:GIF_TABLE] + b"!\xfe" + (b"\xff" + bytes(255)) * 40_000 + b"\0" + GIF[GIF_TABLE:],
        "too many small parts",
    ),
    "a BMP with many runs": (lambda: rle(2_000_000), "too many small parts"),
    "text that is compressed": (
        lambda: PNG[:33] + chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**6))) * 100 + PNG[33:],
        "text chunks",
    ),
}


@pytest.mark.parametrize("case", COSTLY)
def test_costly_images_are_refused(case, tmp_path):
    make, words = COSTLY[case]
    path = tmp_path / "image.png"
    path.write_bytes(make())
    began = time.monotonic()
    with pytest.raises(InputError, match=words) as caught:
        images.read_image(path, (8, 8))
    assert time.monotonic() - began < SECONDS
    assert str(path) in str(caught.value)


def test_predict_refuses_a_costly_image_with_one_line(trained, tmp_path, command):
    path = tmp_path / "image.jpg"
    path.write_bytes(repeated_scans(4000, 100))
    outcome = command("predict", f"--checkpoints={trained[0]}", path)
    assert (outcome.status, one_line(outcome.err)) == (2, True)
    assert f"{path}: has more than 48 scans" in outcome.err


def test_a_file_of_a_terabyte_is_refused(tmp_path):
    path = tmp_path / "photos" / "a" / "big.jpg"
    for folder in ("a", "b"):
        (tmp_path / "photos" / folder).mkdir(parents=True)
        (tmp_path / "photos" / folder / "small.jpg").write_bytes(JPEG)
    with path.open("wb") as file:
        file.write(JPEG)
        file.truncate(1 << 40)
    with pytest.raises(InputError, match=r"big.jpg: has more than 256 MiB"):
        images.read_image(path)
    with pytest.raises(InputError, match=r"big.jpg: has more than 256 MiB"):
        folder_of_images.load(tmp_path / "photos", False, Decoding(8, "crop", False, tmp_path))
    dataset = folder_of_images.load(tmp_path / "photos", False, Decoding(8, "crop", True, tmp_path))
    assert len(dataset.x_train) == 2


HONEST = {
    "a progressive JPEG": lambda: encoded(Image.fromarray(PIXELS), "JPEG", progressive=True),
    "a small JPEG with 200 scans": lambda: repeated_scans(16, 200),
    "a JPEG with a thumbnail and a profile": lambda: encoded(
        Image.fromarray(PIXELS), "JPEG", exif=b"Exif\0\0" + b"\xff\xda\0\2" * 2000, icc_profile=b"\xff\xda" * 90_000
    ),
    "a JPEG with a film behind it": lambda: JPEG + b"\xff\xda\0\2" * 5000,
    "an animated GIF": lambda: encoded(
        Image.fromarray(PIXELS),
        "GIF",
        save_all=True,
        append_images=[Image.fromarray(PIXELS + np.uint8(n)) for n in range(200)],
    ),
    "an animated WebP": lambda: encoded(
        Image.fromarray(PIXELS), "WEBP", save_all=True, append_images=[Image.fromarray(PIXELS[::-1])] * 3, lossless=True
    ),
    "a PNG with much text": lambda: PNG[:33] + chunk(b"tEXt", b"key\0text") * 1000 + PNG[33:],
}


@pytest.mark.parametrize("case", HONEST)
def test_honest_images_load(case, tmp_path):
    path = tmp_path / "image.jpg"
    path.write_bytes(HONEST[case]())
    assert images.read_image(path).shape in ((9, 12, 3), (16, 16, 3))


def test_only_the_first_frame_of_an_animation_is_read(tmp_path):
    (tmp_path / "image.webp").write_bytes(HONEST["an animated WebP"]())
    assert np.array_equal(images.read_image(tmp_path / "image.webp"), PIXELS)
