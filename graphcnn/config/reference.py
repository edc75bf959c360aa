"""Generate docs/reference/flags.md, the reference of all flags, from their definitions.

.venv/bin/python -m graphcnn.config.reference > docs/reference/flags.md
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterable

from absl import flags

from graphcnn.config.command_flags import CommandFlags, text_of
from graphcnn.config.commands import COMMANDS
from graphcnn.config.named import RECIPES
from graphcnn.config.recipe import Recipe
from graphcnn.config.suites import SUITES

HEAD = """# Flags

A command writes this page. Run it again after a change of a flag:

    .venv/bin/python -m graphcnn.config.reference > docs/reference/flags.md

`./run.sh COMMAND --help` prints the flags of a command. Write a flag as `--seed=1` or as `--seed 1`. A flag of the type
*true or false* is switched on by `--batch_norm` and off by `--nobatch_norm`. `--flagfile=FILE` reads flags from a file,
one flag on each line. An unknown flag is an error; the message suggests the nearest name.
"""
SETTINGS_HEAD = """## Settings of a recipe

`train` and `experiments` have a flag for each setting. `./run.sh train --recipe=NAME --help` prints the defaults of one
recipe. The column *default* shows the values of the recipe `assignment`. [The last table](#named-recipes) shows how the
other recipes differ from it.
"""
RECIPES_HEAD = """## Named recipes

This table shows the settings in which the recipes of `--recipe` differ from `assignment`. An empty cell means the value
of `assignment`.
"""
EXPERIMENTS_HEAD = """## Experiments

`--recipe=SUITE/EXPERIMENT` names the recipe of an experiment, and `--suite=SUITE` trains all experiments of a suite.
"""
SETTINGS = {field.name for field in dataclasses.fields(Recipe)}
WITH_SETTINGS = ("train", "experiments")
TYPES = {"int": "whole number", "float": "number", "string": "text", "bool": "true or false"}


def reference() -> str:
    """Return the page."""
    sections = [HEAD]
    for name in COMMANDS:
        module = importlib.import_module(f"graphcnn.{name}")
        values = module.define_flags()
        sections += [f"## {name}\n", f"{(module.__doc__ or '').strip().splitlines()[0]}\n", *_command(name, values)]
        if name == "train":
            settings = values
    sections += [SETTINGS_HEAD, *_settings(settings), RECIPES_HEAD, _recipes(), EXPERIMENTS_HEAD, _experiments()]
    return "\n".join(sections)


def _command(name: str, values: CommandFlags) -> list[str]:
    """Return the table of a command's flags, without the settings of a recipe."""
    paragraphs = []
    if name in WITH_SETTINGS:
        paragraphs.append("[Each setting of a recipe](#settings-of-a-recipe) is a flag of this command too.\n")
    if name == "launch":
        paragraphs.append("Each flag of [train](#train) is a flag of this command too.\n")
    rows = [
        (f"`--{flag.name}`", flag.help, _type(flag), _code(flag.default))
        for members in values.groups().values()
        for flag in members
        if not (name in WITH_SETTINGS and flag.name in SETTINGS)
    ]
    return [*paragraphs, _table(("flag", "meaning", "type", "default"), rows)]


def _settings(values: CommandFlags) -> list[str]:
    """Return a heading and a table for each group of settings."""
    sections = []
    for group in dict.fromkeys(field.metadata["group"] for field in dataclasses.fields(Recipe)):
        rows = [
            (f"`--{field.name}`", values[field.name].help, _type(values[field.name]), _code(field.default))
            for field in dataclasses.fields(Recipe)
            if field.metadata["group"] == group
        ]
        sections += [f"### {group}\n", _table(("flag", "meaning", "type", "default"), rows)]
    return sections


def _recipes() -> str:
    """Return the table of the settings in which the named recipes differ from `assignment`."""
    recipes = {name: dataclasses.asdict(named.recipe) for name, named in RECIPES.items()}
    base = recipes.pop("assignment")
    rows = [
        (
            f"`{name}`",
            _code(default),
            *(_code(settings[name]) if settings[name] != default else "" for settings in recipes.values()),
        )
        for name, default in base.items()
        if any(settings[name] != default for settings in recipes.values())
    ]
    return _table(("setting", *(f"`{name}`" for name in ("assignment", *recipes))), rows)


def _experiments() -> str:
    """Return the table of the experiments of each suite."""
    rows = [(f"`{name}`", ", ".join(map(_code, suite.experiments))) for name, suite in SUITES.items()]
    return _table(("suite", "experiments"), rows)


def _type(flag: flags.Flag) -> str:
    return TYPES[flag.flag_type()]


def _code(value: object) -> str:
    """Return a default as code in Markdown; "" for None."""
    text = text_of(value)
    return f"`{text}`" if text else ""


def _table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    titles = list(titles)
    lines = [titles, ["---"] * len(titles), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    print(reference(), end="")
