"""The experiments that the flags select: --suite, --sweep, --only and the flags of a recipe."""

from __future__ import annotations

import dataclasses
import itertools
import re
from typing import Any

from graphcnn.common.errors import InputError, unknown_name
from graphcnn.config import suites
from graphcnn.config.parse import ALIASES, check_one_name, parse_setting
from graphcnn.config.recipe import Recipe
from graphcnn.config.suite import Experiment, Suite, recipe_of
from graphcnn.data.splits import DEV_FRACTION


def select_suite(name: str | None) -> Suite:
    """Return the suite that --suite names.

    Raises:
        InputError: --suite is not given, or the suite does not exist.
    """
    if name is None or name not in suites.SUITES:
        problem = unknown_name(name, list(suites.SUITES)) if name else "name one, or use --sweep"
        raise InputError(f"--suite: {problem}")
    return suites.SUITES[name]


def parse_sweep(text: str, recipe_name: str, taken: dict[str, str]) -> Suite:
    """Build a suite with one experiment for each combination of the swept settings.

    Args:
        text: value of --sweep, such as "learning_rate=1e-3,1e-4 keep_prob=0.6,0.8".
        recipe_name: the recipe that the settings change.
        taken: {setting: the flag that sets it} for settings that a flag sets, so that they cannot be swept.

    Raises:
        InputError: the text has a wrong format, or an unknown setting or value.
    """
    base, values_of = suites.named_recipe(recipe_name), {}
    for word in text.split():
        setting, _, texts = word.partition("=")
        if setting in values_of or not texts:
            raise InputError(f"--sweep: found {word!r}, expected setting=value,value,… once for each setting")
        flag = taken.get(ALIASES.get(setting, setting))
        if flag is not None:
            raise InputError(f"--sweep: {setting} is also set by {flag}; drop one of them")
        values_of[setting] = {value: parse_setting(setting, value, "--sweep") for value in texts.split(",")}
    check_one_name(values_of, "--sweep: ")
    if not values_of:
        raise InputError("--sweep: found no setting, expected setting=value,value,…")
    experiments = {}
    for combination in itertools.product(*values_of.values()):
        texts_of = dict(zip(values_of, combination, strict=True))
        words = [f"{setting}={value}" for setting, value in texts_of.items()]
        change = {ALIASES.get(setting, setting): values_of[setting][value] for setting, value in texts_of.items()}
        name = re.sub(r"[^A-Za-z0-9._-]", "-", "_".join(words).replace("+", ""))
        experiments[name] = Experiment(description=", ".join(words), change=change)
    source = f"a sweep over {text} in the recipe {recipe_name} ({base.description})"
    return Suite(source=source, unit="", base=base.recipe, dev_fraction=DEV_FRACTION, experiments=experiments)


def sweep_name(suite_name: str | None, recipe_name: str) -> str:
    """Return the name of a sweep's folder: the value of --suite, or sweep-<recipe>.

    Raises:
        InputError: the name belongs to a suite, or cannot be the name of a folder.
    """
    name = suite_name or f"sweep-{recipe_name.replace('/', '-')}"
    if name in suites.SUITES or not re.fullmatch(r"\w[\w.-]*", name, re.ASCII):
        raise InputError(
            f"--suite={name}: this cannot be the name of a sweep's folder; expected letters, digits, '.', '_' and '-', "
            "and not the name of a suite"
        )
    return name


def select_experiments(suite: Suite, only: str | None) -> list[str]:
    """Return the names of the experiments to train: those in --only, or all of them.

    Raises:
        InputError: --only names an experiment that the suite does not have.
    """
    names = list(dict.fromkeys(only.split(","))) if only else list(suite.experiments)
    for name in names:
        if name not in suite.experiments:
            raise InputError(f"--only: {unknown_name(name, list(suite.experiments))}")
    return names


def experiment_recipe(suite: Suite, name: str, settings: dict[str, Any]) -> Recipe:
    """Return the recipe of an experiment, changed by the settings that the user gave.

    `epochs` sets the length of the longest experiment. The other experiments, and their early-stopping patience, are
    scaled by the same factor. Schedules and early image sizes are defined as fractions of a run's steps, so they scale
    too. The number of warm-up steps does not change.

    Args:
        suite: the suite.
        name: the experiment.
        settings: {Recipe field: value}.

    Raises:
        InputError: the settings are invalid.
    """
    changes = dict(settings)
    if changes.get("epochs", 1) < 1:
        raise InputError(f"--epochs: found {changes['epochs']}, expected a whole number at least 1")
    try:
        recipe = recipe_of(suite, name)
        if "epochs" in changes:
            factor = changes.pop("epochs") / max(recipe_of(suite, other).epochs for other in suite.experiments)
            scaled = ["epochs"] + ["finetune_epochs"] * (recipe.finetune_epochs > 0)
            scaled += ["patience"] * (recipe.stop_on != "nothing" and recipe.patience > 0)
            changes = {field: max(1, round(factor * getattr(recipe, field))) for field in scaled} | changes
        return dataclasses.replace(recipe, **changes)
    except InputError as error:
        raise InputError(f"{name}: {error.as_flags()}") from None
