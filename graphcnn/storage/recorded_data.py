"""The data of a run, exactly as it was trained on, and the rows of its splits. N rows, H and W pixels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.data import sources
from graphcnn.data.dataset import Dataset
from graphcnn.storage.run import Run


class Split(NamedTuple):
    """The rows of one split: images[rows] and labels[rows].

    images: the array that holds the split's images, [M, H, W], [M, H, W, 1] or [M, H, W, 3], M >= N.
    labels: int32 [M]. rows: int64 [N].
    """

    images: np.ndarray
    labels: np.ndarray
    rows: np.ndarray


class RecordedData(NamedTuple):
    """A run's Dataset with the rows of its training split and of its dev split, int64 each."""

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
            raise InputError(f"--split=test: no {dataset.file('x_test')}; add it beside the training images")
        if dataset.y_test is None:
            raise InputError(
                f"--split=test: no {dataset.file('y_test')}, so the test images have no labels to score against; "
                "./run.sh submit predicts them"
            )
        return Split(dataset.x_test, dataset.y_test, np.arange(len(dataset.y_test)))


def load_recorded_data(
    run: Run,
    config: dict[str, Any],
    source: str | None = None,
    test: bool = False,
    options: dict[str, Any] | None = None,
) -> RecordedData:
    """Return the data that the run was trained on, loaded from where config.json recorded them.

    Args:
        run: the run.
        config: its config.json.
        source: where the same data are now; None for the recorded source. The fingerprint is checked.
        test: whether to load the test split too.
        options: {name: value} of the sources.DataOptions that differ from the recorded ones.

    Raises:
        InputError: the data are missing, or their fingerprint is not the recorded one.
    """
    source = source or config["data"]["source"]
    recorded = config["data"].get("options", {})  # the first versions' runs have none
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
