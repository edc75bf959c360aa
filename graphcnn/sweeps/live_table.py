"""A table of a suite's jobs on the terminal, and the estimated remaining time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.live import Live
from rich.table import Table

from graphcnn.common.progress import console, format_duration
from graphcnn.sweeps.job import Job

LINES_AROUND = 6  # lines of the terminal for borders, titles, caption and prompt


@contextmanager
def live_table(jobs: Sequence[Job], jobs_at_once: int) -> Iterator[Callable[[], None]]:
    """Yield a function that redraws a table of the jobs. It does nothing if stdout is not a terminal."""
    if not console.is_terminal:
        yield lambda: None
        return
    with Live(_table(jobs, jobs_at_once), console=console, auto_refresh=False) as live:
        yield lambda: live.update(_table(jobs, jobs_at_once), refresh=True)


def time_left(jobs: Sequence[Job], jobs_at_once: int) -> str:
    """Return "left h:mm:ss", the estimated time for the remaining epochs.

    The estimate for an epoch is the mean of the experiment's finished epochs. If it has none, the mean over all
    experiments is used.
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
            measured = paces.get(job.experiment)
            pace = sum(measured) / len(measured) if measured else overall
            seconds += max(0, job.recipe.all_epochs() - job.epoch) * pace
    return f"left {format_duration(seconds / jobs_at_once)}"


def _table(jobs: Sequence[Job], jobs_at_once: int) -> Table:
    """Return the table; on a small terminal it omits the first started jobs and the last waiting jobs."""
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
