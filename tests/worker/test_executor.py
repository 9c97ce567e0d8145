"""The executor: real threads over a real core; what a task may do, and what is made of it."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from executor_shop import GATES, LIMIT_S, Gate, Shop, double, through, wait_until_idle

from windrow.runtime import LoopThread
from windrow.wire import payload
from windrow.wire.blobs import Attached, Blob
from windrow.wire.messages import (
    STAYS,
    Done,
    Erred,
    Free,
    FreeFunctions,
    Run,
    TaskId,
)
from windrow.worker.store import Packed


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    thread = LoopThread("tasks' loop")
    yield thread.loop
    thread.stop()


@pytest.fixture
def shop(loop: asyncio.AbstractEventLoop) -> Iterator[Shop]:
    shop = Shop(loop)
    yield shop
    shop.close()


@pytest.fixture
def pair(loop: asyncio.AbstractEventLoop) -> Iterator[Shop]:
    """A shop with two threads."""
    shop = Shop(loop, nthreads=2)
    yield shop
    shop.close()


@pytest.fixture
def gate() -> Gate:
    """The gate "g"."""
    GATES["g"] = Gate()
    return GATES["g"]


# ---------------------------------------------------------------- results


def test_result_is_kept_live_and_rides_along(shop: Shop) -> None:
    done = shop.done(1, double, 21)
    assert (done.task, done.attempt) == (1, 1)
    assert done.value is not None
    assert payload.loads(done.value) == 42
    assert shop.core.data[1] == 42
    assert 0 <= done.seconds < LIMIT_S


def test_seconds_are_those_of_the_function(shop: Shop) -> None:
    assert shop.done(1, spin, 0.02).seconds >= 0.02


def spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_keyword_arguments_arrive(shop: Shop) -> None:
    shop.hear(Run(TaskId(1), 1, "k1", shop.number(sorted), payload.dumps((([1, 3, 2],), {"reverse": True}))))
    assert type(shop.outcomes()[0]) is Done
    assert shop.core.data[1] == [3, 2, 1]


@pytest.mark.parametrize(("size", "rides"), [(900, True), (1100, False)])
def test_results_up_to_the_limit_ride_along(shop: Shop, size: int, rides: bool) -> None:
    done = shop.done(1, bytes, size)
    assert (done.value is not None) == rides
    assert done.nbytes >= size
    if not rides:
        assert done.value_type is not None
        assert payload.loads(done.value_type) is bytes


def test_small_result_with_a_large_pickle_stays(shop: Shop) -> None:
    done = shop.done(1, Swollen)
    assert done.value is None
    assert done.value_type is not None


class Swollen:
    """Small to look at, and large to pickle."""

    nbytes = 8

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return bytes, (b"x" * 5000,)


def test_nothing_rides_along_unless_it_is_asked_for(shop: Shop) -> None:
    shop.hear(Run(TaskId(1), 1, "k1", shop.number(double), payload.dumps(((1,), {})), inline=False))
    [done] = shop.outcomes()
    assert (done.value, done.value_type) == (None, None)
    assert shop.core.data[1] == 2


def test_result_that_cannot_travel_stays_and_is_no_error(shop: Shop) -> None:
    done = shop.done(1, threading.Lock)
    assert (done.value, done.value_type) == (None, STAYS)
    assert shop.core.data[1].acquire(blocking=False)  # type: ignore[attr-defined]


def test_coroutine_function_runs_on_the_loop(shop: Shop, loop: asyncio.AbstractEventLoop) -> None:
    shop.done(1, where_am_i)
    assert shop.core.data[1] is loop


async def where_am_i() -> object:
    await asyncio.sleep(0)
    return asyncio.get_running_loop()


def test_coroutine_that_raises_errs(shop: Shop) -> None:
    error, _ = shop.erred(1, raises_later)
    assert isinstance(error, LookupError)


async def raises_later() -> None:
    await asyncio.sleep(0)
    raise LookupError("later")


# ---------------------------------------------------------------- inputs


def test_inputs_are_unpacked_once_and_kept_so(shop: Shop) -> None:
    shop.core.data[1] = Packed(payload.dumps([1, 2]))
    with payload.collecting():
        args = payload.dumps(((Reference("x"),), {}))
    for task in (2, 3):
        shop.hear(Run(TaskId(task), 1, f"k{task}", shop.number(identity), args, inputs=[TaskId(1)]))
        shop.outcomes()
    assert shop.core.data[1] == [1, 2]
    assert shop.core.data[2] is shop.core.data[3] is shop.core.data[1]


class Reference:
    """Pickles as a future does."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __reduce__(self) -> Any:
        return payload.refer(self.key)


