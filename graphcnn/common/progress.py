"""What a user sees while waiting: a bar on a terminal, nothing in a log (lines go through `say`)."""

from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


def say(line):
    """Print a line on stdout at once, above a running bar."""
    console.print(line)
    console.file.flush()


def show(table):
    """Print a rich table, as wide as it needs to be in a log."""
    wide = Console(width=160, highlight=False, markup=False, emoji=False)
    (console if console.is_terminal else wide).print(table)


@contextmanager
def bar(description, total):
    """Show a bar over `total` images while the block runs; yields advance(images)."""
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=total)
        yield lambda images: progress.advance(task, images)


def clock(seconds):
    """Return a duration as h:mm:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"
