"""A folder of images with a CSV file of labels: columns file_name, label and optionally split.

The form is that of Hugging Face's imagefolder. The images are decoded and kept in the cache as in folder.py.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from graphcnn.common.errors import FEW, InputError, unknown_name
from graphcnn.common.files import read_text
from graphcnn.common.progress import bar
from graphcnn.data.arrays import BYTE_ORDER_MARK
from graphcnn.data.dataset import Dataset
from graphcnn.data.fingerprint import fingerprint
from graphcnn.data.folder import DEV_FOLDERS, Split, load_split
from graphcnn.data.image_cache import Decoding, ImageFiles
from graphcnn.data.labels import MAX_CLASSES, is_class_name

REQUIRED = ("file_name", "label")
COLUMNS = (*REQUIRED, "split")
SPLITS = ("train", "dev", "test")
MAX_BYTES = 64 << 20  # maximum size of the file of labels
FORM = "graphcnn file of labels, 1"


class Row(NamedTuple):
    """A line of the file.

    name: path of the image below the folder of images. split: one of SPLITS. line: number of the line, from 1.
    """

    name: str
    label: str
    split: str
    line: int


def load(
    folder: Path, path: Path, test: bool, decoding: Decoding, check: Callable[[str], None] | None = None
) -> Dataset:
    """Return the Dataset of a folder of images with a file of labels. The images keep the order of the file.

    Args:
        folder: the absolute folder of the images.
        path: the CSV file.
        test: whether the test split is read.
        decoding, check: see folder.load.

    Raises:
        InputError: the file of labels is not valid, or a file is not an image.
    """
    rows = read_rows(path)
    train, tests = ([row for row in rows if (row.split == "test") == is_test] for is_test in (False, True))
    class_names = _class_names(path, train, tests)
    all_ids = {name: k for k, name in enumerate(class_names)}
    _check_files(path, folder, train + tests)

    def content(digest: str) -> str:
        labels = "".join(f"{row.label}\n" for row in train)
        return hashlib.sha256(f"{FORM}\n{digest}\n{labels}".encode()).hexdigest()

    def read(rows: list[Row], check: Callable[[str], None] | None = None) -> Split:
        names = sorted({row.label for row in rows})
        labels = {row.name: row.label for row in rows}
        split = load_split(ImageFiles(folder, names, [*labels], decoding, labels), check)
        class_ids = np.array([all_ids[name] for name in names], np.int32)
        assert split.class_ids is not None
        return split._replace(class_ids=class_ids[split.class_ids])

    train_split = read(train, check and (lambda digest: check(content(digest))))
    test_split = read(tests) if test and tests else None
    in_dev = {row.name for row in train if row.split == "dev"}
    arrays = ("x_train", "x_test") if tests else ("x_train",)
    files = {array: folder for array in arrays} | {array.replace("x", "y"): path for array in arrays}
    assert train_split.class_ids is not None
    return Dataset(
        source=str(folder),
        x_train=train_split.images,
        y_train=train_split.class_ids,
        class_names=tuple(class_names),
        pixel_max=255,
        has_test_labels=bool(tests),
        fingerprint=fingerprint(content(train_split.digest), (), train_split.images, class_names),
        dev_split=path.name if in_dev else "stratified",
        dev_rows=np.flatnonzero([name in in_dev for name in train_split.names]) if in_dev else None,
        x_test=test_split and test_split.images,
        y_test=test_split and test_split.class_ids,
        files=files | ({"dev": path} if in_dev else {}),
        file_names={"x_train": train_split.names, **({"x_test": test_split.names} if test_split else {})},
        file_states=train_split.states | (test_split.states if test_split else {}),
    )


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a CSV file of labels in UTF-8, in their order. Empty lines are ignored.

    Raises:
        InputError: the file is missing or not valid CSV, a column is missing or unknown, or a row is not valid.
    """
    try:
        text = read_text(path, MAX_BYTES).removeprefix(BYTE_ORDER_MARK)
    except FileNotFoundError:
        raise InputError(f"--label_file={path}: no such file, expected a CSV file of labels") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text ({error}); save it as UTF-8") from None
    cells = _cells(path, text)
    header = [cell.strip() for cell in next(cells, (0, []))[1]]
    _check_header(path, header)
    rows: dict[str, Row] = {}
    for line, values in cells:
        where = f"{path}, line {line}"
        if len(values) != len(header):
            raise InputError(f"{where}: {len(values)} columns, expected {len(header)}: {','.join(header)}")
        row = _row(where, dict(zip(header, values, strict=True)), line)
        if row.name in rows:
            raise InputError(
                f"{where}: {row.name} is already in line {rows[row.name].line}; remove one of the two lines"
            )
        rows[row.name] = row
    return list(rows.values())


