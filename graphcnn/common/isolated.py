"""Child processes of Python that import nothing from the current folder and run in a folder of their own."""

from __future__ import annotations

import site
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

BOOTSTRAP = Path(__file__).with_name("bootstrap.py")


def python_command(python: str | Path = sys.executable) -> list[str]:
    """Return the command that starts Python isolated from the current folder and from variables such as PYTHONPATH.

    Its option is -I. If this process imports libraries from the user's own site folder (pip install --user), which -I
    leaves out, the option is -E; a module is then run by BOOTSTRAP, and a script by its path.
    """
    return [str(python), "-E" if site.getusersitepackages() in sys.path else "-I"]


def module_command(module: str, arguments: Iterable[str], python: str | Path = sys.executable) -> list[str]:
    """Return the command that runs a module of this package.

    Args:
        module: the module, such as graphcnn.train.
        arguments: arguments of the module. Their paths are absolute.
        python: path of the interpreter.
    """
    return [*python_command(python), str(BOOTSTRAP), module, *arguments]


def working_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a new empty folder for a child process to run in, which is deleted at the end of a `with` block."""
    return tempfile.TemporaryDirectory(prefix="graphcnn-", ignore_cleanup_errors=True)
