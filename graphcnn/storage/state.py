"""state.json of a checkpoint: the epoch, the best score and the state of early stopping."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graphcnn.common.errors import InputError
from graphcnn.common.files import read_json

STATE_TYPES = {  # keys that every state has, and the types of each value
    "epoch": (int,),
    "best_epoch": (int,),
    "best_score": (float, type(None)),
    "stopped_early": (bool,),
    "stopping": (dict,),
}


def read_state(folder: Path) -> dict[str, Any]:
    """Read the state that `checkpoint.save` wrote into the folder of a checkpoint.

    Raises:
        InputError: state.json is missing, cannot be read or has other keys or types.
    """
    path = folder / "state.json"
    try:
        state = read_json(path, follow=False)
        wrong = [name for name, types in STATE_TYPES.items() if type(state[name]) not in types]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: missing or damaged ({error}); restore it, or train the run again") from None
    if wrong:
        names = ", ".join(wrong)
        raise InputError(f"{path}: wrong type of {names}; restore the file, or train the run again")
    return state
