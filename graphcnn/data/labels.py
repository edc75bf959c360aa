"""Labels of images in a file: class ids, numbers from 1, class names, or one-hot rows.

N images, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from graphcnn.common.errors import FEW, InputError, unknown_name

MAX_CLASSES = 10_000  # of one-hot labels and of class names
MAX_LENGTH = 1_000  # characters of a class name
EXPECTED = "whole numbers 0, 1, 2, … or strings"
CURE = (
    "number the classes with `names, y = np.unique(y, return_inverse=True)`, save y, and write the names into "
    "class_names.txt, one per line"
)


class Labels(NamedTuple):
    """The labels of the training images.

    Attributes:
        class_ids: int32 [N], 0 .. K-1.
        class_names: K names: the labels of the classes as text.
        first: the label of class 0 in the file, 0 or 1; None if the labels are class names.
    """

    class_ids: np.ndarray
    class_names: tuple[str, ...]
    first: int | None


def mapping_text(class_names: Sequence[str], first: int | None) -> str:
    """Return which labels are which classes, for a message; see Labels."""
    count = len(class_names)
    if first is not None:
        return f"{first} to {first + count - 1} are the classes 0 to {count - 1}"
    names = ", ".join(class_names[:FEW]) + ", …" * (count > FEW)
    return f"{count} different strings are the classes 0 to {count - 1}, in sorted order: {names}"


def training_labels(labels: np.ndarray, name: str | Path, count: int) -> Labels:
    """Return the Labels of the training images: they define the classes.

    Args:
        labels: numbers (N,) or (N, 1), 0 .. K-1 or 1 .. K; strings (N,) or (N, 1); or one-hot (N, K).
        name: the file, for messages.
        count: the number of images, N.

    Raises:
        InputError: the labels have another shape or type, are not N, leave a class without an image, or K < 2.
    """
    if labels.dtype.kind in "US":
        names, class_ids = _unique_strings(labels, name, count)
        if len(names) > MAX_CLASSES:
            raise InputError(f"{name}: {len(names):,} different strings, expected at most {MAX_CLASSES:,} classes")
        if len(names) == 1:
            raise InputError(f"{name}: a single class (every label is {names[0]!r}), expected at least two")
        return Labels(class_ids, tuple(names), None)
    values, columns = numbers(labels, name, count)
    first = 1 if columns is None and values.min() == 1 else 0
    classes = _count_classes(values, first, columns, name)
    return Labels(values - np.int32(first), tuple(str(first + k) for k in range(classes)), first)


def class_ids(
    labels: np.ndarray, name: str | Path, count: int, class_names: Sequence[str], first: int | None
) -> np.ndarray:
    """Return the class ids int32 [N] of labels that need not have each class of the training.

    Args:
        labels: see training_labels. Strings are class names.
        name: the file, for messages.
        count: the number of images, N.
        class_names: K names of the training.
        first: `Labels.first` of the training.

    Raises:
        InputError: the labels have another shape or type, are not N, or the training lacks one of them.
    """
    if labels.dtype.kind in "US":
        names, indices = _unique_strings(labels, name, count)
        known = {class_name: k for k, class_name in enumerate(class_names)}
        for label in names:
            if label not in known:
                raise InputError(f"{name}: strings are class names of the training; {unknown_name(label, class_names)}")
        return np.array([known[label] for label in names], np.int32)[indices]
    if first is None:
        raise InputError(f"{name}: dtype is {labels.dtype}, expected strings, because the training labels are strings")
    values, columns = numbers(labels, name, count)
    expected = f"expected {first} to {first + len(class_names) - 1} as in training"
    if columns is not None:
        if columns != len(class_names):
            raise InputError(f"{name}: is one-hot with {columns} columns, expected {len(class_names)} as in training")
        return values
    if values.min() < first or values.max() >= first + len(class_names):
        wrong = values.min() if values.min() < first else values.max()
        raise InputError(f"{name}: holds label {wrong}, {expected}")
    return values - np.int32(first)


def numbers(labels: np.ndarray, name: str | Path, count: int) -> tuple[np.ndarray, int | None]:
    """Return (labels int32 [N], K of one-hot labels or None) of labels that are numbers; see training_labels.

    Raises:
        InputError: the labels have another shape or type, or are not N whole numbers from 0 up.
    """
    if labels.dtype.kind not in "uifb":
        raise InputError(f"{name}: dtype is {labels.dtype}, expected {EXPECTED}; {CURE}")
    _check_shape(labels, name, count)
    if labels.ndim == 2 and labels.shape[1] > MAX_CLASSES:
        raise InputError(
            f"{name}: {labels.shape[1]:,} columns, expected one-hot labels of at most {MAX_CLASSES:,} classes"
        )
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] > 1:
        if not (np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()):
            raise InputError(f"{name}: shape {labels.shape} is not one-hot: expected one 1 and zeros in each row")
        return labels.argmax(axis=1).astype(np.int32), labels.shape[1]
    labels = labels.reshape(-1)
    if labels.dtype.kind == "f" and not (np.isfinite(labels).all() and (labels == np.floor(labels)).all()):
        raise InputError(f"{name}: holds fractional or non-finite labels, expected {EXPECTED}; {CURE}")
    if labels.min() < 0:
        raise InputError(f"{name}: the smallest label is {labels.min():g}, expected numbers from 0 up; {CURE}")
    if labels.max() >= 2**31:
        raise InputError(f"{name}: the largest label is {labels.max():g}, expected {EXPECTED}; {CURE}")
    return labels.astype(np.int32), None


def strings(texts: np.ndarray, name: str | Path) -> tuple[str, ...]:
    """Return the elements of an array of class names, dtype U or S, of shape (K,).

    Raises:
        InputError: the array has another shape or type, or an element is not one line of text.
    """
    if texts.dtype.kind not in "US" or texts.ndim != 1 or not 0 < len(texts) <= MAX_CLASSES:
        raise InputError(
            f"{name}: found {texts.dtype} {texts.shape}, expected strings (K,), the names of at most {MAX_CLASSES:,} "
            "classes"
        )
    names, indices = _unique_strings(texts, name, len(texts))
    return tuple(names[k] for k in indices)


def is_class_name(text: str) -> bool:
    """Return whether a text is one line that UTF-8 can encode."""
    return text.splitlines() == [text] and text == text.encode("utf-8", "ignore").decode()


def _check_shape(labels: np.ndarray, name: str | Path, count: int) -> None:
    """Refuse labels that do not have N rows, or whose shape no labels have."""
    if labels.ndim not in (1, 2) or 0 in labels.shape:
        raise InputError(f"{name}: shape is {labels.shape}, expected (N,), (N, 1) or one-hot (N, K)")
    if len(labels) != count:
        raise InputError(f"{name}: {len(labels)} labels for {count} images; expected one label per image, in order")


def _unique_strings(labels: np.ndarray, name: str | Path, count: int) -> tuple[list[str], np.ndarray]:
    """Check labels of dtype U or S; return (the different strings, sorted, and the index int32 [N] of each label)."""
    _check_shape(labels, name, count)
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise InputError(f"{name}: shape of the strings is {labels.shape}, expected (N,) or (N, 1)")
    wide = labels.dtype.kind == "U"
    if labels.dtype.itemsize > MAX_LENGTH * (4 if wide else 1):
        raise InputError(f"{name}: dtype is {labels.dtype}, expected strings of at most {MAX_LENGTH:,} characters")
    labels = np.ascontiguousarray(labels).reshape(-1)
    if wide:
        points = labels.view(np.dtype("u4").newbyteorder(labels.dtype.byteorder))
        if points.max() > 0x10FFFF:  # NumPy raises other errors for each operation on such an element
            raise InputError(f"{name}: truncated or damaged (not Unicode text); save or copy it again")
    found, indices = np.unique(labels, return_inverse=True)
    try:
        names = [str(label) if wide else label.decode("utf-8") for label in found.tolist()]
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: holds a label that is not UTF-8 text ({error}); {CURE}") from None
    for label in names:
        if not label.strip() or not is_class_name(label):
            raise InputError(f"{name}: holds label {label!a}, expected a class name, which is one line of UTF-8 text")
    return names, indices.reshape(-1).astype(np.int32)


def _count_classes(values: np.ndarray, first: int, columns: int | None, name: str | Path) -> int:
    """Check that the labels are `first` .. `first` + K-1 without a gap and K >= 2; return K.

    Args:
        values: the labels, int32 [N].
        first: the smallest possible label.
        columns: K from one-hot labels; None if the labels are numbers.
        name: the file, for messages.
    """
    present = np.unique(values)
    classes = columns or int(present[-1]) + 1 - first
    if len(present) == classes == 1:
        raise InputError(f"{name}: a single class (every label is {first}), expected at least two")
    if len(present) != classes:
        missing = first + int(np.argmin(np.isin(first + np.arange(len(present) + 1), present)))
        cure = "remove the columns of classes without an image" if columns else CURE
        raise InputError(
            f"{name}: {classes} classes, {first} to {first + classes - 1}, but no label is {missing}; {cure}"
        )
    return classes
