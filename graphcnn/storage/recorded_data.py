"""The data that a run was trained on, and its splits.

Letters in shapes: M images of a file, N images of a split, H W pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphcnn.common import paths
from graphcnn.common.errors import InputError
from graphcnn.common.progress import say
from graphcnn.config.flags import FOLDERS
from graphcnn.data import cache, sources
from graphcnn.data.arrays import BYTE_ORDER_MARK
from graphcnn.data.dataset import Dataset
from graphcnn.data.fingerprint import content_of, same_data, short
from graphcnn.storage.run import Run


class Split(NamedTuple):
    """One split: images[rows] and labels[rows].

    images: [M, H, W], [M, H, W, 1] or [M, H, W, 3]. labels: int32 [M]. rows: indices of the split's images, int64 [N].
    file_names: path of the file of each of the M images, <class>/<file>; empty if the images are not from image files.
    """

    images: np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    file_names: Sequence[str] = ()


class RecordedData(NamedTuple):
    """The Dataset of a run, and the row indices of its training split and of its dev split, int64 each."""

    dataset: Dataset
    train_rows: np.ndarray
    dev_rows: np.ndarray

    def splits(self, names: Iterable[str]) -> dict[str, Split]:
        """Return the named splits (train, dev, test).

        Raises:
            InputError: the run has no dev split, or the data have no test images or no test labels.
        """
        dataset, splits = self.dataset, {}
        for name in names:
            if name == "test":
                splits[name] = self._test_split()
            elif name == "dev" and not len(self.dev_rows):
                raise InputError(
                    "--split=dev: the run was trained without a dev split; use --split=train or --split=test"
                )
            else:
                rows = self.dev_rows if name == "dev" else self.train_rows
                splits[name] = Split(dataset.x_train, dataset.y_train, rows, dataset.file_names.get("x_train", ()))
        return splits

    def _test_split(self) -> Split:
        dataset = self.dataset
        if dataset.x_test is None:
            raise InputError(f"--split=test: {dataset.file('x_test')} is missing; add it beside the training images")
        if dataset.y_test is None:
            raise InputError(
                f"--split=test: {dataset.file('y_test')} is missing, so the test images have no labels and no score; "
                f"{paths.PROGRAM} submit predicts their labels"
            )
        rows = np.arange(len(dataset.y_test))
        return Split(dataset.x_test, dataset.y_test, rows, dataset.file_names.get("x_test", ()))


def load_recorded_data(
    run: Run,
    config: dict[str, Any],
    source: str | None = None,
    test: bool = False,
    options: Mapping[str, Any] | None = None,
) -> RecordedData:
    """Load the data that the run was trained on, and check that they are the same.

    The path of the data is the recorded one unless `source` is given. A recorded cache folder is used only if it is in
    the default cache folder, because the run may come from a stranger and commands write into cache folders.

    Args:
        run: the run.
        config: its config.json.
        source: present folder or name of the same data; None for the source in config.json.
        test: whether to load the test split too.
        options: {field of sources.DataOptions: value} for those that differ from config.json.

    Raises:
        InputError: the data are missing, or their fingerprint, class names or image size are not the recorded ones.
    """
    source = source or config["data"]["source"]
    for name, folder in _ignored_folders(config, options or {}).items():
        say(
            f"run {run.name} recorded {name}={folder!r}; this folder is not in the default cache folder, so it is not "
            f"used; if it is yours, add --{name} to use it"
        )
    chosen = recorded_options(config, options or {})

    def check_content(content: str) -> None:
        """Refuse a folder of images before an image is decoded into the cache."""
        if not same_data(content, content_of(config["data"]["fingerprint"])):
            raise _other_data(source, run, config, content)
        _check_config(run, "image_shape", config["data"]["image_shape"], [chosen.image_size] * 2, source)

    dataset = sources.load(source, test, chosen, check_content)
    _check_same(dataset, source, run, config)
    rows = np.arange(len(dataset.y_train))
    dev_rows = run.dev_rows(len(rows))
    return RecordedData(dataset, np.setdiff1d(rows, dev_rows), dev_rows)


def recorded_options(config: Mapping[str, Any], given: Mapping[str, Any]) -> sources.DataOptions:
    """Return the options to load a run's data: the recorded ones, replaced by the given ones; see load_recorded_data.

    Args:
        config: the run's config.json. A file of version 1 has no options or no `fit`; its photos were stretched.
        given: {field of sources.DataOptions: value} for the flags of this command.
    """
    ignored = dict.fromkeys(_ignored_folders(config, given))
    return sources.DataOptions(**{"fit": "stretch", **config["data"].get("options", {}), **given, **ignored})


def _ignored_folders(config: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, str]:
    """Return {option: folder} of the recorded cache folders that are not used: see load_recorded_data."""
    recorded = config["data"].get("options", {})
    folders = {name: recorded.get(name) for name in FOLDERS if name not in given}
    return {name: folder for name, folder in folders.items() if folder and not cache.in_default_folder(folder)}


def _check_same(dataset: Dataset, source: str, run: Run, config: Mapping[str, Any]) -> None:
    """Refuse data that are not those of the run."""
    recorded, fingerprint = config["data"], dataset.fingerprint
    same_content = content_of(fingerprint) == content_of(recorded["fingerprint"])
    names = zip(config["class_names"], dataset.class_names, strict=False)
    different = next(((k, old, new) for k, (old, new) in enumerate(names) if not _same_name(old, new)), None)
    if same_content and different:
        k, old, new = different
        raise InputError(
            f"{dataset.file('class_names')}: class {k} is {new!r}, but run {run.name} recorded {old!r}; restore the "
            f"class names that {run.config_path} lists, or name with --data the folder that the run was trained on"
        )
    if not same_data(fingerprint, recorded["fingerprint"]):
        raise _other_data(source, run, config, fingerprint)
    _check_config(run, "image_shape", recorded["image_shape"], list(dataset.image_shape), source)
    _check_config(run, "pixel_max", recorded["pixel_max"], dataset.pixel_max, source)
    _check_config(run, "the number of class_names", len(config["class_names"]), dataset.classes, source)


def _same_name(recorded: str, name: str) -> bool:
    """Return whether two class names are equal. Version 1 recorded the byte order mark of the file in a name."""
    return recorded.removeprefix(BYTE_ORDER_MARK) == name


def _other_data(source: str, run: Run, config: Mapping[str, Any], fingerprint: str) -> InputError:
    """Return the error for data whose fingerprint is not the recorded one."""
    return InputError(
        f"--data={source}: its training images or labels are not those of run {run.name} (fingerprint "
        f"{short(fingerprint)}, expected {short(config['data']['fingerprint'])}); name the folder that the run was "
        "trained on"
    )


def _check_config(run: Run, name: str, recorded: object, actual: object, source: str) -> None:
    """Refuse a config.json in which a value differs from the value of the data."""
    if recorded != actual:
        raise InputError(
            f"{run.config_path}: {name} is {recorded}, but the data {source} have {actual}; restore the file"
        )
