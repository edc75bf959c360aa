"""The jobs of a suite on a terminal, and the time that they still need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.live import Live
from rich.table import Table

from graphcnn.common.progress import console, format_duration
from graphcnn.sweeps.job import Job

LINES_AROUND = 6  # lines of the terminal that are no rows: borders, titles, caption, prompt


@contextmanager
def live_table(jobs: Sequence[Job], jobs_at_once: int) -> Iterator[Callable[[], None]]:
    """Yield refresh(), which renews a table of the jobs on a terminal; in a log it does nothing."""
    if not console.is_terminal:
        yield lambda: None
        return
    with Live(_table(jobs, jobs_at_once), console=console, auto_refresh=False) as live:
        yield lambda: live.update(_table(jobs, jobs_at_once), refresh=True)


def time_left(jobs: Sequence[Job], jobs_at_once: int) -> str:
    """Return "left h:mm:ss" for the missing epochs.

    An epoch counts as long as the mean epoch of the same experiment, or of all experiments where it has none yet.
    """
    paces: dict[str, list[float]] = {}
    for job in jobs:
        if job.epoch:
            paces.setdefault(job.experiment, []).append(job.seconds / job.epoch)
    if not paces:
        return "left ?"
    overall = sum(map(sum, paces.values())) / sum(map(len, paces.values()))
    seconds = 0.0
    for job in jobs:
        if job.state not in ("done", "failed"):
            own = paces.get(job.experiment)
            pace = sum(own) / len(own) if own else overall
            seconds += max(0, job.recipe.all_epochs() - job.epoch) * pace
    return f"left {format_duration(seconds / jobs_at_once)}"


def _table(jobs: Sequence[Job], jobs_at_once: int) -> Table:
    """Return the table; where the terminal is too low, the first started and the last waiting jobs are left out."""
    done = sum(job.state == "done" for job in jobs)
    caption = f"{done} of {len(jobs)} done, {time_left(jobs, jobs_at_once)}"
    table = Table("experiment", "seed", "state", caption=caption)
    for title in ("epoch", "best dev macro F1", "seconds"):
        table.add_column(title, justify="right")
    rows = max(1, console.height - LINES_AROUND)
    started = [job for job in jobs if job.state != "waiting"]
    waiting = [job for job in jobs if job.state == "waiting"]
    for job in [*started, *waiting][max(0, len(started) - rows) :][:rows]:
        table.add_row(
            job.experiment,
            str(job.recipe.seed),
            job.state,
            f"{job.epoch}/{job.recipe.all_epochs()}" if job.epoch else "",
            "" if job.score is None else f"{job.score:.4f}",
            f"{job.seconds:.0f}" if job.seconds else "",
        )
    return table
