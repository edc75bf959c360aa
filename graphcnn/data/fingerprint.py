"""The fingerprint of a data set: two data sets with the same fingerprint have the same training images and labels.

Form 2 is "2:<content>:<layout>". <content> is the sha256 that a source computes of its training images and labels.
<layout> is a sha256 of the sizes of the files, of the shape and the type of the images, and of the class names. Version
1 recorded <content> alone, which does not tell where one file ends and the next one begins.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np

FORM = "2"


def fingerprint(content: str, sizes: Sequence[int], images: np.ndarray, class_names: Sequence[str]) -> str:
    """Return the fingerprint of a data set in form 2.

    Args:
        content: sha256 of the training images and labels, as hexadecimal digits.
        sizes: length in bytes of each file whose bytes are in `content`, in their order.
        images: the training images.
        class_names: the names of the classes, in the order of the class ids.
    """
    layout = json.dumps([list(sizes), list(images.shape), images.dtype.str, list(class_names)])
    return f"{FORM}:{content}:{hashlib.sha256(layout.encode()).hexdigest()}"


def content_of(recorded: str) -> str:
    """Return the content part of a fingerprint; it is the whole fingerprint of a run of version 1."""
    form, _, rest = recorded.partition(":")
    return rest.partition(":")[0] if form == FORM else recorded


def same_data(one: str, other: str) -> bool:
    """Return whether two fingerprints belong to the same data; if one is of version 1, their contents are compared."""
    if ":" in one and ":" in other:
        return one == other
    return content_of(one) == content_of(other)


def short(recorded: str) -> str:
    """Return the first digits of a fingerprint, for a message."""
    return ":".join(part[:12] for part in recorded.split(":")) + "…"
