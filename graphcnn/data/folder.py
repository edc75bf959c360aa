"""A folder of images: train/<class>/*, optionally with val/<class>/* and test/, or <class>/*."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.files import is_litter
from graphcnn.common.progress import say
from graphcnn.data import image_cache
from graphcnn.data.dataset import Dataset, FileState
from graphcnn.data.fingerprint import fingerprint
from graphcnn.data.image_cache import Decoding, ImageFiles, skip_or_refuse
from graphcnn.data.images import MAX_BYTES, SUFFIXES
from graphcnn.data.labels import is_class_name

DEV_FOLDERS = ("val", "valid", "validation", "dev")  # possible names of the folder of the dev split


class Split(NamedTuple):
    """The decoded images of a split.

    images: uint8 [N, S, S, 3], memory-mapped. class_ids: int32 [N]; None for a split without labels. names: path of
    each image. digest: identifies the files and the decoding. states: the file_states of a Dataset.
    """

    images: np.ndarray
    class_ids: np.ndarray | None
    names: list[str]
    digest: str
    states: dict[Path, FileState | None]


class Layout(NamedTuple):
    """The folders of the splits: the folder with the training classes, and the folders of dev and test or None."""

    train: Path
    dev: Path | None = None
    test: Path | None = None


def class_folders(folder: Path) -> list[str]:
    """Return the sorted names of the folders in a folder, without hidden ones; [] if it is not a folder."""
    return [entry.name for entry in _entries(folder) if entry.is_dir()] if folder.is_dir() else []


def image_files(folder: Path) -> list[Path]:
    """Return the image files in a class folder, sorted by name, without hidden files and litter."""
    return [entry for entry in _entries(folder) if entry.suffix.lower() in SUFFIXES and entry.is_file()]


def load(folder: str | Path, test: bool, decoding: Decoding, check: Callable[[str], None] | None = None) -> Dataset:
    """Return the Dataset of a folder of images: uint8 [N, S, S, 3], memory-mapped from the cache.

    Args:
        folder: holds train/<class>/*, optionally with one of DEV_FOLDERS and test/, or <class>/*. test/ holds class
            folders, or images without labels. The files end in SUFFIXES.
        test: whether the test split is read.
        decoding: how the files are decoded.
        check: called with <content> of the fingerprint before any image is decoded; an error ends `load`.

    Raises:
        InputError: a file is not an image, a class has no images, or the splits have different classes.
    """
    folder = Path(folder).resolve()
    layout = _layout(folder)
    class_names = class_folders(layout.train)
    _check_class_names(layout.train, class_names)
    labelled_test = layout.test is not None and _has_classes(layout.test)
    if layout.dev:
        _check_dev_classes(layout.dev, class_names)
    if layout.test and labelled_test:
        _check_same_classes(layout.train, layout.test, class_names)
    train_split = _load_training(layout, class_names, decoding, check)
    test_split = None
    if test and layout.test:
        names = class_names if labelled_test else None
        test_split = load_classes(layout.test, names, decoding)
    in_dev = [layout.dev is not None and name.startswith(f"{layout.dev.name}/") for name in train_split.names]
    root = folder if layout.dev else layout.train
    files = {"x_train": root, "y_train": root, "x_test": folder / "test", "y_test": folder / "test"}
    if layout.dev:
        files["dev"] = layout.dev
    if layout.test is None and "test" in class_names:  # test/ has the images of a class
        del files["x_test"], files["y_test"]
    assert train_split.class_ids is not None
    return Dataset(
        source=str(folder),
        x_train=train_split.images,
        y_train=train_split.class_ids,
        class_names=tuple(class_names),
        pixel_max=255,
        has_test_labels=labelled_test,
        fingerprint=fingerprint(train_split.digest, (), train_split.images, class_names),
        dev_split=f"{layout.dev.name}/" if layout.dev else "stratified",
        dev_rows=np.flatnonzero(in_dev) if layout.dev else None,
        x_test=test_split and test_split.images,
        y_test=test_split and test_split.class_ids,
        files=files,
        file_names={"x_train": train_split.names, **({"x_test": test_split.names} if test_split else {})},
        file_states=train_split.states | (test_split.states if test_split else {}),
    )


def load_classes(
    folder: Path, class_names: list[str] | None, decoding: Decoding, check: Callable[[str], None] | None = None
) -> Split:
    """Return the decoded images of the folders <class>/ in a folder, or of a folder of images without labels.

    Args:
        folder: the folder.
        class_names: names of the class folders, sorted; a class id is an index of this list. None for no labels.
        decoding, check: see load.

    Raises:
        InputError: a file is not an image, or a class has no images.
    """
    if class_names is None:
        names = [entry.name for entry in _images_in(folder, folder.name, decoding.skip_broken)]
    else:
        names = _image_names(folder, class_names, decoding.skip_broken)
    return load_split(ImageFiles(folder, class_names or [], names, decoding), check)


def _load_training(
    layout: Layout, class_names: list[str], decoding: Decoding, check: Callable[[str], None] | None
) -> Split:
    """Return the training images. With a dev folder, its images follow, and the names start with the split's folder."""
    if layout.dev is None:
        return load_classes(layout.train, class_names, decoding, check)
    present = [name for name in class_folders(layout.dev) if name in class_names]
    names = [f"train/{name}" for name in _image_names(layout.train, class_names, decoding.skip_broken)]
    names += [f"{layout.dev.name}/{name}" for name in _image_names(layout.dev, present, decoding.skip_broken)]
    return load_split(ImageFiles(layout.dev.parent, class_names, names, decoding), check)


def load_split(files: ImageFiles, check: Callable[[str], None] | None) -> Split:
    """Return the decoded images of files with their class ids. First, `check` is called with the digest."""
    _class_ids(files, files.names)
    loaded = image_cache.load(files, check, lambda names: _class_ids(files, names))
    class_ids = _class_ids(files, loaded.names)
    return Split(loaded.pixels, class_ids, loaded.names, loaded.digest, loaded.states)


def _layout(folder: Path) -> Layout:
    """Return the Layout of a folder; print the folders in it that are not used."""
    train, test = folder / "train", folder / "test"
    dev = [folder / name for name in DEV_FOLDERS if (folder / name).is_dir()]
    if class_folders(train):
        if len(dev) > 1:
            raise InputError(f"{folder}: has {dev[0].name}/ and {dev[1].name}/; keep one folder for the dev split")
        used = [train, test, *dev]
        if unused := [f"{name}/" for name in class_folders(folder) if folder / name not in used]:
            names = ", ".join(unused)
            say(f"note: {folder}: these folders are not used: {names}; the splits are train/, val/ and test/")
        return Layout(train, dev[0] if dev else None, test if test.is_dir() else None)
    for split in (test, *dev):
        if class_folders(split):
            raise InputError(
                f"{folder}: has {split.name}/ but no train/ with class folders; put the training images there"
            )
    classes = class_folders(folder)
    if len(classes) > 1 and set(classes) <= {"train", "test", *DEV_FOLDERS}:
        names = " and ".join(f"{name}/" for name in classes)
        raise InputError(f"{folder}: {names} hold no class folders; put the images into train/<class>/ and so on")
    return Layout(folder)


def _has_classes(test: Path) -> bool:
    """Return whether a test folder has class folders; refuse class folders beside images, and an empty folder."""
    classes, images = class_folders(test), image_files(test)
    if not classes and not images:
        raise InputError(f"{test}: holds neither class folders nor images; add them, or remove the folder")
    return bool(classes)


def _check_same_classes(train: Path, test: Path, class_names: list[str]) -> None:
    test_classes = class_folders(test)
    for name in sorted(set(test_classes) ^ set(class_names)):
        only = test if name in test_classes else train
        raise InputError(
            f"{only / name}: this class is only in {only.name}/, expected the same classes in train/ and test/"
        )


def _check_dev_classes(dev: Path, class_names: list[str]) -> None:
    """Refuse a dev folder without class folders, or with a class that train/ lacks."""
    found = class_folders(dev)
    if not found:
        raise InputError(f"{dev}: holds no class folders, expected those of train/; add them, or rename the folder")
    for name in found:
        if name not in class_names:
            raise InputError(f"{dev / name}: this class is only in {dev.name}/, expected the classes of train/")


def _entries(folder: Path) -> list[Path]:
    """Return the entries of a folder, sorted by name, without hidden files and litter."""
    entries = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return sorted((entry for entry in entries if not is_litter(entry.name)), key=lambda entry: entry.name)


def _check_class_names(folder: Path, class_names: list[str]) -> None:
    """Refuse fewer than two classes, and class names that are not one line of UTF-8 text."""
    if len(class_names) < 2:
        names = f" ({class_names[0]})" if class_names else ""
        raise InputError(f"{folder}: {len(class_names)} class folders{names}, expected at least two")
    for name in class_names:
        if not is_class_name(name):
            raise InputError(f"{folder}: class folder {name!a} is not one line of UTF-8 text; rename it")


def _image_names(folder: Path, class_names: list[str], skip_broken: bool) -> list[str]:
    """Return the image files as paths below `folder`, <class>/<file>, by class, then by name."""
    for entry in image_files(folder):
        skip_or_refuse(entry, "this image is beside the class folders, expected in one of them", skip_broken)
    names = []
    for name in class_names:
        names += [f"{name}/{entry.name}" for entry in _images_in(folder / name, "a class folder", skip_broken)]
    return names


def _images_in(folder: Path, description: str, skip_broken: bool) -> list[Path]:
    """Return the image files of a folder, sorted by name; refuse or skip all other entries."""
    images = []
    for entry in _entries(folder):
        status = _status(entry)
        if status and stat.S_ISDIR(status.st_mode):
            problem = f"is a folder in {description}, expected only images; move its images into {folder.name}/"
            skip_or_refuse(entry, problem, skip_broken)
        elif entry.suffix.lower() not in SUFFIXES or not (status and stat.S_ISREG(status.st_mode)):
            skip_or_refuse(entry, f"expected only {', '.join(SUFFIXES)} files in {description}", skip_broken)
        elif status.st_size > MAX_BYTES:
            skip_or_refuse(entry, f"has more than {MAX_BYTES >> 20} MiB; make the image smaller", skip_broken)
        else:
            images.append(entry)
    return images


def _status(path: Path) -> os.stat_result | None:
    """Return the status of a file or of a link's target, None where there is none or the links are a loop."""
    try:
        return path.stat()
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise


def _class_ids(files: ImageFiles, names: list[str]) -> np.ndarray | None:
    """Return the class ids int32 [N] of paths …/<class>/<file>, None without classes.

    Raises:
        InputError: a class has no image, or there is no image at all.
    """
    if not files.class_names:
        if not names:
            raise InputError(f"{files.folder}: none of its files is an image")
        return None
    ids = {class_name: k for k, class_name in enumerate(files.class_names)}
    labels = np.array([ids[files.class_of(name)] for name in names], np.int32)
    for k in np.flatnonzero(np.bincount(labels, minlength=len(ids)) == 0):
        if files.labels:
            raise InputError(
                f"{files.folder}: no image with the label {files.class_names[k]!r} can be read; repair one of them, or "
                "remove this label from the file of labels"
            )
        parent = (files.folder / names[0]).parents[1] if names else files.folder
        folder = parent / files.class_names[k]
        raise InputError(f"{folder}: holds no image; add {', '.join(SUFFIXES)} files, or remove the folder")
    return labels
