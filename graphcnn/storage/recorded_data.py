"""The data that a run was trained on, and its splits.

Letters in shapes: M images of a file, N images of a split, H W pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.data import sources
from graphcnn.data.dataset import Dataset
from graphcnn.storage.run import Run


class Split(NamedTuple):
    """One split: images[rows] and labels[rows].

    images: [M, H, W], [M, H, W, 1] or [M, H, W, 3]. labels: int32 [M]. rows: indices of the split's images, int64 [N].
    """

    images: np.ndarray
    labels: np.ndarray
    rows: np.ndarray


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
                splits[name] = Split(dataset.x_train, dataset.y_train, rows)
        return splits

    def _test_split(self) -> Split:
        dataset = self.dataset
        if dataset.x_test is None:
            raise InputError(f"--split=test: {dataset.file('x_test')} is missing; add it beside the training images")
        if dataset.y_test is None:
            raise InputError(
                f"--split=test: {dataset.file('y_test')} is missing, so the test images have no labels and no score; "
                "./run.sh submit predicts their labels"
            )
        return Split(dataset.x_test, dataset.y_test, np.arange(len(dataset.y_test)))


def load_recorded_data(
    run: Run,
    config: dict[str, Any],
    source: str | None = None,
    test: bool = False,
    options: dict[str, Any] | None = None,
) -> RecordedData:
    """Load the data that the run was trained on, and check their fingerprint.

    Args:
        run: the run.
        config: its config.json.
        source: present folder or name of the same data; None for the source in config.json.
        test: whether to load the test split too.
        options: {field of sources.DataOptions: value} for those that differ from config.json.

    Raises:
        InputError: the data are missing, or their fingerprint is not the recorded one.
    """
    source = source or config["data"]["source"]
    recorded = config["data"].get("options", {})  # a config.json of version 1 has none
    dataset = sources.load(source, test, sources.DataOptions(**{**recorded, **(options or {})}))
    if dataset.fingerprint != config["data"]["fingerprint"]:
        raise InputError(
            f"--data={source}: its training images or labels are not those of run {run.name} "
            f"(fingerprint {dataset.fingerprint[:12]}…, expected {config['data']['fingerprint'][:12]}…); "
            "name the folder that the run was trained on"
        )
    rows = np.arange(len(dataset.y_train))
    dev_rows = run.dev_rows(len(rows))
    return RecordedData(dataset, np.setdiff1d(rows, dev_rows), dev_rows)
