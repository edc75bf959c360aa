"""The fingerprint of a data set. Equal fingerprints mean equal training images, labels and class names.

Form 2 is "2:<content>:<layout>". <content> is the sha256 that a source computes of its training images and labels.
<layout> is a sha256 of the sizes of the files, the shape and type of the images, and the class names. A fingerprint of
version 1 is <content> alone, which does not depend on where one file ends and the next one starts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from graphcnn.common.files import Digest

FORM = "2"
BLOCK_ROWS = 256  # number of rows that are hashed at a time


def fingerprint(content: str, sizes: Sequence[int], images: np.ndarray, class_names: Sequence[str]) -> str:
    """Return the fingerprint of a data set in form 2.

    Args:
        content: sha256 of the training images and labels, as hexadecimal digits.
        sizes: size in bytes of each file or array whose bytes are hashed in `content`, in the order of the hash; () for
            a folder of images, whose `content` separates the files.
        images: the training images.
        class_names: names of the classes, in the order of the class ids.
    """
    layout = json.dumps([list(sizes), list(images.shape), images.dtype.str, list(class_names)])
    return f"{FORM}:{content}:{hashlib.sha256(layout.encode()).hexdigest()}"


def update_with_array(digest: Digest, array: np.ndarray) -> None:
    """Add the elements of an array to a checksum, in C order."""
    for first in range(0, len(array), BLOCK_ROWS):
        digest.update(np.ascontiguousarray(array[first : first + BLOCK_ROWS]).data)


def content_of(recorded: str) -> str:
    """Return <content> of a fingerprint. A fingerprint of version 1 is returned unchanged."""
    form, _, rest = recorded.partition(":")
    return rest.partition(":")[0] if form == FORM else recorded


def same_data(first: str, second: str) -> bool:
    """Return whether two fingerprints belong to the same data. If one is of version 1, only <content> is compared."""
    if ":" in first and ":" in second:
        return first == second
    return content_of(first) == content_of(second)


def short(recorded: str) -> str:
    """Return the first digits of a fingerprint, for a message."""
    return ":".join(part[:12] for part in recorded.split(":")) + "…"
