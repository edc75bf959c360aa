"""Python child processes that import nothing from the current folder and run in a new empty folder."""

from __future__ import annotations

import site
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

BOOTSTRAP = Path(__file__).with_name("bootstrap.py")


def python_command(python: str | Path = sys.executable) -> list[str]:
    """Return the command that starts Python in isolated mode: it ignores the current folder and PYTHONPATH.

    The option for this is -I. With -I, Python does not import from the user's site folder (pip install --user). If this
    process imports from that folder, the option is -E. With -E, the current folder is ignored only if a script is run
    by its path; for modules this script is BOOTSTRAP.
    """
    return [str(python), "-E" if site.getusersitepackages() in sys.path else "-I"]


def module_command(module: str, arguments: Iterable[str], python: str | Path = sys.executable) -> list[str]:
    """Return the command that runs a module of this package.

    Args:
        module: the module, such as graphcnn.train.
        arguments: arguments of the module; paths in them must be absolute.
        python: path of the interpreter.
    """
    return [*python_command(python), str(BOOTSTRAP), module, *arguments]


def working_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a new empty folder for a child process to run in, which is deleted at the end of a `with` block."""
    return tempfile.TemporaryDirectory(prefix="graphcnn-", ignore_cleanup_errors=True)