def identity(value: Any) -> Any:
    return value


def test_input_that_cannot_be_unpickled_errs_its_task(shop: Shop) -> None:
    shop.core.data[1] = Packed(b"garbage")
    shop.hear(Run(TaskId(2), 1, "k2", shop.number(identity), payload.dumps(((), {})), inputs=[TaskId(1)]))
    [erred] = shop.outcomes()
    assert type(erred) is Erred
    shop.done(3, double, 1)


def test_inputs_values_are_let_go_after_the_run(shop: Shop) -> None:
    shop.core.data[1] = [1]
    with payload.collecting():
        args = payload.dumps(((Reference("x"),), {}))
    before = sys.getrefcount(shop.core.data[1])
    shop.hear(Run(TaskId(2), 1, "k2", shop.number(len), args, inputs=[TaskId(1)]))
    shop.outcomes()
    wait_until_idle(shop)
    after = sys.getrefcount(shop.core.data[1])
    assert after == before


class Precious:
    """Something whose end can be seen."""


def test_an_idle_thread_keeps_nothing_of_its_last_task(shop: Shop) -> None:
    shop.done(1, Precious)
    watch = weakref.ref(shop.core.data[1])
    shop.hear(Free([TaskId(1)]))
    wait_until_idle(shop)
    gc.collect()
    assert watch() is None


# ---------------------------------------------------------------- threads


def test_tasks_run_on_the_executor_s_threads(shop: Shop) -> None:
    shop.done(1, thread_name)
    assert shop.core.data[1] == "windrow-task-0"


def thread_name() -> str:
    return threading.current_thread().name


def test_as_many_run_at_a_time_as_there_are_threads(pair: Shop, gate: Gate) -> None:
    pair.hear(*(pair.order(task, through, "g", task) for task in (1, 2, 3)))
    assert {gate.await_entry(), gate.await_entry()} == {1, 2}
    assert pair.core.running == 2
    assert len(pair.core.ready) == 1
    gate.opened.set()
    assert len(pair.outcomes(3)) == 3


def test_a_free_thread_takes_what_arrives_while_another_works(pair: Shop, gate: Gate) -> None:
    pair.submit(1, through, "g")
    gate.await_entry()
    pair.done(2, double, 1)
    gate.opened.set()
    pair.outcomes()


def test_a_thread_takes_its_next_task_without_the_loop(shop: Shop) -> None:
    shop.hear(*(shop.order(task, double, task) for task in range(1, 101)))
    wait_until_idle(shop)  # and nobody has carried anything away
    assert [message.task for message in shop.core.out] == list(range(1, 101))


def test_the_loop_is_woken_once_for_many_results(shop: Shop) -> None:
    shop.hear(*(shop.order(task, double, task) for task in range(1, 51)))
    wait_until_idle(shop)
    assert shop.wakes.qsize() == 1
    assert len(shop.outcomes(50)) == 50


def test_the_loop_is_woken_again_after_it_has_taken(shop: Shop) -> None:
    for task in (1, 2, 3):
        shop.done(task, double, 1)
    assert shop.wakes.qsize() == 0


