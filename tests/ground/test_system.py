"""Processors and memory on machines and containers that are shown as trees of files."""

from __future__ import annotations

import logging
import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from windrow import system

GIB = 2**30
V1_NO_LIMIT = "9223372036854771712"

CPU_TREES = {
    "bare machine": ({}, 8),
    "version 2, no quota": ({"sys/fs/cgroup/cpu.max": "max 100000"}, 8),
    "version 2, two": ({"sys/fs/cgroup/cpu.max": "200000 100000"}, 2),
    "version 2, a half": ({"sys/fs/cgroup/cpu.max": "50000 100000"}, 1),
    "version 2, rounded up": ({"sys/fs/cgroup/cpu.max": "250000 100000"}, 3),
    "version 2, parent": (
        {
            "proc/self/cgroup": "0::/a/b",
            "sys/fs/cgroup/a/cpu.max": "100000 100000",
            "sys/fs/cgroup/a/b/cpu.max": "max 1",
        },
        1,
    ),
    "version 2, own": ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/cpu.max": "300000 100000"}, 3),
    "version 2, seen from outside": (
        {"proc/self/cgroup": "0::/../../kubepods/x", "sys/fs/cgroup/cpu.max": "400000 100000"},
        4,
    ),
    "version 1": ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 2),
    "version 1, no quota": (
        {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
        8,
    ),
    "version 1, own": (
        {
            "proc/self/cgroup": "3:cpu,cpuacct:/docker/x\n0::/",
            "sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us": "500000",
            "sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us": "100000",
        },
        5,
    ),
    "version 1, without the short name": (
        {
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "300000",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
        },
        3,
    ),
    "version 1, parent": (
        {
            "proc/self/cgroup": "3:cpu:/a/b",
            "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "200000",
            "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us": "100000",
        },
        2,
    ),
    "both versions": (
        {
            "proc/self/cgroup": "3:cpu:/x\n0::/y",
            "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "400000",
            "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/unified/y/cpu.max": "600000 100000",
        },
        4,
    ),
    "version 2, set": ({"sys/fs/cgroup/cpuset.cpus.effective": "0-2,7"}, 4),
    "version 2, set and quota": (
        {"sys/fs/cgroup/cpuset.cpus.effective": "0-3", "sys/fs/cgroup/cpu.max": "150000 100000"},
        2,
    ),
    "version 1, set": (
        {"proc/self/cgroup": "3:cpuset:/x", "sys/fs/cgroup/cpuset/x/cpuset.cpus": "1,3,5"},
        3,
    ),
    "version 1, empty set": ({"sys/fs/cgroup/cpuset/cpuset.cpus": ""}, 8),
    "a set of nonsense": ({"sys/fs/cgroup/cpuset.cpus.effective": "all"}, 8),
    "more than there are": ({"sys/fs/cgroup/cpu.max": "9900000 100000"}, 8),
    "nonsense": ({"sys/fs/cgroup/cpu.max": "0 0", "proc/self/cgroup": "what\n"}, 8),
}

MEMORY_TREES = {
    "bare machine": ({}, 8 * GIB),
    "version 2, no limit": ({"sys/fs/cgroup/memory.max": "max"}, 8 * GIB),
    "version 2": ({"sys/fs/cgroup/memory.max": str(2 * GIB)}, 2 * GIB),
    "version 2, parent": (
        {
            "proc/self/cgroup": "0::/a/b",
            "sys/fs/cgroup/a/memory.max": str(GIB),
            "sys/fs/cgroup/a/b/memory.max": str(3 * GIB),
        },
        GIB,
    ),
    "version 2, slowed down before": (
        {"sys/fs/cgroup/memory.max": str(4 * GIB), "sys/fs/cgroup/memory.high": str(3 * GIB)},
        3 * GIB,
    ),
    "version 1, parent": (
        {
            "proc/self/cgroup": "5:memory:/a/b",
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": str(2 * GIB),
            "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": V1_NO_LIMIT,
        },
        2 * GIB,
    ),
    "both versions": (
        {
            "proc/self/cgroup": "5:memory:/x\n0::/y",
            "sys/fs/cgroup/memory/x/memory.limit_in_bytes": str(5 * GIB),
            "sys/fs/cgroup/unified/y/memory.max": "max",
        },
        5 * GIB,
    ),
    "more than there is": ({"sys/fs/cgroup/memory.max": str(99 * GIB)}, 8 * GIB),
    "nonsense": ({"sys/fs/cgroup/memory.max": "much", "proc/self/cgroup": "what"}, 8 * GIB),
    "version 1": ({"sys/fs/cgroup/memory/memory.limit_in_bytes": str(4 * GIB)}, 4 * GIB),
    "version 1, no limit": ({"sys/fs/cgroup/memory/memory.limit_in_bytes": V1_NO_LIMIT}, 8 * GIB),
    "version 1, own": (
        {"proc/self/cgroup": "5:memory:/x", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": str(GIB)},
        GIB,
    ),
}


def grow(root: Path, tree: dict[str, str]) -> Path:
    for name, content in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return root


@pytest.mark.parametrize(("tree", "count"), CPU_TREES.values(), ids=list(CPU_TREES))
def test_cpu_count(tmp_path: Path, tree: dict[str, str], count: int) -> None:
    assert system.cpu_count(grow(tmp_path, tree), allowed=8) == count


@pytest.mark.parametrize(("tree", "limit_bytes"), MEMORY_TREES.values(), ids=list(MEMORY_TREES))
def test_memory_limit(tmp_path: Path, tree: dict[str, str], limit_bytes: int) -> None:
    assert system.memory_limit_bytes(grow(tmp_path, tree), total_bytes=8 * GIB) == limit_bytes


def test_this_machine() -> None:
    assert system.cpu_count() >= 1
    assert 0 < system.memory_limit_bytes() <= system.total_memory_bytes()


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system knows no affinity")
def test_affinity() -> None:
    one = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])"
    assert run(f"{one}; from windrow import system; print(system.cpu_count())") == "1"


