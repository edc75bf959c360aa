"""The division of the processors between simultaneous trainings."""

from __future__ import annotations

import os

from graphcnn.common.processors import processors


def processors_of_jobs(jobs: int) -> list[set[int] | None]:
    """Return the processors of each of `jobs` simultaneous trainings; None means all processors."""
    if jobs == 1 or not hasattr(os, "sched_setaffinity"):
        return [None] * jobs
    available = processors()
    count = len(available) // jobs
    return [set(available[n * count : (n + 1) * count]) for n in range(jobs)]
