"""The folders of the package, and which of them may import which."""

import ast
import re
from pathlib import Path

import pytest

from graphcnn.config.commands import COMMANDS

PACKAGE = Path(__file__).resolve().parents[1] / "graphcnn"
FOLDERS = (  # each imports only folders above it in this list
    "common", "config", "data", "ops", "nets", "graphs", "storage", "weights", "evaluation", "training", "sweeps",
    "submission", "grading", "benchmark", "exporters",
)  # fmt: skip
FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


def imported_folders(path):
    """Return the folders of the package, and the commands, that a file imports anywhere."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("graphcnn.")} - {"__version__"}


def test_every_folder_and_command_is_listed():
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} <= set(FOLDERS)
    assert {path.stem for path in PACKAGE.glob("*.py")} == {*COMMANDS, "__init__", "__main__", "api"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_folder_imports_only_folders_above_it(path):
    own = path.relative_to(PACKAGE).parts[0]
    if own == "__init__.py":
        assert imported_folders(path) <= {"api", "common"}  # at the first use of a name
    elif own == "train.py":
        assert imported_folders(path) <= {*FOLDERS, "api"}
    elif own in FOLDERS:
        assert imported_folders(path) <= set(FOLDERS[: FOLDERS.index(own) + 1])
    else:
        assert imported_folders(path) <= set(FOLDERS), "a command does not import another command"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_tensorflow_is_imported_in_one_place(path):
    programs = ("submission/grader.py", "exporters/scripts/")  # they leave the package
    if not name_of(path).startswith(("ops/tf1.py", *programs)):
        assert "import tensorflow" not in path.read_text()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_matplotlib_is_imported_in_one_place(path):
    if name_of(path) != "evaluation/figure.py":
        assert "import matplotlib" not in path.read_text()
        assert "from matplotlib" not in path.read_text()


def test_locks_are_in_one_place():
    users = {name_of(path) for path in FILES if re.search(r"\b(fcntl|msvcrt)\b", path.read_text())}
    assert users == {"common/locks.py"}
