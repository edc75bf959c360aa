"""CIFAR-10 from its official binary archive: 50,000 training and 10,000 test images, 32x32 RGB, ten classes."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Set
from pathlib import Path

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.data import cache, download
from graphcnn.data.dataset import Dataset
from graphcnn.data.fingerprint import fingerprint

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
ARCHIVE_SIZE = 170_052_171  # bytes
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
RECORDS = 10_000  # in a batch file; a record is a label byte, then the red, the green and the blue plane of an image
SIZE = 32  # height and width of the images, in pixels
CLASSES = 10
BATCH_BYTES = RECORDS * (1 + 3 * SIZE**2)
FOLDER = "cifar-10-batches-bin"
NAMES = f"{FOLDER}/batches.meta.txt"  # one class name per line
TRAIN = tuple(f"{FOLDER}/data_batch_{n}.bin" for n in range(1, 6))
TEST = f"{FOLDER}/test_batch.bin"


def load(test: bool, data_cache: str | Path | None = None) -> Dataset:
    """Return the Dataset "cifar10": uint8 [N, 32, 32, 3].

    Args:
        test: whether the test split is read.
        data_cache: the folder for downloads, where the archive is kept; None for the default.

    Raises:
        InputError: the archive cannot be downloaded, or is not the official one.
    """
    archive = cache.folder(data_cache) / URL.rsplit("/", 1)[-1]
    download.fetch(URL, archive, ARCHIVE_SIZE, SHA256)
    members = _read(archive, {NAMES, *TRAIN, *[TEST] * test})
    class_names = tuple(members[NAMES].decode("ascii", "replace").split())
    if len(set(class_names)) != CLASSES:
        raise InputError(f"{archive}: {NAMES} holds {len(set(class_names))} names, expected {CLASSES}")
    batches = [_parse(members.pop(name), f"{archive}: {name}") for name in TRAIN]
    x_test, y_test = _parse(members.pop(TEST), f"{archive}: {TEST}") if test else (None, None)
    x_train = np.concatenate([images for images, _ in batches])
    return Dataset(
        source="cifar10",
        x_train=x_train,
        y_train=np.concatenate([labels for _, labels in batches]),
        class_names=class_names,
        pixel_max=255,
        has_test_labels=True,
        fingerprint=fingerprint(SHA256, (ARCHIVE_SIZE,), x_train, class_names),
        dev_split="first",
        x_test=x_test,
        y_test=y_test,
    )


def _read(archive: Path, names: Set[str]) -> dict[str, bytes]:
    """Return {name: bytes} of the named members, which must be regular files. Nothing is unpacked to disk."""
    members = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                if member.name not in names:
                    continue
                file = tar.extractfile(member) if member.isreg() else None
                if file is None:
                    raise InputError(f"{archive}: {member.name} is a link or a device, expected a regular file")
                if member.size > BATCH_BYTES:
                    raise InputError(f"{archive}: {member.name}: {member.size} bytes, expected at most {BATCH_BYTES}")
                members[member.name] = file.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise InputError(f"{archive}: truncated or damaged ({error}); delete it to download it again") from None
    missing = sorted(names - set(members))
    if missing:
        raise InputError(f"{archive}: {missing[0]} is missing, expected the binary version of CIFAR-10")
    return members


def _parse(content: bytes, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (images uint8 [N, 32, 32, 3], class ids int32 [N]) of the bytes of a batch file called `name`."""
    if len(content) != BATCH_BYTES:
        raise InputError(
            f"{name}: {len(content)} bytes, expected {BATCH_BYTES}, {RECORDS} records of a label and an image"
        )
    records = np.frombuffer(content, np.uint8).reshape(RECORDS, -1)
    labels = records[:, 0].astype(np.int32)
    if labels.max() >= CLASSES:
        raise InputError(f"{name}: holds label {labels.max()}, expected 0 to {CLASSES - 1}")
    images = records[:, 1:].reshape(RECORDS, 3, SIZE, SIZE)
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)), labels
