"""Which task a thread runs, and where in its code it is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import dask
import msgspec
import pytest
from executor_shop import GATES, Gate, Shop, double, through, wait_until_idle

from windrow import sampling
from windrow.wire.requests import Profile
from windrow.worker.profiler import Profiler


@pytest.fixture
def shop() -> Iterator[Shop]:
    loop = asyncio.new_event_loop()
    shop = Shop(loop, nthreads=2)
    yield shop
    shop.close()
    loop.close()


def profiler_of(shop: Shop) -> Profiler:
    worker: Any = SimpleNamespace(executor=shop.executor, core=shop.core, loop=shop.executor.loop)
    return Profiler(worker)


def tree_of(profiler: Profiler, **request: Any) -> sampling.Tree:
    plain, _, interval_s = msgspec.msgpack.decode(profiler.answer(Profile(**request)))
    assert interval_s == 0.01
    return sampling.from_plain(plain)


def test_a_running_task_is_seen_under_its_kind_and_an_idle_thread_is_not(shop: Shop) -> None:
    profiler = profiler_of(shop)
    wait_until_idle(shop)
    assert not profiler._look(sys._current_frames())
    gate = GATES["g"] = Gate()
    shop.submit(1, through, "g")
    gate.await_entry()
    assert profiler._look(sys._current_frames())
    profiler.sampler.weight = 2  # looks are twice as far apart
    assert profiler._look(sys._current_frames())
    gate.opened.set()
    shop.outcomes(1)
    wait_until_idle(shop)
    assert not profiler._look(sys._current_frames())
    tree = tree_of(profiler, key="through")
    assert tree[0] == 3
    [(name, file, _)] = tree[1]
    assert (name, file) == ("through", __file__.replace("test_profiler", "executor_shop"))
    assert tree_of(profiler, key="other") == [0, {}]
    assert tree_of(profiler) == tree
    assert tree_of(profiler, server=True) == [0, {}]


def test_a_thread_that_has_left_its_place_is_seen_until_its_task_ends(shop: Shop) -> None:
    profiler = profiler_of(shop)
    wait_until_idle(shop)
    before = dict(shop.executor.seats)
    gate = GATES["g"] = Gate()
    shop.submit(1, through, "g")
    gate.await_entry()
    [seat] = [seat for seat in shop.executor.seats.values() if seat.attempt is not None]
    seat.secede()
    assert profiler._look(sys._current_frames())
    assert tree_of(profiler)[0] == 1
    gate.opened.set()
    shop.outcomes(1)
    shop.done(2, double, 4)
    wait_until_idle(shop)
    assert len(shop.executor.seats) == len(before)


def test_a_setting_without_effect_is_told(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    profiler = profiler_of(shop)
    with dask.config.set({"distributed.worker.profile.enabled": False}):
        profiler.start()
        assert not caplog.records
        with dask.config.set({"distributed.worker.profile.low-level": True}):
            profiler.start()
    [record] = caplog.records
    assert "distributed.worker.profile.low-level has no effect" in record.getMessage()
