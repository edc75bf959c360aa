"""Output for the user: lines, tables, and a progress bar that is shown on a terminal and not in a log."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from graphcnn.common.text import printable

LOG_WIDTH = 160  # characters of a table that is not printed on a terminal
BAR_WIDTH = 16  # characters of a progress bar without the text beside it; a training's line fits 80 characters
SLOW_SECONDS = 2.0  # time after which `say_if_slow` prints its line

REPORT_FD = "GRAPHCNN_REPORT_FD"  # environment variable with the number of the file descriptor for reports

_inherited = os.environ.pop(REPORT_FD, None)  # removed, so that child processes do not inherit it
_report_fd = int(_inherited) if _inherited else None


class PlainConsole(Console):
    """A console that prints markup unchanged and control characters as escapes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a line, or a cell of a table, as rich prints it."""
        return super().render_str(printable(text), **options)


console = PlainConsole(soft_wrap=True)
_bar_is_shown = False


def say(*lines: str) -> None:
    """Print lines on stdout at once, above a running progress bar. Each argument becomes one line."""
    for line in lines:
        if console.is_terminal:
            console.print(line)
        else:  # no progress bar is shown, and rich would take 0.2 ms for a line
            print(printable(line))
    console.file.flush()


def complain(line: str) -> None:
    """Print a line on stderr at once, with one system call, because several workers share stderr."""
    sys.stderr.write(f"{printable(line)}\n")
    sys.stderr.flush()


def report(event: dict[str, Any]) -> None:
    """Send an event as one line of JSON to the parent process, if it asked for reports.

    Raises:
        BrokenPipeError: the parent process has ended.
    """
    if _report_fd is not None:
        os.write(_report_fd, (json.dumps(event) + "\n").encode())


def print_table(table: Table) -> None:
    """Print a table of rich, at most LOG_WIDTH characters wide in a log."""
    wide = PlainConsole(width=LOG_WIDTH)
    (console if console.is_terminal else wide).print(table)


@contextmanager
def say_if_slow(activity: str) -> Iterator[None]:
    """Print what the block does, such as "importing TensorFlow", if it takes more than SLOW_SECONDS."""

    def announce() -> None:
        with suppress(OSError, ValueError):  # stdout is closed
            say(f"{activity} ...")

    timer = threading.Timer(SLOW_SECONDS, announce)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class Advance(Protocol):
    """Moves a progress bar forward."""

    def __call__(self, amount: float, note: str = "") -> None:
        """Add an amount of finished work; note: the text after the bar."""
        ...


@contextmanager
def bar(description: str, total: float) -> Iterator[Advance]:
    """Show a progress bar while the block runs; nothing is shown in a log, nor inside the block of another bar.

    Args:
        description: the text before the bar.
        total: amount of work, usually a number of images.

    Yields:
        A function advance(amount, note) that moves the bar forward.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(BAR_WIDTH),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    global _bar_is_shown
    hidden = _bar_is_shown or not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task(printable(description), total=total, note="")
        _bar_is_shown = _bar_is_shown or not hidden
        try:
            yield lambda amount, note="": progress.update(task, advance=amount, note=note)
        finally:
            _bar_is_shown = _bar_is_shown and hidden


def format_duration(seconds: float) -> str:
    """Return a duration as h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
