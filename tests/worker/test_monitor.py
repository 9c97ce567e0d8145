"""What a worker does about its memory: here with a stand-in for the worker, and every step made by the test."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from windrow.node import Status
from windrow.plugins.scratch import Scratch
from windrow.wire.messages import Paused
from windrow.worker import monitor as module
from windrow.worker.core import WorkerCore
from windrow.worker.memory import Marks, MemoryOptions
from windrow.worker.monitor import MemoryMonitor
from windrow.worker.spill import Spilled

MB = 2**20


class StandIn:
    """A worker of which there is as much as its monitor looks at; its process takes what the test says."""

    def __init__(self, scratch: Scratch, **options: Any) -> None:
        self.core = WorkerCore()
        self.scratch = scratch
        self.status = Status.running
        self.config = SimpleNamespace(name="w")
        self.offers = 0
        self.executor = SimpleNamespace(lock=threading.Lock(), offer=self._offer)
        self.loop = SimpleNamespace(time=lambda: 0.0)
        self.process = 0
        self.now_s = 1000.0
        self.monitor = MemoryMonitor(self, MemoryOptions(compression=None, **options), 100 * MB)  # type: ignore[arg-type]

    def _offer(self) -> None:
        self.offers += 1

    def visit(self, change: Callable[[], None]) -> None:
        with self.executor.lock:
            change()

    def hold(self, id: int, value: Any, nbytes: int) -> None:
        with self.executor.lock:
            self.core.data[id] = value
            self.core.data.count(id, nbytes)
            self.core.names[id] = f"load-{id}"

    def write(self) -> None:
        """What the writing thread does."""
        while not self.monitor._queue.empty():
            job = self.monitor._queue.get()
            assert job is not None
            job()

    def said(self) -> list[Any]:
        return self.core.take_out()


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return make(tmp_path, monkeypatch)


def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> StandIn:
    worker = StandIn(Scratch(str(tmp_path / "own")), **options)
    monkeypatch.setattr(module, "resident_bytes", lambda: worker.process)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: worker.now_s))
    monkeypatch.setattr(MemoryMonitor, "_start_thread", lambda self: None)
    return worker


def array(nbytes: int) -> np.ndarray:
    return np.zeros(nbytes // 8)


def on_disk(worker: StandIn) -> list[int]:
    return sorted(id for id, value in worker.core.data.items() if isinstance(value, Spilled))


def test_values_go_to_disk_when_there_is_too_much(worker: StandIn) -> None:
    for id in range(8):
        worker.hold(id, array(10 * MB), 10 * MB)
    worker.process = 60 * MB  # less than its values are thought to take
    worker.monitor.look()
    worker.write()
    assert on_disk(worker) == [0, 1]
    assert worker.core.data.managed == 60 * MB
    assert worker.offers, "threads that were held back are woken"
    assert worker.monitor.disk.used > 20 * MB


def test_a_process_that_is_too_large_writes_more_than_its_values_call_for(worker: StandIn) -> None:
    for id in range(4):
        worker.hold(id, array(10 * MB), 10 * MB)
    worker.process = 75 * MB
    worker.monitor.look()
    assert worker.core.data.marks == Marks(60 * MB, 35 * MB, 25 * MB, 40 * MB)
    worker.write()
    assert on_disk(worker) == [0, 1, 2, 3], "as the process stays as large as it was"


def test_tasks_go_on_when_a_process_that_was_too_large_shrinks_before_anything_is_written(worker: StandIn) -> None:
    for id in range(3):
        worker.hold(id, array(10 * MB), 10 * MB)
    worker.process = 69 * MB
    worker.monitor.look()
    worker.hold(3, array(10 * MB), 10 * MB)
    assert worker.core.next_attempt() is None
    assert worker.core.data.is_brimful, "no thread starts a task"
    worker.process = 50 * MB
    worker.monitor.grown()
    assert worker.monitor._queue.empty(), "there is nothing to write, and so nobody else to wake them"
    assert worker.offers == 1
    worker.monitor.look()
    assert worker.offers == 1


def test_pause_and_resume(worker: StandIn) -> None:
    worker.process = 81 * MB
    worker.monitor.look()
    assert worker.said() == [Paused(True)]
    assert worker.status is Status.paused
    worker.monitor.look()
    assert worker.said() == []
    worker.process = 79 * MB
    worker.monitor.look()
    assert worker.said() == [Paused(False)]
    assert worker.status is Status.running


def test_a_worker_that_closes_is_not_said_to_run(worker: StandIn) -> None:
    worker.status = Status.closing
    worker.monitor.look()
    assert worker.status is Status.closing


def test_a_pause_that_lasts_is_told_once_with_what_holds_the_memory(
    worker: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    worker.hold(1, (x for x in "cannot be pickled"), 30 * MB)
    worker.hold(2, (x for x in "cannot be pickled"), 20 * MB)
    worker.process = 90 * MB
    worker.monitor.look()
    worker.write()
    caplog.clear()
    for _ in range(4):
        worker.now_s += 0.6
        worker.monitor.look()
    [record] = caplog.records
    words = record.getMessage()
    assert "90 % of its limit of 100.0 MiB" in words
    assert "below 80 % (distributed.worker.memory.pause)" in words
    assert "load (2 of 50.0 MiB together)" in words
    worker.process = 10 * MB
    worker.monitor.look()
    assert len(caplog.records) == 1


def test_a_short_pause_is_not_told(worker: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    worker.process = 90 * MB
    worker.monitor.look()
    worker.now_s += 0.5
    worker.process = 10 * MB
    worker.monitor.look()
    worker.now_s += 5.0
    worker.monitor.look()
    assert not caplog.records


def test_what_cannot_be_pickled_stays_and_is_told_once(worker: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    for id in range(3):
        worker.hold(id, (x for x in "abc"), 30 * MB)
    worker.hold(9, array(20 * MB), 20 * MB)
    worker.monitor.look()
    worker.write()
    assert on_disk(worker) == [9]
    assert worker.core.data.managed == 90 * MB
    [record] = caplog.records
    assert "generator stays in memory" in record.getMessage()


def test_a_used_up_quota_is_told_once_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker = make(tmp_path, monkeypatch, max_spill=25 * MB)
    for id in range(10):
        worker.hold(id, array(10 * MB), 10 * MB)
    for _ in range(5):
        worker.monitor.look()
        worker.write()
        worker.now_s += 3.0
    assert on_disk(worker) == [0, 1]
    assert worker.monitor.disk.used <= 25 * MB
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "distributed.worker.memory.max-spill" in record.getMessage()
    with worker.executor.lock:
        worker.core.data.drop([0])
    worker.core.data.take_dropped().clear()
    worker.write()
    worker.now_s += module.DISK_RETRY_S
    worker.monitor.look()
    worker.write()
    assert on_disk(worker) == [1, 2], "there is room again"


def test_what_has_a_file_goes_first_when_there_is_no_room_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = make(tmp_path, monkeypatch, max_spill=25 * MB)
    for id in range(8):
        worker.hold(id, array(10 * MB), 10 * MB)
    worker.monitor.look()
    worker.write()
    store = worker.core.data
    for id in on_disk(worker):
        marker: Any = store[id]
        store.unpacked(id, marker, marker.load())
        del marker
    store.set_marks(Marks(target=60 * MB))
    worker.monitor.wake()
    worker.write()
    assert on_disk(worker) == [0, 1]
    assert worker.monitor.disk.used <= 25 * MB


def test_a_full_disk_is_told_once_and_tried_again_later(
    worker: StandIn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[int] = []
    write = worker.monitor.disk.write

    def full(value: Any, nbytes: int) -> Spilled:
        tried.append(nbytes)
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(worker.monitor.disk, "write", full)
    for id in range(7):
        worker.hold(id, array(10 * MB), 10 * MB)
    for _ in range(3):
        worker.monitor.look()
        worker.write()
    assert len(tried) == 1
    [record] = caplog.records
    assert "is full: 70.0 MiB of values stay in memory" in record.getMessage()
    monkeypatch.setattr(worker.monitor.disk, "write", write)
    worker.now_s += module.DISK_RETRY_S
    worker.monitor.look()
    worker.write()
    assert on_disk(worker) == [0]


def test_what_the_allocator_keeps_is_asked_back_now_and_then(worker: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed: list[float] = []
    monkeypatch.setattr(module, "trim", lambda: trimmed.append(worker.now_s))
    worker.process = 90 * MB
    for _ in range(30):
        worker.monitor.look()
        worker.write()
        worker.now_s += 1.0
    assert len(trimmed) == 3


def test_trimming_works() -> None:
    module.trim()


def test_facts_for_the_heartbeat(worker: StandIn) -> None:
    for id in range(8):
        worker.hold(id, array(10 * MB), 10 * MB)
    worker.process = 60 * MB  # less than its values are thought to take
    worker.monitor.look()
    worker.write()
    worker.process = 70 * MB
    facts = worker.monitor.facts()
    assert facts["memory"] == 70 * MB
    assert facts["managed"] == 60 * MB
    assert facts["spilled"] == 20 * MB
    assert facts["spilled_disk"] == worker.monitor.disk.used
    assert facts["unmanaged_old"] == 10 * MB


def test_attributes_that_programs_read_and_set(worker: StandIn) -> None:
    monitor = worker.monitor
    assert (monitor.memory_limit, monitor.max_spill) == (100 * MB, False)
    fractions = monitor.memory_target_fraction, monitor.memory_spill_fraction, monitor.memory_pause_fraction
    assert fractions == (0.6, 0.7, 0.8)
    assert monitor.memory_terminate_fraction == 0.95
    monitor.memory_target_fraction = monitor.memory_spill_fraction = False
    monitor.memory_pause_fraction = 0.5
    assert monitor.memory_target_fraction is False
    assert not monitor.spills
    worker.process = 51 * MB
    monitor.look()
    assert worker.status is Status.paused
    monitor.memory_limit = 200 * MB
    monitor.look()
    assert worker.status is Status.running
    monitor.memory_limit = None
    assert monitor.memory_limit is None


def test_a_worker_without_limit_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = make(tmp_path, monkeypatch)
    worker.monitor.memory_limit = 0
    worker.process = 10**12
    worker.hold(1, array(MB), 10**12)
    worker.monitor.look()
    worker.write()
    assert on_disk(worker) == []
    assert worker.said() == []


def test_there_is_room_for_a_copy_as_long_as_the_worker_would_not_pause(worker: StandIn) -> None:
    worker.process = 50 * MB
    with worker.monitor.room_for(20 * MB) as first, worker.monitor.room_for(20 * MB) as second:
        assert (first, second) == (True, False)  # both are being made
    with worker.monitor.room_for(20 * MB) as again, worker.monitor.room_for(MB // 2) as small:
        assert (again, small) == (True, True)
    worker.process = 79 * MB
    with worker.monitor.room_for(2 * MB) as late:
        assert not late


def test_idle_segments_go_before_values_do(worker: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def give_back() -> int:
        worker.process -= 30 * MB
        return 30 * MB

    monkeypatch.setattr(module.segments, "give_back", give_back)
    worker.hold(1, "value", 40 * MB)
    worker.process = 85 * MB
    worker.monitor.look()
    assert not worker.core.data.is_pressed
    assert not worker.core.paused
