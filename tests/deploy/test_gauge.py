"""A process's memory seen from outside, and whose death the kernel's count of killed processes stands for."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from windrow.deploy import gauge
from windrow.deploy.gauge import Gauge, OomKills


def test_resident_memory_is_that_of_the_process() -> None:
    measured = Gauge(os.getpid())
    real = psutil.Process().memory_info().rss
    assert 0.5 * real < measured.resident_bytes() < 2 * real
    measured.close()
    measured.close()


@pytest.mark.parametrize("by_file", [True, False])
def test_one_that_has_ended_has_none(by_file: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not by_file:
        monkeypatch.setattr(os, "open", lambda *args: (_ for _ in ()).throw(FileNotFoundError("no /proc here")))
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    measured = Gauge(process.pid)
    assert measured.resident_bytes() > 0
    process.communicate(b"\n")
    assert measured.resident_bytes() == 0
    measured.close()


def test_the_own_peak_is_at_least_what_is_there_now() -> None:
    assert gauge.own_peak_bytes() >= psutil.Process().memory_info().rss * 0.5


class Machine:
    """Files as a kernel shows them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "proc/self").mkdir(parents=True)
        (root / "proc/self/cgroup").write_text("0::/job\n")
        (root / "sys/fs/cgroup/job").mkdir(parents=True)
        self.kills(0)

    def kills(self, count: int) -> None:
        events = f"low 0\nhigh 0\nmax 7\noom {count}\noom_kill {count}\noom_group_kill 0\n"
        (self.root / "sys/fs/cgroup/job/memory.events").write_text(events)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("windrow.deploy.gauge.time.monotonic", lambda: now[0])
    return now


def test_each_kill_stands_for_one_death(machine: Machine, clock: list[float]) -> None:
    machine.kills(3)
    kernel = OomKills(machine.root)
    assert kernel.claim() is None  # what was before is not known
    kernel.look()
    assert kernel.claim() == 0
    machine.kills(5)
    assert [kernel.claim(), kernel.claim(), kernel.claim()] == [1, 1, 0]


def test_a_kill_that_nobody_claims_in_time_was_another_process(machine: Machine, clock: list[float]) -> None:
    kernel = OomKills(machine.root)
    kernel.look()
    machine.kills(1)
    for _ in range(5):
        kernel.look()  # too soon to count
    clock[0] += 1.1
    kernel.look()  # it may be a moment ago
    machine.kills(2)
    assert kernel.claim() == 1
    clock[0] += 1.1
    kernel.look()
    clock[0] += 1.1
    kernel.look()
    assert kernel.claim() == 0


def test_a_machine_that_does_not_say(tmp_path: Path, clock: list[float]) -> None:
    kernel = OomKills(tmp_path)
    kernel.look()
    clock[0] += 2
    kernel.look()
    assert kernel.claim() is None


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no memory of this kind")
def test_what_is_mapped_several_times_counts_once() -> None:
    size = 8 * 2**20
    fd = os.memfd_create("test")
    os.ftruncate(fd, size)
    data = b"x" * size
    measured = Gauge(os.getpid())
    before = measured.resident_bytes()
    views = [mmap.mmap(fd, size) for _ in range(3)]
    for view in views:
        view[:] = data
    assert measured.resident_bytes() - before > 2.5 * size
    assert 0.5 * size < measured.resident_bytes(held=size, viewed=3 * size) - before < 1.5 * size
    for view in views:
        view.close()
    assert 0.5 * size < measured.resident_bytes(held=size, viewed=0) - before < 1.5 * size  # nobody has it mapped
    os.close(fd)
    measured.close()
