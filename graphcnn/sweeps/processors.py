"""The processors of this machine, and their division between simultaneous trainings."""

from __future__ import annotations

import os


def processors() -> list[int]:
    """Return the numbers of the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def processors_of_jobs(jobs: int) -> list[set[int] | None]:
    """Return the processors of each of `jobs` simultaneous trainings; None means all processors."""
    if jobs == 1 or not hasattr(os, "sched_setaffinity"):
        return [None] * jobs
    available = processors()
    count = len(available) // jobs
    return [set(available[n * count : (n + 1) * count]) for n in range(jobs)]
