"""Functions that several export formats use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from graphcnn.common.files import open_regular

ENDINGS = {"savedmodel": "", "tflite": ".tflite", "npz": ".npz"}  # {format: ending of the file name; "" for a folder}
SIGNATURE = "serving_default"
BATCH = 32  # number of images in a batch
SCRIPTS = Path(__file__).with_name("scripts")  # programs for users, which are copied into exports
SCRIPT_START = b'"""Print the most probable classes of image files, with TensorFlow'


def in_batches(compute: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    """Call compute(batch) for consecutive batches of the images; return the results as one array."""
    return np.concatenate([compute(batch) for batch in _batches(images)])


def _batches(images: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(images), BATCH):
        yield images[start : start + BATCH]


def script_path(out: Path, format_name: str) -> Path | None:
    """Return the path of the program that classifies image files with an export; None if the format has none.

    Args:
        out: the exported file or folder.
        format_name: a key of ENDINGS.
    """
    paths = {"savedmodel": out / "predict.py", "tflite": out.with_name(f"{out.name}.py")}
    return paths.get(format_name)


def write_script(out: Path, format_name: str) -> None:
    """Write the program that classifies image files with an export, if the format has one."""
    if path := script_path(out, format_name):
        path.write_bytes((SCRIPTS / f"predict_{format_name}.py").read_bytes())


def is_script(path: Path) -> bool:
    """Return whether a file is a program that write_script has written."""
    with open_regular(path, follow=False) as file:
        return file.read(len(SCRIPT_START)) == SCRIPT_START
