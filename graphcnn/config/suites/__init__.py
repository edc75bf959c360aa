"""The suites of --suite, and every recipe of --recipe by its name: `fast`, `ladder/complex_2`."""

from __future__ import annotations

from graphcnn.common.errors import InputError, unknown_name
from graphcnn.config.named import RECIPES, NamedRecipe
from graphcnn.config.suite import recipe_of
from graphcnn.config.suites.assignment import ASSIGNMENT
from graphcnn.config.suites.ensemble import ENSEMBLE
from graphcnn.config.suites.imagenet10 import IMAGENET10
from graphcnn.config.suites.ladder import LADDER
from graphcnn.config.suites.restaurant import RESTAURANT
from graphcnn.config.suites.transfer import TRANSFER

SUITES = {
    "assignment": ASSIGNMENT,
    "ladder": LADDER,
    "restaurant": RESTAURANT,
    "transfer": TRANSFER,
    "ensemble": ENSEMBLE,
    "imagenet10": IMAGENET10,
}


def recipe_names() -> list[str]:
    """Return the names of all recipes. The recipe of an experiment is named <suite>/<experiment>."""
    return [*RECIPES, *(f"{name}/{experiment}" for name, suite in SUITES.items() for experiment in suite.experiments)]


def named_recipe(name: str) -> NamedRecipe:
    """Return the recipe with this name.

    Raises:
        InputError: there is no such recipe. The message suggests the nearest name.
    """
    if name in RECIPES:
        return RECIPES[name]
    if name not in recipe_names():
        raise InputError(f"--recipe: {unknown_name(name, recipe_names())}")
    suite_name, experiment = name.split("/")
    suite = SUITES[suite_name]
    description = f"{suite.source}; experiment {experiment}: {suite.experiments[experiment].description}"
    return NamedRecipe(recipe=recipe_of(suite, experiment), description=description)
