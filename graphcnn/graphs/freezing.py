"""Which variables of a graph a recipe freezes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphcnn.common.errors import SettingError, literal, unknown_name
from graphcnn.ops.tf1 import tf

HEAD = "predictions"  # scope of the dense layer of a pooled head


def frozen_names(freeze: str, variables: Sequence[tf.Variable]) -> frozenset[str]:
    """Return the names of the variables that training leaves unchanged.

    Args:
        freeze: Recipe.freeze: none, backbone or until:<scope>.
        variables: the variables of a graph, in the order in which the net creates them.

    Raises:
        SettingError: the net has no such scope, or nothing would be left to train.
    """
    names = [variable.op.name for variable in variables]
    if freeze == "none":
        return frozenset()
    if freeze == "backbone":
        return frozenset(name for name in names if not name.startswith(f"{HEAD}/"))
    scope = freeze.removeprefix("until:")
    in_scope = [index for index, name in enumerate(names) if name.startswith(f"{scope}/")]
    if not in_scope:
        scopes = list(dict.fromkeys(name.rpartition("/")[0] for name in names))
        raise SettingError("freeze", literal(unknown_name(scope, scopes)), freeze)
    if not any(variable.trainable for variable in variables[in_scope[-1] + 1 :]):
        raise SettingError("freeze", "leaves nothing to train; name an earlier layer", freeze)
    return frozenset(names[: in_scope[-1] + 1])


def moving_moments(names: Iterable[str]) -> frozenset[str]:
    """Return those variable names that are moving means and variances of batch norm, in scopes with an offset beta."""
    names = frozenset(names)
    scopes = {name.removesuffix("/beta") for name in names if name.endswith("/beta")}
    return names & {f"{scope}/{moment}" for scope in scopes for moment in ("mean", "variance")}
