"""Errors that a user can fix. Code acts on their types and fields, never on the words of a message."""

# ruff: noqa: N818 (names that say what happened)

from __future__ import annotations

import difflib
import errno
import os
import re
from collections.abc import Iterable
from pathlib import Path

FEW = 12  # largest number of names that an error line lists
LONG_NAME = 100  # characters of an unknown name that are compared with the known names
PACKAGE = Path(__file__).resolve().parents[1]
MACHINE = (  # errors of the disk, of permissions and of limits
    errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.EFBIG, errno.EACCES, errno.EPERM,
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN,
)  # fmt: skip


class InputError(Exception):
    """Bad input. The message is one line: which file or flag, what was found, what was expected, what to do.

    A command prints this line on stderr without a traceback and ends with exit status 2.
    """

    def as_flags(self) -> str:
        """Return the line that a command prints."""
        return str(self)


class SettingError(InputError):
    """A setting of a recipe has a value that is not possible.

    Args:
        setting: name of the Recipe field.
        problem: what was expected and what to do. It names another setting as {name}.
        found: the value. None: it is already in `problem`.
    """

    def __init__(self, setting: str, problem: str, found: object = None) -> None:
        self.setting, self.problem, self.found = setting, problem, found
        super().__init__(self._worded(""))

    def as_flags(self) -> str:
        """Return the line with each setting written as a flag: --learning_rate."""
        return self._worded("--")

    def _worded(self, prefix: str) -> str:
        value = "" if self.found is None else f"={self.found}"
        return f"{prefix}{self.setting}{value}: {_with_settings(self.problem, prefix)}"


class FileError(InputError):
    """A file cannot be used.

    Args:
        path: the file.
        problem: what was found, what was expected and what to do.
    """

    def __init__(self, path: Path, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"{path}: {problem}")


class DamagedRun(FileError):
    """A file of a run has changed: its sha256 differs from the one in the manifest."""


class UnsafeFile(FileError):
    """A file is a link, a FIFO or a device, or it is larger than any file of its type; it was not read."""


class BadImage(FileError):
    """The content of an image is damaged, too large or of another format. Another try gives the same error."""


class RefusedSubmission(InputError):
    """A submission cannot be graded. The message names the file in it, what was found, and what to do."""


class UnreadableFile(FileError):
    """The system cannot read a file, for example because of an error of the disk. A later try may succeed."""


class FileLocked(InputError):
    """Another process holds the lock of a file."""


class Diverged(InputError):
    """Training stopped because the loss or a weight is not finite.

    Args:
        epoch: number of the unfinished epoch, counted from 1.
        problem: what is not finite, which checkpoint is kept and what to do. It names a setting as {name}.
    """

    def __init__(self, epoch: int, problem: str) -> None:
        self.epoch, self.problem = epoch, problem
        super().__init__(self._worded(""))

    def as_flags(self) -> str:
        """Return the line with each setting written as a flag: --learning_rate."""
        return self._worded("--")

    def _worded(self, prefix: str) -> str:
        return f"epoch {self.epoch}: {_with_settings(self.problem, prefix)}"


class WorkerLost(InputError):
    """A worker of a distributed training can no longer be reached.

    Args:
        worker: its index in TF_CONFIG.
        problem: which worker, and what to do.
    """

    def __init__(self, worker: int, problem: str) -> None:
        self.worker, self.problem = worker, problem
        super().__init__(problem)


class DownloadFailed(InputError):
    """A file cannot be downloaded: there is no network, the server does not answer, or the connection broke.

    Args:
        url: address of the file.
        problem: what happened and what to do.
    """

    def __init__(self, url: str, problem: str) -> None:
        self.url, self.problem = url, problem
        super().__init__(f"{url}: {problem}")


class WeightsUnavailable(InputError):
    """Published weights are not available: none exist, the download failed, or their package is not installed.

    Args:
        net: the net's name.
        problem: what happened and what to do.
    """

    def __init__(self, net: str, problem: str) -> None:
        self.net, self.problem = net, problem
        super().__init__(problem)


class Interrupted(Exception):
    """The user asked to stop with SIGINT or SIGTERM; the last finished epoch is saved.

    Args:
        signal: the number of the signal.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal


def _with_settings(text: str, prefix: str) -> str:
    """Return a text with each {name} replaced by prefix + name, and each doubled brace by a single one."""

    def replaced(match: re.Match[str]) -> str:
        return prefix + match[1] if match[1] else match[0][0]

    return re.sub(r"\{\{|\}\}|\{(\w+)\}", replaced, text)


def literal(text: str) -> str:
    """Return a text for the problem of a SettingError in which braces stand for themselves."""
    return text.replace("{", "{{").replace("}", "}}")


def unknown_name(name: object, names: Iterable[str]) -> str:
    """Return "unknown name 'x'; did you mean 'y'? (expected one of: a, b, c)" for an error line.

    If there are more than FEW names, the line has only the three nearest ones.
    """
    names, start = list(names), str(name)[:LONG_NAME]
    if len(names) > FEW:
        *others, last = map(repr, difflib.get_close_matches(start, names, n=3, cutoff=0))
        return f"unknown name {name!r}; did you mean {', '.join(others)} or {last}? (the nearest of {len(names)} names)"
    near = difflib.get_close_matches(start, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown name {name!r}; {hint}(expected one of: {', '.join(names)})"


def is_fault(error: Exception) -> bool:
    """Return whether an error is a fault of this package, and not bad input or a problem of the machine.

    An OSError about a file outside the package is no fault, for example if the file does not exist.
    """
    if isinstance(error, InputError):
        return False
    if not isinstance(error, OSError):
        return True
    if error.errno in MACHINE:
        return False
    if not isinstance(error.filename, (str, bytes)) or error.errno in (None, errno.EBADF):
        return True
    return Path(os.path.abspath(os.fsdecode(error.filename))).is_relative_to(PACKAGE)  # noqa: PTH100 (links stay)


def error_line(error: InputError | OSError) -> str:
    """Return an error as one line: the line of an InputError, or "path: reason" of an OSError."""
    if isinstance(error, InputError):
        return error.as_flags()
    return f"{error.filename or 'writing'}: {error.strerror or error}"
