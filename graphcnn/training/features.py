"""Cache of backbone features on disk, memory-mapped.

A file `<cache_dir>/features-<key>.npy` holds float32 [M, C], a row for each image of the training file. The key is a
sha256 of the backbone's weights, the data, the image size, the precision, the number of cores and the augmentation. The
file may be deleted at any time.
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

from graphcnn.common.errors import InputError
from graphcnn.common.files import atomic_write
from graphcnn.common.progress import bar, format_duration, say
from graphcnn.config.recipe import Recipe
from graphcnn.data import batches, cache
from graphcnn.data.dataset import Dataset
from graphcnn.graphs.freezing import frozen_names
from graphcnn.graphs.training import TrainingGraph
from graphcnn.ops.tf1 import cores, tf, tf1
from graphcnn.training import augment

FORM = "graphcnn features, 1"  # to be changed when the same net gives other numbers
SHAPING = (  # fields of a Recipe that decide what the net makes of an image, given its weights
    "net", "image_size", "normalisation", "precision", "whitening_patch_size", "activation", "batch_norm",
    "batch_norm_position",
)  # fmt: skip
TIMED = 2  # batches; the first one sets the session up, the second one tells how long all will take


@dataclass(frozen=True)
class Backbone:
    """A frozen backbone whose variables have their values, and the images that features are computed of.

    Args:
        session, graph: of a training graph with a pooled head.
        recipe: the settings.
        dataset: M images.
        train_rows: row indices; augmented views have features of these alone.
    """

    session: tf1.Session
    graph: TrainingGraph
    recipe: Recipe
    dataset: Dataset
    train_rows: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """(M, C) of the features."""
        assert self.graph.features is not None  # a frozen backbone has a pooled head
        return len(self.dataset.y_train), int(self.graph.features.shape[1])

    def rows(self, view: int) -> np.ndarray:
        """Return the rows that a view has features of: all of them in view 0, else the training rows."""
        return self.train_rows if view else np.arange(len(self.dataset.y_train))

    def images(self, view: int) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function from row indices to images, float32 [N, H, W, 3] in raw units; augmented but in view 0."""
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
        form = [FORM, tf.__version__, cores(), *(getattr(recipe, field) for field in SHAPING)]
        form += [self.dataset.fingerprint, digest.hexdigest()]
        keys = []
        for view in range(recipe.feature_views):
            key = [*form]
            if view:
                rows = hashlib.sha256(self.train_rows.tobytes()).hexdigest()
                key += [recipe.seed, view, recipe.augmentation(), rows]
            keys.append(hashlib.sha256(json.dumps(key).encode()).hexdigest())
        return keys


def cached(backbone: Backbone, folder: str | None) -> list[np.ndarray]:
    """Return the features of each view, float32 [M, C]; rows that a view does not have are 0.

    Args:
        backbone: what computes them, where the cache does not hold them.
        folder: of the cache, None for the default.
    """
    views, count = [], backbone.recipe.feature_views
    for view, key in enumerate(backbone.keys()):
        path = cache.folder(folder) / f"features-{key}.npy"
        name = f"features of view {view + 1}/{count}"
        with cache.locked(path):
            features = _read(path, backbone.shape)
            if features is None:
                _compute(backbone, view, path, name)
                features = _read(path, backbone.shape)
            else:
                say(f"{name}: {path}")
        assert features is not None
        views.append(features)
    return views


def _read(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    """Return a file of features, memory-mapped; None if there is none of that shape."""
    try:
        features = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return features if features.shape == shape and features.dtype == np.float32 else None


def _compute(backbone: Backbone, view: int, path: Path, name: str) -> None:
    """Write a view's features into a new file, which appears whole or not at all; name: of the view, for the user."""
    dataset, graph, rows = backbone.dataset, backbone.graph, backbone.rows(view)
    images = backbone.images(view)
    largest = max(dataset.image_shape, (backbone.recipe.image_size,) * 2)  # as stored, or as the net sees it
    slices = list(batches.in_order(rows, batches.chunk_size(largest)))
    with _new_array(path, backbone.shape) as features:
        with bar("features", len(rows)) as advance:
            made = ((part, images(part)) for part in slices)
            for n, (part, batch) in enumerate(batches.prefetch(made)):
                started = time.monotonic()
                features[part] = backbone.session.run(graph.features, {graph.x: batch})
                advance(len(part))
                if n + 1 == TIMED:
                    left = (time.monotonic() - started) * (len(slices) - TIMED)
                    say(f"{name}: {len(rows):,} images, about {format_duration(left)}; kept in {path}")
        if not all(np.isfinite(features[part]).all() for part in slices):
            net = backbone.recipe.net
            raise InputError(f"--net={net}: its features are not finite; the weights are damaged or do not fit the net")
        features.flush()
        dataset.check_unchanged()


@contextmanager
def _new_array(path: Path, shape: tuple[int, int]) -> Iterator[np.memmap]:
    """Yield a new float32 array, memory-mapped; it is in the file `path` when the block ends without an error."""
    with atomic_write(path) as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        file.flush()
        start, size = file.tell(), 4 * shape[0] * shape[1]
        if hasattr(os, "posix_fallocate"):  # without room on the disk, writing to a mapped file would end the process
            os.posix_fallocate(file.fileno(), start, size)
        else:
            file.truncate(start + size)
        yield np.memmap(file, np.float32, "r+", start, shape)