def test_resource_limits() -> None:
    program = f"""
import resource
from windrow import system
limit = min(system.total_memory_bytes(), {GIB})
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
print(system.memory_limit_bytes("/no/such/tree") == limit)
"""
    assert run(program) == "True"


@pytest.mark.parametrize(
    ("n", "split"),
    [
        (1, (1, 1)), (2, (2, 1)), (3, (3, 1)), (4, (4, 1)), (5, (5, 1)), (6, (3, 2)), (7, (7, 1)), (8, (4, 2)),
        (9, (3, 3)), (10, (5, 2)), (12, (4, 3)), (16, (4, 4)), (24, (6, 4)), (32, (8, 4)), (48, (8, 6)), (64, (8, 8)),
        (96, (12, 8)), (128, (16, 8)),
    ],
)  # fmt: skip
def test_processes_and_threads(n: int, split: tuple[int, int]) -> None:
    assert system.nprocesses_nthreads(n) == split


def test_processes_and_threads_of_nothing() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        system.nprocesses_nthreads(0)


@pytest.mark.parametrize(
    ("given", "limit_bytes"),
    [
        (None, None), (0, None), ("0", None), ("auto", 2 * GIB), (0.5, 4 * GIB), ("0.25", 2 * GIB), (1, 8 * GIB),
        (5000, 5000), ("4GB", 4 * 10**9), ("2 GiB", 2 * GIB), ("100 GiB", 8 * GIB), (float("inf"), 8 * GIB),
    ],
)  # fmt: skip
def test_memory_limits(given: float | str | None, limit_bytes: int | None) -> None:
    assert system.parse_memory_limit(given, 1, 4, system_bytes=8 * GIB) == limit_bytes


def test_auto_is_never_more_than_all() -> None:
    assert system.parse_memory_limit("auto", 16, 4, system_bytes=8 * GIB) == 8 * GIB


def test_a_limit_above_the_system_is_told(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("test")
    with caplog.at_level(logging.WARNING):
        assert system.parse_memory_limit("9 GiB", 1, system_bytes=GIB, logger=logger) == GIB
    assert "9 GiB" in caplog.text


@pytest.mark.parametrize("given", [-1, "-3", float("nan"), "much"])
def test_no_memory_limit(given: float | str) -> None:
    with pytest.raises(ValueError):
        system.parse_memory_limit(given, 1, system_bytes=GIB)


@pytest.mark.parametrize("given", [True, [1]])
def test_memory_limit_of_a_wrong_type(given: object) -> None:
    with pytest.raises(TypeError, match="memory_limit"):
        system.parse_memory_limit(given, 1, system_bytes=GIB)  # type: ignore[arg-type]


# ---------------------------------------------------------------- processes that the kernel has ended

V1 = "4:memory:/docker/a\n0::/\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.events": "oom 3\noom_kill 2\n"}, 2),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/memory.events": "oom_kill 9\n",
                "sys/fs/cgroup/a/b/memory.events": "oom_kill 1\n",
            },
            1,
        ),
        ({"proc/self/cgroup": "0::/out/side\n", "sys/fs/cgroup/memory.events": "oom_kill 4\n"}, 4),
        ({"proc/self/cgroup": V1, "sys/fs/cgroup/memory/docker/a/memory.oom_control": CONTROL}, 2),
        ({"proc/self/cgroup": V1, "sys/fs/cgroup/memory/memory.oom_control": CONTROL}, 2),
        ({"proc/self/cgroup": V1, "sys/fs/cgroup/memory/memory.oom_control": "under_oom 0\n"}, None),
        ({"proc/self/cgroup": "0::/\n", "proc/vmstat": "nr_free_pages 5\noom_kill 7\n"}, 7),
    ],
)
def test_processes_that_the_kernel_has_ended(tmp_path: Path, files: dict[str, str], count: int | None) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert system.oom_kills(tmp_path) == count


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no memory of this kind")
def test_what_is_shared_is_seen_at_once() -> None:
    size = 4 * 2**20
    fd = os.memfd_create("test")
    os.ftruncate(fd, size)
    before = system.shared_bytes()
    with mmap.mmap(fd, size) as shared:
        assert system.shared_bytes() < before + size // 2
        shared.write(b"x" * size)
        assert system.shared_bytes(os.getpid()) >= before + size
    os.close(fd)
    assert system.shared_bytes(2**22 + 1) == 0  # there is no such process


def test_a_process_may_have_as_many_files_open_as_its_hard_limit_says() -> None:
    program = (
        "import resource\n"
        "from windrow import system\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))\n"
        "system.raise_open_files()\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "(300, 300)"
