"""The command line: how a command parses its flags, and how it ends."""

from __future__ import annotations

import io
import os
import shlex
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress

from absl import flags

from graphcnn import __version__
from graphcnn.common import paths, progress
from graphcnn.common.errors import InputError, error_line, is_fault
from graphcnn.common.signals import process_runs_command

HELP = ("--help", "-h", "-help", "--helpfull", "--helpshort")
DEBUG = ("--debug", "-debug", "--debug=true")

Main = Callable[[flags.FlagValues, list[str]], "int | None"]


def run_command(name: str, doc: str, values: flags.FlagValues, main: Main, argv: Sequence[str] | None = None) -> int:
    """Parse the arguments, call main(values, positional arguments) and return the exit status.

    Exit statuses: 0 success, 1 a fault of this package, 2 bad input, 130 interrupted. An error is printed as one line
    on stderr; --debug adds its traceback. The traceback of a fault is also in a file that the line names.

    Args:
        name: the command, for example "train".
        doc: the text above the flags in --help.
        values: the flags of the command.
        main: returns the exit status; None counts as 0.
        argv: the arguments. None: take sys.argv; the process is then expected to exit after the command.
    """
    process_ends = argv is None
    if process_ends:
        process_runs_command()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # names may hold characters that the encoding lacks
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if any(argument in HELP for argument in arguments):
            others = [argument for argument in arguments if argument not in HELP]
            return _run(name, values, _help_printer(doc), others, known_only=True)
        return _run(name, values, main, arguments)
    finally:
        if process_ends:  # a Ctrl-C while Python shuts down would print a traceback
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _help_printer(doc: str) -> Main:
    """Return the function that a command runs for --help: it prints `doc` and the flags."""

    def print_help(values: flags.FlagValues, positional: list[str]) -> int:
        print(f"{doc.strip().replace('./run.sh', paths.PROGRAM)}\n\n{values.get_help()}")
        return 0

    return print_help


def _run(name: str, values: flags.FlagValues, main: Main, arguments: list[str], known_only: bool = False) -> int:
    """Call main with the parsed arguments. Return its exit status, or the exit status of the error that it raised.

    Args:
        known_only: whether unknown flags are ignored.
    """
    debug = any(argument in DEBUG for argument in arguments)
    try:
        positional = values([name, *arguments], known_only=known_only)[1:]
        status = main(values, positional) or 0
        if sys.stdout is not None:
            sys.stdout.flush()  # if this failed while Python shuts down, Python would print a traceback
        _report_end(status)
        return status
    except InputError as error:
        return _fail(name, error, error.as_flags(), 2, debug)
    except flags.Error as error:
        return _fail(name, error, str(error), 2, debug)
    except BrokenPipeError:  # the process that reads stdout has ended, as in `./run.sh eval | head`
        sys.stdout = None
        return 1
    except KeyboardInterrupt as error:
        return _fail(name, error, "interrupted", 130, debug)
    except Exception as error:
        if isinstance(error, OSError) and not is_fault(error):
            return _fail(name, error, error_line(error), 2, debug)
        return _fail(name, error, _fault_line(name, error, arguments), 1, debug)


def _fault_line(name: str, error: Exception, arguments: list[str]) -> str:
    """Write the traceback of the current error into a private temporary file; return a line that names the file."""
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    lines = [f"graphcnn {__version__}, Python {sys.version.split()[0]}", shlex.join([name, *arguments]), ""]
    try:
        descriptor, path = tempfile.mkstemp(prefix=f"graphcnn-{name}-", suffix=".txt")  # only the user can read it
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("\n".join(lines) + "\n" + traceback.format_exc())
    except OSError as problem:
        return f"{reason}; this is a fault of graphcnn, and --debug shows where (no report: {problem})"
    return f"{reason}; this is a fault of graphcnn; please report it with the file {path}, which shows where"


def _fail(name: str, error: BaseException, message: str, status: int, debug: bool) -> int:
    """Print an error as one line on stderr, report it to a parent process, and return the exit status."""
    if debug:
        for line in traceback.format_exc().splitlines():
            progress.complain(line)
    message = " ".join(message.split())
    progress.complain(f"graphcnn {name}: {message}")
    _report_end(status, error, message)
    return status


def _report_end(status: int, error: BaseException | None = None, message: str = "") -> None:
    """Send the exit status and the error to the parent process, if it asked for reports."""
    event = {"event": "end", "status": status}
    if error is not None:
        path = getattr(error, "path", None) or getattr(error, "filename", None)
        event |= {"error": type(error).__name__, "path": path and str(path), "message": message}
    with suppress(OSError):
        progress.report(event)
