"""Settings and recipes from text and JSON, with the old names of settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from graphcnn.common.errors import InputError, unknown_name
from graphcnn.config.recipe import TYPE_NAMES, Recipe, Setting

ALIASES = {  # {name of a Recipe field in version 1: its present name}; both are accepted
    "batch_norm_at": "batch_norm_position",
    "bias_rate": "bias_lr_multiplier",
    "early_share": "early_fraction",
    "finetune_rate": "finetune_learning_rate",
    "muon_rate": "muon_learning_rate",
    "views": "feature_views",
    "whitening": "whitening_patch_size",
}


def check_one_name(names: Iterable[str], source: str, prefix: str = "", aliases: Mapping[str, str] = ALIASES) -> None:
    """Refuse `names` if they contain both the old and the present name of a setting.

    Args:
        names: names of settings or flags.
        source: the file or flag for the error line, with ": ".
        prefix: "--" where the names are flags.
        aliases: {old name: present name}.

    Raises:
        InputError: both names are there.
    """
    names = set(names)
    for old, name in aliases.items():
        if old in names and name in names:
            both = f"{prefix}{old} and {prefix}{name} are names of the same setting"
            raise InputError(f"{source}{both}; use only {prefix}{name}")


def parse_setting(name: str, text: str, flag: str) -> Setting:
    """Parse the value of a setting.

    Args:
        name: present or old name of the Recipe field.
        text: the value as on a command line, such as "0.5" or "true".
        flag: the flag for the error line.

    Raises:
        InputError: there is no such setting, or the text is not a value of its type.
    """
    fields = {field.name: field.type for field in dataclasses.fields(Recipe)}
    standard = ALIASES.get(name, name)
    if standard not in fields:
        raise InputError(f"{flag}: {unknown_name(name, list(fields))}")
    expected = fields[standard]
    assert isinstance(expected, type)
    try:
        return {"true": True, "false": False}[text.lower()] if expected is bool else expected(text)
    except (KeyError, ValueError):
        raise InputError(f"{flag}: found {name}={text}, expected {TYPE_NAMES[expected]}") from None


def recipe_from_dict(values: object, source: str | Path) -> Recipe:
    """Build the Recipe from the object `recipe` of a config.json. Old names of settings are accepted.

    Args:
        values: the object.
        source: the file, for the error line.

    Raises:
        InputError: `values` is not an object, or a setting is missing, unknown or not possible.
    """
    fields = dataclasses.fields(Recipe)
    names = [field.name for field in fields]
    if not isinstance(values, dict):
        raise InputError(f"{source}: 'recipe' is not an object of settings; the file was edited or is damaged")
    check_one_name(values, f"{source}: ")
    values = {ALIASES.get(name, name): value for name, value in values.items()}
    for name in values:
        if name not in names:
            raise InputError(f"{source}: {unknown_name(name, names)}")
    missing = [field.name for field in fields if field.name not in values and not field.metadata["later"]]
    if missing:
        raise InputError(f"{source}: the recipe lacks {', '.join(missing)}")
    try:
        return Recipe(**cast(dict[str, Any], values))
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
