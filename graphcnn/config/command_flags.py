"""CommandFlags: the flags of one command, with aliases for old names and --help in groups."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from absl import flags

from graphcnn.config import recipe
from graphcnn.config.parse import ALIASES, check_one_name

MOST_USED, DATA = "Most used", "Data"
GROUPS = (  # in the order of --help
    MOST_USED, DATA, recipe.NET, recipe.TRANSFER, recipe.OPTIMISATION, recipe.REGULARISATION, recipe.AUGMENTATION,
    recipe.STOPPING, recipe.RUN,
)  # fmt: skip
WIDTH = 100  # characters of a line of --help


class Defaults(NamedTuple):
    """The defaults that --help shows for the settings of a recipe.

    note: a line about them. values: {flag: value}.
    """

    note: str
    values: Mapping[str, object]


class CommandFlags(flags.FlagValues):
    """The flags of one command. An old name is accepted as an alias, but it is not a flag of its own.

    Args:
        aliases: {old name: present name} of this command's flags. The old names of settings are always accepted.
    """

    def __init__(self, aliases: Mapping[str, str] | None = None) -> None:
        super().__init__()
        attributes = self.__dict__  # assigning to an attribute would set the value of a flag
        attributes["aliases"] = {**ALIASES, **(aliases or {})}
        attributes["defaults"] = None

    def show_defaults(self, defaults: Callable[[CommandFlags], Defaults]) -> None:
        """Set the function that returns the defaults for --help. Its argument holds the flags given with --help."""
        self.__dict__["defaults"] = defaults

    def read_flags_from_files(self, argv: Sequence[str], force_gnu: bool = True) -> list[str]:
        """Return the arguments and those of flag files, with the present name of each flag.

        An old name is replaced by the present name, and --dev-split is the same flag as --dev_split.
        """
        arguments = super().read_flags_from_files(argv, force_gnu)
        end = arguments.index("--") if "--" in arguments else len(arguments)
        matches = [re.match(r"--?(\w[\w-]*)(?==|$)", argument) for argument in arguments[:end]]
        check_one_name({match[1] for match in matches if match}, "", "--", self.aliases)
        for n, match in enumerate(matches):
            name = self.aliases.get(match[1], match[1].replace("-", "_")) if match else None
            if match and name and name in self:
                arguments[n] = f"--{name}{arguments[n][match.end() :]}"
        return arguments

    def groups(self) -> dict[str, list[flags.Flag]]:
        """Return {group: its flags} in the order of --help. The flags of a group are in the order of definition."""
        by_group = self.flags_by_module_dict()
        return {group: list(by_group[group]) for group in GROUPS if group in by_group}

    def get_help(self, prefix: str = "", include_special_flags: bool = True) -> str:
        """Return the flags as the text of --help."""
        note, values = self.defaults(self) if self.defaults else Defaults("", {})
        sections = [textwrap.fill(note, WIDTH)] if note else []
        for group, members in self.groups().items():
            entries = [_entry(flag, values.get(flag.name, flag.default)) for flag in members]
            sections.append("\n".join([f"{group}:", *entries]))
        return "\n\n".join(sections)


def text_of(value: object) -> str:
    """Return a default as it is written on a command line; "" for None."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _entry(flag: flags.Flag, default: object) -> str:
    """Return one entry of --help, wrapped. For a switch that is off by default, it does not show the default."""
    shown = "" if flag.default is False and default is False else text_of(default)
    text = f"--{flag.name}: {flag.help}{f' (default: {shown})' if shown else ''}"
    return textwrap.fill(text, WIDTH, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False)