def _cells(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of the line, the values in it) of a CSV text, without empty lines."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for values in reader:
            if values:
                yield reader.line_num, values
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: is not valid CSV ({error})") from None


def _check_header(path: Path, header: Sequence[str]) -> None:
    """Refuse missing, unknown and repeated columns."""
    expected = "expected a first line file_name,label or file_name,label,split"
    found = ", ".join(map(repr, header[:FEW])) or "an empty file"
    for name in REQUIRED:
        if name not in header:
            raise InputError(f"{path}: has no column {name!r}, found {found}; {expected}")
    for name in header:
        if name not in COLUMNS:
            raise InputError(f"{path}: has the column {name!r}, {expected}; remove this column")
        if header.count(name) > 1:
            raise InputError(f"{path}: has the column {name!r} twice, {expected}")


def _row(where: str, values: dict[str, str], line: int) -> Row:
    """Return the Row of {column: value}; refuse an empty label, a path outside the folder and an unknown split."""
    name, label, split = values["file_name"], values["label"].strip(), values.get("split", "train").strip()
    parts = PurePosixPath(name).parts
    if not parts or not is_class_name(name) or "\0" in name:
        raise InputError(f"{where}: found file_name {name!a}, expected the path of an image")
    if parts[0].startswith("/") or ".." in parts:
        raise InputError(
            f"{where}: found file_name {name!r}, expected a path below the folder of --data, which starts with no / "
            "and has no .."
        )
    if not is_class_name(label):
        problem = f"found label {label!a}, expected one line of text" if label else "the label is empty"
        raise InputError(f"{where}: {problem}")
    if split not in (*SPLITS, *DEV_FOLDERS):
        raise InputError(f"{where}: split: {unknown_name(split, ['train', *DEV_FOLDERS, 'test'])}")
    return Row("/".join(parts), label, "dev" if split in DEV_FOLDERS else split, line)


def _class_names(path: Path, train: Sequence[Row], tests: Sequence[Row]) -> list[str]:
    """Return the sorted labels of the training images; refuse fewer than two, and others among the test images."""
    class_names = sorted({row.label for row in train})
    if not 2 <= len(class_names) <= MAX_CLASSES:
        names = f" ({class_names[0]})" if len(class_names) == 1 else ""
        raise InputError(
            f"{path}: {len(class_names):,} different labels of training images{names}, expected 2 to {MAX_CLASSES:,}"
        )
    known = set(class_names)
    for row in tests:
        if row.label not in known:
            raise InputError(
                f"{path}, line {row.line}: no training image has the label of this test image; "
                f"{unknown_name(row.label, class_names)}"
            )
    return class_names


def _check_files(path: Path, folder: Path, rows: Sequence[Row]) -> None:
    """Refuse a row without an image file."""
    with bar("finding images", len(rows)) as advance:
        for row in rows:
            if not (folder / row.name).is_file():
                raise InputError(
                    f"{path}, line {row.line}: {folder / row.name}: no such file; file_name is relative to the folder "
                    "of --data"
                )
            advance(1)
