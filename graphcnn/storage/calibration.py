"""calibration.json in a run folder: the temperature that `eval --calibrate` has fitted for the best checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from graphcnn.common import paths
from graphcnn.common.errors import FileError, InputError
from graphcnn.common.files import read_json
from graphcnn.common.replace import atomic_write
from graphcnn.storage import checkpoint
from graphcnn.storage.run import Run

NAME = "calibration.json"
LOWEST, HIGHEST = 0.01, 100.0  # a fitted temperature lies between them
MAX_BYTES = 1 << 16  # maximum size of the file


class Calibration(NamedTuple):
    """The temperature of a run.

    Attributes:
        temperature: T of softmax(logits / T).
        tta: whether it was fitted on the logits of test-time augmentation.
        checkpoint: sha256 of the variables of the checkpoint for which it was fitted.
    """

    temperature: float
    tta: bool
    checkpoint: str


def write_calibration(run: Run, calibration: Calibration, scores: Mapping[str, Any]) -> None:
    """Write calibration.json atomically; the run's lock must be held.

    Args:
        run: the run.
        calibration: the temperature.
        scores: further entries of the file, for readers.
    """
    with atomic_write(run.path / NAME) as file:
        file.write((json.dumps({**calibration._asdict(), **scores}, indent=2) + "\n").encode())


def read_calibration(run: Run, tta: bool) -> Calibration:
    """Return the temperature of a run for its best checkpoint.

    Args:
        run: the run.
        tta: whether predictions use test-time augmentation.

    Raises:
        InputError: there is no temperature, the file is damaged, or the temperature was fitted for another checkpoint,
            or without `tta` for predictions with it, or the other way round.
        UnsafeFile: the file is a link, is not regular, or is too large.
    """
    path = run.path / NAME
    try:
        entries = read_json(path, MAX_BYTES, follow=False)
        calibration = Calibration(*(entries[key] for key in Calibration._fields))
        if [type(value) for value in calibration] != [float, bool, str]:
            raise ValueError("expected a number, true or false, and a text")
        if not LOWEST < calibration.temperature < HIGHEST:
            raise ValueError(f"temperature is {calibration.temperature}, expected {LOWEST:g} to {HIGHEST:g}")
    except FileNotFoundError:
        raise InputError(f"--calibrated: run {run.name} has no temperature; fit it with {_command(run, tta)}") from None
    except OSError as error:
        raise FileError(path, f"cannot be read ({error.strerror}); try again") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        cause = f"no {error}" if isinstance(error, KeyError) else error
        raise FileError(path, f"cannot be used ({cause}); fit the temperature again: {_command(run, tta)}") from None
    if calibration.tta != tta:
        fitted, used = ("with", "without") if calibration.tta else ("without", "with")
        raise InputError(
            f"--calibrated: the temperature of run {run.name} was fitted {fitted} --tta, so it does not hold {used} "
            f"--tta; fit it again: {_command(run, tta)}"
        )
    check_checkpoint(run, calibration)
    return calibration


def check_checkpoint(run: Run, calibration: Calibration) -> None:
    """Refuse a temperature that was not fitted for the best checkpoint of the run."""
    if calibration.checkpoint != checkpoint.variables_sha256(run, "best"):
        raise InputError(
            f"--calibrated: the temperature of run {run.name} was fitted for another checkpoint, because the run was "
            f"trained further; fit it again: {_command(run, calibration.tta)}"
        )


def _command(run: Run, tta: bool) -> str:
    """Return the command that fits the temperature."""
    return f"{paths.PROGRAM} eval --run={run.name} --calibrate{' --tta' * tta}"
