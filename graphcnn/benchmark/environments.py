"""The Python interpreters for Keras and PyTorch. PyTorch can be installed into a separate environment."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from graphcnn.benchmark.implementations import MODULES
from graphcnn.common import paths
from graphcnn.common.errors import InputError, unknown_name
from graphcnn.common.progress import say

ENVIRONMENT = paths.BASE / ".venv-peers"
REQUIREMENTS = paths.REPOSITORY / "requirements-peers.txt"


def find_interpreters(value: str) -> dict[str, str]:
    """Return {implementation: path of its Python} for the value of --implementations.

    Args:
        value: installed, all (install missing libraries), none, or names with commas between them.

    Raises:
        InputError: a name is unknown, or its library is not installed.
    """
    groups = {"installed": list(MODULES), "all": list(MODULES), "none": []}
    interpreters = {}
    for name in groups.get(value, value.split(",")):
        if name not in MODULES:
            raise InputError(f"--implementations: {unknown_name(name, [*groups, *MODULES])}")
        python = _interpreter(name, install=value == "all" and paths.IN_CLONE)
        advice = f"--implementations=all installs it into {ENVIRONMENT.name}"
        if not paths.IN_CLONE:
            advice = 'the extra bench has it: pip install "graphcnn[bench]"'
        if python:
            interpreters[name] = str(python)
        elif value == "installed":
            say(f"{name} is not installed; {advice}")
        else:
            raise InputError(f"--implementations: {name} is not installed; {advice}")
    return interpreters


def _interpreter(name: str, install: bool) -> str | Path | None:
    """Return a Python that has the implementation's library; None if there is none and `install` is False."""
    if importlib.util.find_spec(MODULES[name]):
        return sys.executable
    python = ENVIRONMENT / "bin" / "python"
    if name != "pytorch":  # the environment has only PyTorch
        return None
    if not _has_module(python, MODULES[name]):
        if not install:
            return None
        _install(python)
    return python


def _has_module(python: Path, module: str) -> bool:
    program = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return python.exists() and subprocess.run([python, "-I", "-c", program], check=False).returncode == 0


def _install(python: Path) -> None:
    """Create the environment and install the requirements into it."""
    say(f"installing {REQUIREMENTS.name} into {ENVIRONMENT.name}; this is a large download, needed only once")
    commands = (
        [sys.executable, "-I", "-m", "venv", "--clear", str(ENVIRONMENT)],
        [str(python), "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(REQUIREMENTS)],
    )
    if any(subprocess.run(command, check=False).returncode for command in commands):
        raise InputError(
            f"--implementations=all: installing {REQUIREMENTS.name} failed; check the network and call again"
        )
