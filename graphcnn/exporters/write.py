"""Export a model's inference graph for another program, and verify the export with that program's runtime.

N images, H x W pixels, K classes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from graphcnn.common.errors import InputError, UnreadableFile
from graphcnn.common.files import file_type, sync
from graphcnn.common.progress import say
from graphcnn.common.replace import new_folder, recover_folder, replace_folder
from graphcnn.data.batches import as_rgb
from graphcnn.evaluation.ensemble import ensemble_weights
from graphcnn.evaluation.model_data import DataSource, load_data, load_run_data
from graphcnn.evaluation.one_graph import check_one_graph, images_only, open_one_graph
from graphcnn.evaluation.select_model import Model
from graphcnn.evaluation.trained_run import TrainedRun
from graphcnn.exporters import npz, savedmodel, tflite
from graphcnn.exporters.common import ENDINGS, is_script, script_path, write_script
from graphcnn.ops.tf1 import reason, tf
from graphcnn.storage.select_run import joined_name

FORMATS: dict[str, ModuleType] = {"savedmodel": savedmodel, "tflite": tflite, "npz": npz}
IMAGES = 256  # number of images whose outputs are compared
LONGEST_NAME = 200  # bytes of a default name; a temporary name is longer
TOLERANCE = 1e-4  # largest difference of a probability


def export(model: Model[TrainedRun], format_name: str, source: DataSource, out: Path) -> None:
    """Export a model; replace an older export only if the new one computes the same probabilities.

    The format's runtime computes them from the new export alone.

    Args:
        model: one run, or several runs as one graph.
        format_name: a key of FORMATS.
        source: where the data are.
        out: the file or folder to write.

    Raises:
        InputError: `out` exists and is not such an export, the model cannot be written in this format, or the
            probabilities differ by more than TOLERANCE.
    """
    check_one_graph(model)
    recover_folder(out)
    _check_replaceable(out, format_name)
    weights = ensemble_weights(model, lambda runs: load_data(runs, source)).tolist()
    images, description = _compared_images(model.nets[0], source)
    with new_folder(out) as folder:
        new = folder / out.name if ENDINGS[format_name] else folder
        runtime, difference = _write(new, out, format_name, model, weights, images)
        size = sum(path.stat().st_size for path in [new, *new.rglob("*")] if path.is_file())
        _check_replaceable(out, format_name)
        _replace(new, out)
    say(f"{runtime} agrees on {len(images)} {description}; the largest difference of a probability is {difference:.2g}")
    _print_signature(model.nets[0])
    say(f"written: {out}, {size:,} bytes")
    if script := script_path(out, format_name):
        say(f"to classify an image file: python {script} photo.png")


def _write(
    new: Path, out: Path, format_name: str, model: Model[TrainedRun], weights: Sequence[float], images: np.ndarray
) -> tuple[str, float]:
    """Write an export and compute the probabilities of the images from it.

    Args:
        new: the file or folder to write.
        out: the path to which it will be moved, for messages.
        format_name: a key of FORMATS.
        model: one run, or several runs as one graph.
        weights: ensemble weight of each run.
        images: float32 [N, H, W, 3].

    Returns:
        (name of the format's runtime, largest difference between its probabilities and those of the graph).

    Raises:
        InputError: the export cannot be written, or the difference is above TOLERANCE.
    """
    exporter, recipes = FORMATS[format_name], [images_only(run.recipe) for run in model.nets]
    with open_one_graph(model, recipes, weights) as predictor:
        expected = predictor.probabilities(images)
        with _reported(out, "written"):
            exporter.write(new, predictor, _about(model, weights))
            write_script(new, format_name)
    with _reported(out, "read again"):
        probabilities, runtime = exporter.compute(new, images)
    difference = float(abs(probabilities - expected).max())
    if probabilities.shape != expected.shape or not difference <= TOLERANCE:
        raise InputError(
            f"--format={format_name}: a probability of {runtime} differs from the graph's by {difference:.2g}, "
            f"expected at most {TOLERANCE:g}; nothing was replaced"
        )
    return runtime, difference


@contextmanager
def _reported(out: Path, action: str) -> Iterator[None]:
    """Raise InputError "OUT: cannot be ACTION (reason)" for TensorFlow's errors, such as disk errors."""
    try:
        yield
    except tf.errors.OpError as error:
        raise InputError(f"{out}: cannot be {action} ({reason(error)})") from None


def default_name(model: Model[TrainedRun], format_name: str) -> str:
    """Return the default name of the exported file or folder, such as "a+b.npz"."""
    return joined_name([run.name for run in model.nets], LONGEST_NAME) + ENDINGS[format_name]


def _about(model: Model[TrainedRun], weights: Sequence[float]) -> dict[str, Any]:
    """Return the settings that a program needs besides the weights, as JSON values; "share": the ensemble weight."""
    first = model.nets[0]
    members = [
        {"run": run.name, "share": weight, "recipe": run.config["recipe"]}
        for run, weight in zip(model.nets, weights, strict=True)
    ]
    return {
        "image_shape": list(first.image_shape),
        "pixel_max": first.pixel_max,
        "class_names": first.class_names,
        "image_files": {  # what `predict` does with them
            "channels": "RGB",
            "orientation": "turned upright by the EXIF tag",
            "resize_to": list(first.image_shape),
            "resize_filter": "bilinear with antialiasing, as Pillow's Image.Resampling.BILINEAR",
            "fit": first.fit,
        },
        "members": members,
        **({"temperature": model.temperature} if model.temperature else {}),  # hypothesis = softmax(logits / it)
    }


def _compared_images(run: TrainedRun, source: DataSource) -> tuple[np.ndarray, str]:
    """Return (images float32 [N, H, W, 3], their description).

    The images are from the dev split, or from the training split if the run has no dev split. They are noise if the
    data that the run recorded are missing or have changed; the reason is printed.
    """
    try:
        data = load_run_data(run, source)
        rows = (data.dev_rows if len(data.dev_rows) else data.train_rows)[:IMAGES]
        return as_rgb(data.dataset.x_train[rows]), "of the run's images"
    except UnreadableFile:
        raise
    except InputError as error:
        if source.path:
            raise
        say(f"the run's data cannot be used: {error}")
        shape = (IMAGES, *run.image_shape, 3)
        noise = np.random.default_rng(0).uniform(0, run.pixel_max, shape).astype(np.float32)
        return noise, "images of noise"


def _print_signature(run: TrainedRun) -> None:
    """Print the shapes of the exported input and output."""
    (height, width), names = run.image_shape, run.class_names
    listed = ", ".join(names[:10]) + " …" * (len(names) > 10)
    say(f"x: float32 [N, {height}, {width}, 3], pixels 0..{run.pixel_max}; hypothesis: float32 [N, {len(names)}], one "
        f"column per class in this order: {listed}")  # fmt: skip


def _check_replaceable(out: Path, format_name: str) -> None:
    """Refuse an existing file or folder that is not an export in this format, so that no other file is deleted."""
    _check_script(out, format_name)
    if not os.path.lexists(out):
        return
    mode = out.lstat().st_mode
    if stat.S_ISREG(mode) if ENDINGS[format_name] else stat.S_ISDIR(mode):
        why = FORMATS[format_name].why_foreign(out)
    else:
        why = f"it is {file_type(mode)}"
    if why:
        raise InputError(
            f"--out={out}: this exists and is not an export in the format {format_name} ({why}); name another path"
        )


def _check_script(out: Path, format_name: str) -> None:
    """Refuse an existing file of another program at the path of an export's program."""
    script = script_path(out, format_name)
    if not script or not os.path.lexists(script):
        return
    mode = script.lstat().st_mode
    if not (stat.S_ISREG(mode) and is_script(script)):
        raise InputError(f"--out={out}: {script} exists and is not a program that export wrote; name another path")


def _replace(new: Path, out: Path) -> None:
    """Move a new folder, or a new file with the files beside it, to `out`. The old content is deleted."""
    if new.is_dir():
        for path in [new, *new.rglob("*")]:
            sync(path)
        replace_folder(new, out)
        return
    for path in sorted(new.parent.iterdir(), reverse=True):  # the program, NAME.tflite.py, before its model
        sync(path)
        path.replace(out.with_name(path.name))
    sync(out.parent)
