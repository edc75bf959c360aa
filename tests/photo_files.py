"""Folders of photos, made by hand."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

COLOURS = {"owl": (200, 40, 40), "bat": (40, 200, 40), "cat": (40, 40, 200)}


def picture(seed, height=20, width=30, colour=(0, 0, 0)):
    """Return smooth uint8 pixels [height, width, 3] of about a colour."""
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 56, (4, 4, 3), np.uint8)).resize((width, height))
    return np.asarray(coarse) + np.uint8(colour)


def saved(array, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def write_photos(root, rows=8, classes=("owl", "bat", "cat"), seed=0):
    """Write rows photos a class, PNG and JPEG of several sizes; return the folder."""
    for k, name in enumerate(classes):
        for n in range(rows):
            pixels = picture([seed, k, n], 20 + n, 30 - n, COLOURS.get(name, (k * 60,) * 3))
            saved(pixels, root / name / f"{n:02d}.{('png', 'jpg', 'JPEG')[n % 3]}")
    return root


def by_pillow(path, size=16):
    return np.asarray(Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BILINEAR))


def png_16_bit(values):
    """Return a PNG of uint16 [H, W, 3], which Pillow reads but does not write."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, _ = values.shape
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def png_of_size(width, height):
    """Return a PNG whose header declares a size that its few bytes do not have."""
    content = bytearray(png_16_bit(np.zeros((1, 1, 3), np.uint16)))
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


def jpeg(size=64, form="JPEG"):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)).save(out, form)
    return out.getvalue()
