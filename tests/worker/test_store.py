"""The store: what is held, and what waits to be let go outside the lock."""

from __future__ import annotations

import gc
import weakref

from windrow.wire.messages import TaskId
from windrow.worker.store import Packed, Store


class Value:
    """Something that can be watched."""


def test_what_is_dropped_lives_until_it_is_taken() -> None:
    store = Store()
    value = Value()
    alive = weakref.ref(value)
    store[1] = value
    del value
    store.drop([1, 2])
    assert 1 not in store
    assert alive() is not None
    store.take_dropped()
    gc.collect()
    assert alive() is None
    assert store.take_dropped() == []


def test_what_is_overwritten_is_dropped() -> None:
    store = Store()
    store[1] = "old"
    store.receive(1, b"new")
    assert store.take_dropped() == ["old"]
    packed = store[1]
    assert type(packed) is Packed
    assert packed.blob == b"new"


def test_an_unpacked_value_takes_the_place_of_its_own_blob_only() -> None:
    store = Store()
    store.receive(1, b"first")
    first = store[1]
    assert type(first) is Packed
    store.receive(1, b"second")
    store.unpacked(1, first, "first")
    assert type(store[1]) is Packed
    second = store[1]
    assert type(second) is Packed
    store.unpacked(1, second, "second")
    assert store[1] == "second"


def test_absent_names_the_first_that_is_not_held() -> None:
    store = Store()
    store[1] = None  # None is a value like any other
    assert store.absent([TaskId(1)]) is None
    assert store.absent([TaskId(1), TaskId(3), TaskId(2)]) == 3
