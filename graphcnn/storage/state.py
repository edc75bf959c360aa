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
STOPPING_TYPES = {"best": (float, int, type(None)), "worse_in_a_row": (int,)}  # the same for the dict "stopping"
OPTIONAL_TYPES = {"frozen_epochs": (int, type(None))}  # the same for keys that may be missing


def read_state(folder: Path) -> dict[str, Any]:
    """Read the state that `checkpoint.save` wrote into the folder of a checkpoint.

    Raises:
        InputError: state.json is missing, cannot be read or has other keys or types.
    """
    path = folder / "state.json"
    try:
        state = read_json(path, follow=False)
        wrong = [name for name, types in STATE_TYPES.items() if type(state[name]) not in types]
        wrong += [
            f"stopping.{name}" for name, types in STOPPING_TYPES.items() if type(state["stopping"][name]) not in types
        ]
        wrong += [name for name, types in OPTIONAL_TYPES.items() if type(state.get(name)) not in types]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); restore the file, or try again") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({error}); restore the file, or train the run again") from None
    if wrong:
        names = ", ".join(wrong)
        raise InputError(f"{path}: wrong type of {names}; restore the file, or train the run again")
    return state
