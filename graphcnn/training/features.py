"""Cache of backbone features on disk, memory-mapped.

A file `<cache_dir>/features-<key>.npy` holds an array float32 [M, C]: C features for each of the M images of the
training file. The key is a sha256 of the backbone's weights, the data, the image size, the precision, the number of
cores and the augmentation. `features-<key>.json` holds the sha256 of the array, which is checked before the features
are used. Both files may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graphcnn.common.errors import InputError, UnreadableFile
from graphcnn.common.files import read_json
from graphcnn.common.processors import cores
from graphcnn.common.progress import bar, format_duration, say
from graphcnn.common.replace import atomic_write
from graphcnn.config.recipe import Recipe
from graphcnn.data import batches, cache
from graphcnn.data.dataset import Dataset
from graphcnn.data.fingerprint import content_of
from graphcnn.graphs.freezing import frozen_names
from graphcnn.graphs.training import TrainingGraph
from graphcnn.ops.tf1 import tf, tf1
from graphcnn.training import augment

VERSION = "graphcnn features, 1"  # change it when the same net computes other features
FEATURE_FIELDS = (  # fields of a Recipe that determine the features of an image, given the weights
    "net", "image_size", "normalisation", "precision", "whitening_patch_size", "activation", "batch_norm",
    "batch_norm_position",
)  # fmt: skip
TIMED_BATCH = 2  # the batch whose seconds predict the total time; the first batch also initialises the session


@dataclass(frozen=True)
class Backbone:
    """A frozen backbone with its weights, and the images whose features it computes.

    Args:
        session: open session of the graph.
        graph: a training graph with a pooled head.
        recipe: the settings.
        dataset: M images.
        train_rows: indices of the training images; augmented views have features of only these images.
    """

    session: tf1.Session
    graph: TrainingGraph
    recipe: Recipe
    dataset: Dataset
    train_rows: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the features, (M, C)."""
        assert self.graph.features is not None  # a frozen backbone has a pooled head
        return len(self.dataset.y_train), int(self.graph.features.shape[1])

    def rows(self, view: int) -> np.ndarray:
        """Return the indices of the images of a view: all images in view 0, the training images in other views."""
        return self.train_rows if view else np.arange(len(self.dataset.y_train))

    def images(self, view: int) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from indices to images float32 [N, H, W, 3] in raw units, augmented except in view 0."""
        dataset, recipe = self.dataset, self.recipe
        parameters = augment.draw_parameters(recipe, len(dataset.y_train), view) if view else None

        def images_of(rows: np.ndarray) -> np.ndarray:
            dataset.check_unchanged()
            if parameters is None:
                return batches.as_rgb(dataset.x_train[rows])
            return augment.augmented(dataset.x_train[rows], recipe, parameters[rows], dataset.pixel_max)

        return images_of

    def keys(self) -> list[str]:
        """Return the key of each view's file."""
        digest, names = hashlib.sha256(), frozen_names("backbone", self.graph.variables)
        values = {variable.op.name: variable for variable in self.graph.variables if variable.op.name in names}
        for name, value in self.session.run(values).items():
            digest.update(f"{name} {value.shape}".encode() + value.tobytes())
        recipe = self.recipe
        common = [VERSION, tf.__version__, cores(), *(getattr(recipe, field) for field in FEATURE_FIELDS)]
        common += [content_of(self.dataset.fingerprint), digest.hexdigest()]
        keys = []
        for view in range(recipe.feature_views):
            key = [*common]
            if view:
                rows = hashlib.sha256(self.train_rows.tobytes()).hexdigest()
                key += [recipe.seed, view, recipe.augmentation(), rows]
            keys.append(hashlib.sha256(json.dumps(key).encode()).hexdigest())
        return keys


def cached(backbone: Backbone, folder: str | None) -> list[np.ndarray]:
    """Return the features of each view, float32 [M, C]; the rows of images that a view lacks are 0.

    Args:
        backbone: computes the features that the cache does not hold.
        folder: folder of the cache; None for the default folder.
    """
    views, count = [], backbone.recipe.feature_views
    for view, key in enumerate(backbone.keys()):
        path = cache.folder(folder) / f"features-{key}.npy"
        name = f"features of view {view + 1}/{count}"
        with cache.locked(path):
            features = _read(path, backbone.shape)
            if features is None:
                if os.path.lexists(path):
                    say(f"{path}: damaged, or without a checksum; the features are computed again")
                _compute(backbone, view, path, name)
                features = _read(path, backbone.shape)
            else:
                say(f"{name}: {path}")
        if features is None:
            raise InputError(f"{path}: cannot be read after writing; check the disk, or set --cache_dir")
        backbone.dataset.watch(path, features.state)
        views.append(features.array)
    return views


def _read(path: Path, shape: tuple[int, int]) -> cache.CheckedArray | None:
    """Return the memory-mapped features of a file; None if the file is missing or damaged.

    A file of version 1 has no recorded sha256 and counts as damaged.

    Raises:
        OSError, UnreadableFile: the system cannot read a file. The file may be intact, so it must not be replaced.
    """
    try:
        recorded = read_json(_checksum_path(path), follow=False)["sha256"]
        features = cache.read_checked(path, recorded)
    except UnreadableFile:
        raise
    except (InputError, ValueError, KeyError, TypeError, RecursionError, *cache.ABSENT):
        return None
    return features if (features.array.shape, features.array.dtype) == (shape, np.float32) else None


def _checksum_path(path: Path) -> Path:
    """Return the file that holds the sha256 of the features in `path`."""
    return path.with_suffix(".json")


def _compute(backbone: Backbone, view: int, path: Path, name: str) -> None:
    """Write a view's features into a new file, which appears only when it is complete; name: text for the user."""
    dataset, graph, rows = backbone.dataset, backbone.graph, backbone.rows(view)
    images = backbone.images(view)
    largest = max(dataset.image_shape, (backbone.recipe.image_size,) * 2)  # the larger of stored size and input size
    slices = list(batches.in_order(rows, batches.chunk_size(largest)))
    with _new_array(path, backbone.shape) as features:
        with bar("features", len(rows)) as advance:
            pairs = ((indices, images(indices)) for indices in slices)
            for n, (indices, batch) in enumerate(batches.prefetch(pairs), start=1):
                started = time.monotonic()
                features[indices] = backbone.session.run(graph.features, {graph.x: batch})
                advance(len(indices))
                if n == TIMED_BATCH:
                    left = (time.monotonic() - started) * (len(slices) - TIMED_BATCH)
                    say(f"{name}: {len(rows):,} images, about {format_duration(left)}; they will be cached in {path}")
        if not all(np.isfinite(features[indices]).all() for indices in slices):
            net = backbone.recipe.net
            raise InputError(f"--net={net}: its features are not finite, so its weights are damaged or of another net")
        features.flush()
        dataset.check_unchanged()
        sha256 = cache.array_sha256(features)
    with atomic_write(_checksum_path(path)) as file:
        file.write((json.dumps({"sha256": sha256}) + "\n").encode())


@contextmanager
def _new_array(path: Path, shape: tuple[int, int]) -> Iterator[np.memmap]:
    """Yield a new memory-mapped float32 array. It becomes the file `path` if the block ends without an error."""
    with atomic_write(path) as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        file.flush()
        start, size = file.tell(), 4 * shape[0] * shape[1]
        if hasattr(os, "posix_fallocate"):  # on a full disk, writing to a mapped file ends the process
            os.posix_fallocate(file.fileno(), start, size)
        else:
            file.truncate(start + size)
        yield np.memmap(file, np.float32, "r+", start, shape)
