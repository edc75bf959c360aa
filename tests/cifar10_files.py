"""CIFAR-10's archive in small, made by hand."""

import hashlib
import io
import tarfile

import numpy as np

from graphcnn.data import cifar10

ROWS = 20  # of a batch file
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
ARCHIVE = "cifar-10-binary.tar.gz"


def batch(seed):
    """Return (images uint8 [ROWS, 32, 32, 3], labels [ROWS], the file's bytes)."""
    generator = np.random.default_rng(seed)
    images, labels = generator.integers(0, 256, (ROWS, 32, 32, 3), np.uint8), generator.permutation(ROWS) % 10
    records = [bytes([label]) + image.transpose(2, 0, 1).tobytes() for image, label in zip(images, labels, strict=True)]
    return images, labels, b"".join(records)


def members():
    """Return {name: bytes} of a whole archive."""
    files = {"batches.meta.txt": ("\n".join(NAMES) + "\n\n").encode(), "readme.html": b"<html>"}
    files |= {f"data_batch_{n}.bin": batch(n)[2] for n in range(1, 6)}
    files["test_batch.bin"] = batch(6)[2]
    return {f"cifar-10-batches-bin/{name}": content for name, content in files.items()}


def packed(files, others=()):
    """Return the bytes of a .tar.gz of files {name: bytes} and of further TarInfo."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in others:
            tar.addfile(info)
    return out.getvalue()


def make_known(monkeypatch, folder, content):
    """Make the bytes of a small archive the expected ones; return its path in `folder`, not yet written."""
    monkeypatch.setattr(cifar10, "RECORDS", ROWS)
    monkeypatch.setattr(cifar10, "BATCH_BYTES", ROWS * 3073)
    monkeypatch.setattr(cifar10, "URL", f"http://127.0.0.1:9/{ARCHIVE}")  # the discard port: nobody answers
    monkeypatch.setattr(cifar10, "ARCHIVE_SIZE", len(content))
    monkeypatch.setattr(cifar10, "SHA256", hashlib.sha256(content).hexdigest())
    return folder / ARCHIVE
