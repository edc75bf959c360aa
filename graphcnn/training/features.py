"""What a frozen backbone makes of each image, computed once and kept on disk, memory-mapped.

A file `<cache_dir>/features-<key>.npy` holds float32 [M, C], a row for each training image; the key is a sha256 of the
backbone's weights, the data, the size, the precision, the number of cores and what was done to the images. It may be
deleted at any time.
"""

import hashlib
import json
import os
import time

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.files import atomic_write
from graphcnn.common.progress import bar, format_duration, say
from graphcnn.data import batches, cache
from graphcnn.graphs.freezing import frozen_names
from graphcnn.ops.tf1 import cores, tf
from graphcnn.training import augment

FORM = "graphcnn features, 1"  # to be changed when the same net becomes other numbers
SHAPING = (  # fields of a Recipe that say what the net makes of an image, given its weights
    "net", "image_size", "normalisation", "precision", "whitening_patch_size", "activation", "batch_norm",
    "batch_norm_position",
)  # fmt: skip
TIMED = 2  # batches; the first one sets the session up, the second one tells how long all will take


def cached(session, graph, recipe, dataset, rows, folder):
    """Return the features of the recipe's views of the images, a list of float32 [M, C]; the first has all rows.

    Args:
        session, graph: of a training Graph with a pooled head, whose variables have their values.
        recipe: Recipe.
        dataset: Dataset, of M images.
        rows: int array of the training rows; the augmented views have these alone, other rows being 0.
        folder: of the cache, None for the default.
    """
    backbone, fixed = hashlib.sha256(), frozen_names("backbone", graph.variables)
    values = {variable.op.name: variable for variable in graph.variables if variable.op.name in fixed}
    for name, value in session.run(values).items():
        backbone.update(f"{name} {value.shape}".encode() + value.tobytes())
    form = [FORM, tf.__version__, cores(), *(getattr(recipe, field) for field in SHAPING)]
    views = []
    for view in range(recipe.feature_views):
        key = [*form, dataset.fingerprint, backbone.hexdigest()]
        if view:
            key += [recipe.seed, view, recipe.augmentation(), hashlib.sha256(rows.tobytes()).hexdigest()]
        key = hashlib.sha256(json.dumps(key).encode()).hexdigest()
        path = cache.folder(folder) / f"features-{key}.npy"
        wanted = rows if view else np.arange(len(dataset.y_train))
        with cache.locked(path):
            shape = (len(dataset.y_train), int(graph.features.shape[1]))
            found = _read(path, shape)
            if found is None:
                drawn = augment.draws(recipe, shape[0], view) if view else None
                _compute(session, graph, recipe, dataset, wanted, drawn, path, shape, view)
                found = _read(path, shape)
            else:
                say(f"features of view {view + 1}/{recipe.feature_views}: {path}")
        views.append(found)
    return views


def _read(path, shape):
    """Return a file of features, memory-mapped, or None where there is none of that shape."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == shape and found.dtype == np.float32 else None


def _compute(session, graph, recipe, dataset, rows, drawn, path, shape, view):
    """Write the features of the rows into a new file, which appears whole or not at all."""
    largest = max(dataset.image_shape, (recipe.image_size,) * 2)  # stored, or as the net sees it
    slices = list(batches.in_order(rows, batches.chunk_size(largest)))

    def images(part):
        dataset.check_unchanged()
        if drawn is None:
            return batches.as_rgb(dataset.x_train[part])
        return augment.augmented(dataset.x_train[part], recipe, drawn[part], dataset.pixel_max)

    with atomic_write(path) as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        file.flush()
        start, size = file.tell(), 4 * shape[0] * shape[1]
        if hasattr(os, "posix_fallocate"):  # without room on the disk, writing to a mapped file would end the process
            os.posix_fallocate(file.fileno(), start, size)
        else:
            file.truncate(start + size)
        values = np.memmap(file, np.float32, "r+", start, shape)
        with bar("features", len(rows)) as advance:
            for n, (part, batch) in enumerate(batches.prefetch((part, images(part)) for part in slices)):
                began = time.monotonic()
                values[part] = session.run(graph.features, {graph.x: batch})
                advance(len(part))
                if n + 1 == TIMED:
                    left = (time.monotonic() - began) * (len(slices) - TIMED)
                    said = f"features of view {view + 1}/{recipe.feature_views}: {len(rows):,} images"
                    say(f"{said}, about {format_duration(left)}; kept in {path}")
        if not all(np.isfinite(values[part]).all() for part in slices):
            raise InputError(f"--net={recipe.net}: its features are not finite; the weights are damaged or unfit")
        values.flush()
        dataset.check_unchanged()
