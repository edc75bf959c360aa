"""The number of cores: affinity, and quotas of control groups in folders that look like those of Linux."""

import math
import os

import pytest

from graphcnn.common import processors
from graphcnn.common.processors import cores, cpu_quota

QUOTAS = {  # name: (/proc/self/cgroup, {file below the mount point: its content}, quota in processors)
    "version 2": ("0::/a/b\n", {"a/b/cpu.max": "150000 100000"}, 1.5),
    "version 2, of a parent": ("0::/a/b\n", {"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}, 0.5),
    "version 2, in a container": ("0::/\n", {"cpu.max": "200000 100000"}, 2.0),
    "version 2, no quota": ("0::/a\n", {"a/cpu.max": "max 100000"}, math.inf),
    "version 1": (
        "4:memory:/x\n3:cpu,cpuacct:/a\n",
        {"cpu/a/cpu.cfs_quota_us": "300000", "cpu/a/cpu.cfs_period_us": "100000"},
        3.0,
    ),
    "version 1, in a container": (
        "3:cpu,cpuacct:/docker/1f\n",
        {"cpu/cpu.cfs_quota_us": "25000", "cpu/cpu.cfs_period_us": "50000"},
        0.5,
    ),
    "version 1, no quota": (
        "3:cpu:/\n",
        {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},
        math.inf,
    ),
    "a damaged file": ("0::/a\n", {"a/cpu.max": "x"}, math.inf),
    "a period of zero": ("0::/a\n", {"a/cpu.max": "1 0"}, math.inf),
    "no control groups": ("", {}, math.inf),
}


@pytest.mark.parametrize("case", QUOTAS)
def test_cpu_quota(case, tmp_path):
    text, files, expected = QUOTAS[case]
    (tmp_path / "groups").write_text(text)
    for name, content in files.items():
        path = tmp_path / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert cpu_quota(tmp_path / "groups", tmp_path / "mount") == expected


def test_a_machine_without_control_groups_has_no_quota(tmp_path):
    assert cpu_quota(tmp_path / "absent", tmp_path) == math.inf


@pytest.mark.parametrize(("quota", "expected"), [(math.inf, 4), (8.0, 4), (2.0, 2), (1.2, 2), (0.1, 1)])
def test_cores_are_limited_by_the_quota(quota, expected, monkeypatch):
    monkeypatch.setattr(processors, "processors", lambda: [3, 5, 6, 7])
    monkeypatch.setattr(processors, "cpu_quota", lambda: quota)
    assert cores() == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no sched_setaffinity here")
def test_cores_follow_the_affinity():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert cores() == 1
    finally:
        os.sched_setaffinity(0, before)
