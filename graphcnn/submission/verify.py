"""Verification of a submission in a new process, with TensorFlow and without this package."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np

from graphcnn.common.errors import InputError
from graphcnn.common.isolated import python_command, working_folder


def verify(folder: Path, images: np.ndarray, path: Path | None, tta: bool) -> str:
    """Run the submission's grader.py on the test images; return the line that it prints.

    Args:
        folder: the submission.
        images: the test images.
        path: the file or folder of the test images. If it is not a .npy file, the images are written into the
            submission as x_test.npy.
        tta: whether result.npy was computed with test-time augmentation.

    Raises:
        InputError: the graph cannot be restored, or it does not reproduce result.npy.
    """
    if path is None or path.suffix != ".npy":
        path = folder / "x_test.npy"
        np.save(path, images)
    command = [*python_command(), str((folder / "grader.py").resolve()), *["--tta"] * tta, str(path.resolve())]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}  # result.npy was computed on the CPU
    with working_folder() as own:
        done = subprocess.run(command, cwd=own, env=environment, capture_output=True, text=True, check=False)
    last_line = (done.stdout.strip() or done.stderr.strip() or "no output").splitlines()[-1]
    if done.returncode:
        raise InputError(
            f"{folder.name}: the submission does not reproduce result.npy ({last_line}); nothing was replaced"
        )
    return last_line
