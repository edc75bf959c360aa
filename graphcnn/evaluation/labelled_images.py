"""Labelled images that are not in the data of a run, for `eval --images` and `eval --array`.

N images, H x W pixels, K classes.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import numpy as np

from graphcnn.common.errors import InputError, unknown_name
from graphcnn.common.progress import say
from graphcnn.data import folder
from graphcnn.data.checks import check_compatible
from graphcnn.data.labels import class_ids
from graphcnn.data.npy import read_array
from graphcnn.data.sources import DataOptions
from graphcnn.evaluation.trained_run import TrainedRun
from graphcnn.storage.recorded_data import Split


class LabelledImages(NamedTuple):
    """The place of labelled images.

    Attributes:
        images: a folder with class folders, or a .npy file of images.
        labels: the .npy file with the labels of a .npy file; None for a folder.
    """

    images: Path
    labels: Path | None = None

    @property
    def name(self) -> str:
        """Name of these images in reports: "images" for a folder, "array" for a .npy file."""
        return "array" if self.labels else "images"

    def read(self, run: TrainedRun, options: DataOptions) -> Split:
        """Return the images as a Split, in the size and range of the run's images, with the run's class ids.

        Args:
            run: the run.
            options: its cache_dir and skip_broken are used for a folder.

        Raises:
            InputError: the files are not valid, or they do not fit the images or classes of the run.
        """
        return self._read_array(run, self.labels) if self.labels else self._read_folder(run, options)

    def _read_array(self, run: TrainedRun, labels_path: Path) -> Split:
        images = read_array(self.images)
        check_compatible(images, self.images, run.image_shape, run.pixel_max)
        labels = class_ids(read_array(labels_path), labels_path, len(images), run.class_names, run.first_label)
        return Split(images, labels, np.arange(len(images)))

    def _read_folder(self, run: TrainedRun, options: DataOptions) -> Split:
        height, width = run.image_shape
        if height != width:
            raise InputError(
                f"--images={self.images}: the images of run {run.name} are {height}x{width}, but photos are decoded to "
                "squares; use --array and --labels"
            )
        names = folder.class_folders(self.images)
        if not names:
            raise InputError(f"--images={self.images}: found no folders in it, expected one folder for each class")
        for name in names:
            if name not in run.class_names:
                raise InputError(
                    f"{self.images / name}: the folders are matched by name with the classes of run {run.name}; "
                    f"{unknown_name(name, run.class_names)}"
                )
        decoding = dataclasses.replace(options, image_size=height, fit=run.fit).decoding()
        split = folder.load_classes(self.images, names, decoding)
        assert split.class_ids is not None
        own_ids = np.array([run.class_names.index(name) for name in names], np.int32)
        images = split.images if run.pixel_max == 255 else split.images * np.float32(run.pixel_max / 255)
        return Split(images, own_ids[split.class_ids], np.arange(len(images)), split.names)


def say_absent(labels: np.ndarray, class_names: list[str]) -> None:
    """Print a line if no image has one of the classes: its F1 score is 0."""
    absent = sorted(set(range(len(class_names))) - set(labels.tolist()))
    if absent:
        say(
            f"note: {len(absent)} of {len(class_names)} classes have no image here, the first is "
            f"{class_names[absent[0]]}; their F1 score is 0, which lowers the macro F1"
        )
