"""Verification of a submission in a new process, with TensorFlow and without this package."""

from __future__ import annotations

import subprocess
from pathlib import Path

from graphcnn.common.errors import InputError
from graphcnn.common.isolated import python_command, working_folder

SAMPLE = 1000  # images whose outputs are compared if not those of all images


def verify(folder: Path, images: Path, tta: bool, rows: int) -> str:
    """Run the submission's grader.py on the test images; return its last line, the verdict.

    Args:
        folder: the submission.
        images: the .npy file of the test images.
        tta: whether result.npy was computed with test-time augmentation.
        rows: number of images whose outputs are compared.

    Raises:
        InputError: the graph cannot be restored, or it does not reproduce result.npy.
    """
    options = [*["--tta"] * tta, "--rows", str(rows)]
    command = [*python_command(), str((folder / "grader.py").resolve()), *options, str(images.resolve())]
    with working_folder() as empty_folder:
        done = subprocess.run(command, cwd=empty_folder, capture_output=True, text=True, check=False)
    output = done.stdout if done.returncode in (0, 1) else done.stderr  # a verdict, or the reason why there is none
    last_line = (output.splitlines() or [f"exit status {done.returncode}"])[-1]
    if done.returncode:
        raise InputError(f"the written graph does not reproduce result.npy ({last_line}); nothing was replaced")
    return last_line
