"""Values on their way out of a worker: those on disk, for processes of its host and for others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from windrow import memfd, segments
from windrow.wire import payload, sharing
from windrow.wire.blobs import Attached, Blob, Shared
from windrow.wire.messages import TaskId
from windrow.worker import packing
from windrow.worker.packing import Packing
from windrow.worker.store import Elsewhere, LostValueError, Store

pytestmark = pytest.mark.skipif(not memfd.host_token(), reason="this system has no memory of this kind")

ID = TaskId(7)


class OnDisk(Elsewhere):
    """A value that is read as often as it is asked for."""

    def __init__(self, value: Any) -> None:
        super().__init__(8)
        self.value = value
        self.reads = 0

    def pack(self) -> Blob:
        self.reads += 1
        if self.value is None:
            raise LostValueError("it is gone")
        return payload.dumps(self.value, borrow=True)


class Loop:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.due: list[tuple[float, Any]] = []

    def call_soon_threadsafe(self, call: Any, *args: Any) -> None:
        call(*args)

    def call_later(self, seconds: float, call: Any, *args: Any) -> None:
        self.due.append((seconds, lambda: call(*args)))


class Holder:
    """A worker that holds one value, which is on disk."""

    def __init__(self, value: Any) -> None:
        self.executor = SimpleNamespace(lock=threading.Lock())
        self.core = SimpleNamespace(data=Store())
        self.memory_manager = self
        self.loop = Loop()
        self.has_room = True
        self.packing = Packing(self)  # type: ignore[arg-type]
        self.put(value)

    def put(self, value: Any) -> None:
        self.marker = OnDisk(value)
        self.core.data.put_elsewhere(ID, self.marker)

    @contextmanager
    def room_for(self, _nbytes: int) -> Iterator[bool]:
        yield self.has_room

    def asked(self, near: bool) -> Any:
        [blob] = self.packing.values([ID], near)
        return blob


@pytest.fixture
def array() -> Any:
    return np.arange(100_000.0)


def test_who_is_on_the_host_maps_what_is_on_disk(array: Any) -> None:
    worker = Holder(array)
    blob = worker.asked(near=True)
    assert type(blob) is Shared
    np.testing.assert_equal(payload.loads(blob), array)
    assert worker.core.data[ID] is worker.marker  # where it takes up nothing


def test_who_is_elsewhere_is_sent_it(array: Any) -> None:
    worker = Holder(array)
    blob = worker.asked(near=False)
    assert type(blob) is Attached
    np.testing.assert_equal(payload.loads(blob), array)


def test_it_is_read_once_for_all_who_ask_within_a_while(array: Any) -> None:
    worker = Holder(array)
    blobs = [worker.asked(near=True) for _ in range(3)]
    assert worker.marker.reads == 1
    assert all(blob == blobs[0] for blob in blobs)
    assert not any("held" in blob.__dict__ for blob in blobs)


def test_after_a_while_it_is_held_no_more(array: Any) -> None:
    worker = Holder(array)
    blob, before = worker.asked(near=True), memfd.held.total()
    assert [seconds for seconds, _ in worker.loop.due] == [packing.LENT_S]
    worker.loop.due.pop()[1]()
    segments.give_back()
    assert memfd.held.total() <= before - array.nbytes
    assert not sharing.attached(blob)  # who comes now asks again
    again = worker.asked(near=True)
    assert worker.marker.reads == 2
    np.testing.assert_equal(payload.loads(again), array)


def test_who_has_opened_it_keeps_it(array: Any) -> None:
    worker = Holder(array)
    found = payload.loads(worker.asked(near=True))
    worker.loop.due.pop()[1]()
    Holder(array + 1).asked(near=True)
    np.testing.assert_equal(found, array)


def test_a_value_that_was_made_again_is_not_taken_for_the_one_before(array: Any) -> None:
    worker = Holder(array)
    worker.asked(near=True)
    worker.core.data.drop([ID])
    worker.put(array + 1)
    np.testing.assert_equal(payload.loads(worker.asked(near=True)), array + 1)
    (_, first), (_, second) = worker.loop.due
    first()  # that of the one before ends nothing of this one
    worker.asked(near=True)
    assert worker.marker.reads == 1
    second()
    worker.asked(near=True)
    assert worker.marker.reads == 2


@pytest.mark.parametrize("value", ["small", np.arange(100.0)])
def test_what_is_small_is_sent(value: Any) -> None:
    assert type(Holder(value).asked(near=True)) is bytes


def test_without_room_it_is_sent(array: Any) -> None:
    worker = Holder(array)
    worker.has_room = False
    assert type(worker.asked(near=True)) is Attached


@pytest.mark.parametrize("near", [True, False])
def test_what_cannot_be_read_is_not_there(near: bool) -> None:
    worker = Holder(None)
    assert worker.asked(near) is None
    assert ID not in worker.core.data
