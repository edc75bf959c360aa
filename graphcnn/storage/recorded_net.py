"""Whether the net of a run is still the net that the run recorded in its config.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphcnn.common.errors import InputError
from graphcnn.common.progress import say
from graphcnn.config.recipe import Recipe
from graphcnn.graphs.net_record import NetRecord, record_net
from graphcnn.nets.own import check_code


def net_change(config: Mapping[str, Any], recipe: Recipe) -> str:
    """Return how the net of a run differs from the recorded one, in words; "" if it does not, or if none is recorded.

    Args:
        config: the run's config.json. The entry "net" of an old run is missing.
        recipe: the run's recipe.
    """
    if "net" not in config:
        return ""
    recorded, present = NetRecord(**config["net"]), record_net(recipe, len(config["class_names"]))
    if recorded.fingerprint == present.fingerprint:
        return ""
    missing, new = (
        next((line for line in layers if line not in others), None)
        for layers, others in ((recorded.layers, present.layers), (present.layers, recorded.layers))
    )
    differences = [f"{when} it has {line!r}" for when, line in (("in training", missing), ("now", new)) if line]
    return f"the net {recipe.net} is not the net that was trained: {', '.join(differences) or 'its layers differ'}"


def check_net(name: str, config: Mapping[str, Any], recipe: Recipe, allow_changed: bool) -> None:
    """Refuse a run whose net has changed after its training; say if the run has no record of its net.

    Args:
        name: name of the run.
        config, recipe: see net_change.
        allow_changed: whether to say the change only.

    Raises:
        InputError: the net has changed, or it is code of a user that is not loaded or has changed.
    """
    check_code(name, recipe.net, config)
    if "net" not in config:
        say(f"note: run {name} has no record of its net in config.json, so a change of the net cannot be found")
    elif change := net_change(config, recipe):
        if not allow_changed:
            raise InputError(
                f"--run={name}: {change}; restore the code of the net (or config.json), train a new run, or use the "
                "changed net with --allow_changed_net"
            )
        say(f"note: run {name}: {change}")
