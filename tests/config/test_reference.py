"""docs/reference/flags.md agrees with the flags."""

import importlib

import pytest
from test_architecture import COMMANDS

from graphcnn.common.paths import REPOSITORY
from graphcnn.config import reference


def test_the_page_is_what_the_command_writes():
    page = (REPOSITORY / "docs" / "reference" / "flags.md").read_text(encoding="utf-8")
    assert page == reference.reference(), "run: python -m graphcnn.config.reference > docs/reference/flags.md"


def test_the_page_has_every_command():
    assert set(reference.COMMANDS) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_has_a_group_and_is_in_the_page(name):
    values = importlib.import_module(f"graphcnn.{name}").define_flags()
    in_groups = [flag.name for members in values.groups().values() for flag in members]
    assert len(in_groups) == len(set(in_groups))
    assert set(in_groups) == set(values) - {"flagfile", "undefok"}  # flags that absl adds
    page = reference.reference()
    assert [flag for flag in in_groups if f"| `--{flag}` |" not in page] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_is_a_phrase(name):
    values = importlib.import_module(f"graphcnn.{name}").define_flags()
    for members in values.groups().values():
        for flag in members:
            assert len(flag.help.split()) >= 3, flag.name
            assert not flag.help.startswith(("of ", "in ", "for ")), flag.name
