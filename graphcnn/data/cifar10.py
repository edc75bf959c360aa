"""CIFAR-10 from its official binary archive: 50,000 training and 10,000 test images, 32x32 RGB, ten classes."""

import tarfile
import zlib

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.data import cache, download
from graphcnn.data.dataset import Dataset

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
SIZE = 170_052_171  # bytes
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
RECORDS = 10_000  # in a batch file, each a label byte and the image's red, green and blue plane
SIDE = 32  # pixels
CLASSES = 10
BATCH = RECORDS * (1 + 3 * SIDE**2)  # bytes
FOLDER = "cifar-10-batches-bin"
NAMES = f"{FOLDER}/batches.meta.txt"  # a class name a line
TRAIN = tuple(f"{FOLDER}/data_batch_{n}.bin" for n in range(1, 6))
TEST = f"{FOLDER}/test_batch.bin"


def load(test, data_cache=None):
    """Return the Dataset "cifar10": uint8 [N, 32, 32, 3]; with its test split if `test`.

    Args:
        test: whether the test batch is read.
        data_cache: the folder that holds the archive or is to hold it; None for the default.
    """
    archive = cache.folder(data_cache) / URL.rsplit("/", 1)[-1]
    download.fetch(URL, archive, SIZE, SHA256)
    members = _read(archive, {NAMES, *TRAIN, *[TEST] * test})
    class_names = tuple(members[NAMES].decode("ascii", "replace").split())
    if len(set(class_names)) != CLASSES:
        raise InputError(f"{archive}: {NAMES} holds {len(set(class_names))} names, expected {CLASSES}")
    batches = [_parse(members.pop(name), f"{archive}: {name}") for name in TRAIN]
    x_test, y_test = _parse(members.pop(TEST), f"{archive}: {TEST}") if test else (None, None)
    return Dataset(
        source="cifar10",
        x_train=np.concatenate([images for images, _ in batches]),
        y_train=np.concatenate([labels for _, labels in batches]),
        class_names=class_names,
        pixel_max=255,
        has_test_labels=True,
        fingerprint=SHA256,
        dev_split="first",
        x_test=x_test,
        y_test=y_test,
    )


def _read(archive, names):
    """Return {name: bytes} of the named members, which must be regular files; nothing is unpacked to disk."""
    found = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                if member.name not in names:
                    continue
                if not member.isreg():
                    raise InputError(f"{archive}: {member.name} is a link or a device, expected a regular file")
                if member.size > BATCH:
                    raise InputError(f"{archive}: {member.name}: {member.size} bytes, expected at most {BATCH}")
                found[member.name] = tar.extractfile(member).read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise InputError(f"{archive}: truncated or damaged ({error}); delete it to have it downloaded anew") from None
    missing = sorted(names - set(found))
    if missing:
        raise InputError(f"{archive}: holds no {missing[0]}, expected CIFAR-10's binary version")
    return found


def _parse(content, name):
    """Return (images uint8 [N, 32, 32, 3], class ids int32 [N]) of a batch file's bytes."""
    if len(content) != BATCH:
        raise InputError(f"{name}: {len(content)} bytes, expected {BATCH}, {RECORDS} records of a label and an image")
    records = np.frombuffer(content, np.uint8).reshape(RECORDS, -1)
    labels = records[:, 0].astype(np.int32)
    if labels.max() >= CLASSES:
        raise InputError(f"{name}: holds label {labels.max()}, expected 0 to {CLASSES - 1}")
    images = records[:, 1:].reshape(RECORDS, 3, SIDE, SIDE)
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)), labels