def test_a_chain_sent_ahead_runs_on_without_the_loop(shop: Shop) -> None:
    with payload.collecting():
        args = payload.dumps(((Reference("x"),), {}))
    chain: list[Any] = [shop.order(1, int, 1)]
    for task in range(2, 21):
        chain.append(Run(TaskId(task), 1, f"k{task}", shop.number(double), args, inputs=[TaskId(task - 1)]))
    shop.hear(*chain)
    wait_until_idle(shop)
    assert shop.core.data[20] == 2**19
    assert shop.wakes.qsize() == 1


def test_no_more_threads_are_notified_than_there_is_work(pair: Shop) -> None:
    for task in range(1, 30):
        pair.done(task, double, task)
    assert pair.core.running == 0


def test_stop_ends_idle_threads_at_once_and_busy_ones_after_their_task(pair: Shop, gate: Gate) -> None:
    pair.submit(1, through, "g")
    gate.await_entry()
    pair.executor.stop()
    idle = list(pair.cells).index(0)
    pair.executor._threads[idle].join(LIMIT_S)
    assert [thread.is_alive() for thread in pair.executor._threads].count(True) == 1
    gate.opened.set()
    assert type(pair.outcomes()[0]) is Done


def test_freed_task_goes_on_and_its_result_is_nobody_s(shop: Shop, gate: Gate) -> None:
    shop.submit(1, through, "g")
    gate.await_entry()
    shop.hear(Free([TaskId(1)]))
    gate.opened.set()
    shop.done(2, double, 1)
    assert list(shop.core.data) == [2]


# ---------------------------------------------------------------- the flight recorder


def test_recorder_shows_what_runs_and_nothing_else(pair: Shop, gate: Gate) -> None:
    assert list(pair.cells) == [0, 0]
    pair.submit(7, through, "g")
    gate.await_entry()
    assert sorted(pair.cells) == [0, 7]
    GATES["h"] = Gate()
    pair.submit(8, through, "h")
    GATES["h"].await_entry()
    assert sorted(pair.cells) == [7, 8]
    gate.opened.set()
    pair.outcomes()
    GATES["h"].opened.set()
    pair.outcomes()
    wait_until_idle(pair)
    assert list(pair.cells) == [0, 0]


# ---------------------------------------------------------------- functions


LOADS: list[int] = []


def noted_load() -> Callable[[], int]:
    LOADS.append(os.getpid())
    return int


class CountsLoads:
    """A function that notes when it is unpickled."""

    def __call__(self) -> int:
        return 0

    def __reduce__(self) -> Any:
        return noted_load, ()


def test_function_is_loaded_once_until_it_is_freed(shop: Shop) -> None:
    LOADS.clear()
    function = CountsLoads()
    shop.done(1, function)
    shop.done(2, function)
    assert len(LOADS) == 1
    shop.hear(FreeFunctions([shop.functions[function]]))
    with shop.executor.lock:
        shop.executor.taken()
    del shop.functions[function]
    shop.done(3, function)
    assert len(LOADS) == 2
    assert not shop.core.forgotten_functions


# ---------------------------------------------------------------- memory that is shared with the scheduler


@pytest.mark.parametrize("shares_memory", [True, False])
def test_buffers_that_the_scheduler_keeps_are_copied(loop: asyncio.AbstractEventLoop, shares_memory: bool) -> None:
    shop = Shop(loop)
    shop.executor._copy = shares_memory
    blob: Blob = payload.dumps(((np.zeros(100_000),), {}))
    assert type(blob) is Attached
    for buffer in blob.frames:
        buffer.data = bytearray(buffer.data)  # as it is received
    shop.hear(Run(TaskId(1), 1, "k1", shop.number(fill), blob))
    shop.outcomes()
    assert any(blob.frames[1].data) != shares_memory
    shop.close()


def fill(array: Any) -> None:
    array[:] = 7
