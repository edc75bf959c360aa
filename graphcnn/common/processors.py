"""The processors that this process may use: its affinity, and the CPU quota of its control groups on Linux."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

GROUPS = Path("/proc/self/cgroup")  # the control groups of this process, see cgroups(7)
MOUNT = Path("/sys/fs/cgroup")


def processors() -> list[int]:
    """Return the numbers of the processors on which this process may run."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def cores() -> int:
    """Return the number of threads that this process can run at once: its processors, limited by its CPU quota."""
    count = len(processors())
    return max(1, math.ceil(min(count, cpu_quota())))


def cpu_quota(groups: Path = GROUPS, mount: Path = MOUNT) -> float:
    """Return the smallest CPU quota of this process's control groups in processors; infinity without a quota.

    Args:
        groups: the file that lists the control groups.
        mount: the folder of the control groups of version 2, or of the controllers of version 1.
    """
    quotas = [math.inf]
    with suppress(OSError):  # not Linux, or no control groups
        for line in groups.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                quotas += map(_quota_2, _folders(mount, path))
            elif "cpu" in controllers.split(","):
                quotas += map(_quota_1, _folders(mount / "cpu", path))
    return min(quotas)


def _folders(mount: Path, path: str) -> Iterator[Path]:
    """Yield the folders of a control group and of its parents. In a container, some of them are not visible."""
    group = PurePosixPath(path)
    for folder in (group, *group.parents):
        yield mount / folder.relative_to("/")


def _quota_2(folder: Path) -> float:
    """Return the quota of a control group of version 2, in processors."""
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (folder / "cpu.max").read_text().split()
        return float(quota) / float(period)  # a ValueError for "max"
    return math.inf


def _quota_1(folder: Path) -> float:
    """Return the quota of a control group of version 1, in processors."""
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (float((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return quota / period if quota > 0 else math.inf
    return math.inf
