"""The executor: real threads over a real core; what a task may do, and what is made of it."""

from __future__ import annotations

import asyncio
import gc
import os
import queue
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from windrow.errors import PickleError, TaskError
from windrow.runtime import LoopThread
from windrow.wire import failure, payload
from windrow.wire.messages import Attached, Blob, Done, Erred, Free, FreeFunctions, Function, Ghosts, Run, TaskId
from windrow.worker.core import WorkerCore
from windrow.worker.executor import Executor
from windrow.worker.state import Packed

LIMIT_S = 10.0


class Gate:
    """A door between a test and its tasks, which run in the same process."""

    def __init__(self) -> None:
        self.entered: queue.Queue[object] = queue.Queue()
        self.opened = threading.Event()

    def wait(self, value: object = None) -> object:
        """A task comes in, and waits until the test opens."""
        self.entered.put(value)
        assert self.opened.wait(LIMIT_S)
        return value

    def await_entry(self) -> object:
        """The test waits until a task is inside."""
        return self.entered.get(timeout=LIMIT_S)


GATES: dict[str, Gate] = {}


def through(gate: str, value: object = None) -> object:
    """Task: wait at a gate."""
    return GATES[gate].wait(value)


class Shop:
    """An executor with its core, and the loop's part of a worker played by the test."""

    def __init__(self, loop: asyncio.AbstractEventLoop, nthreads: int = 1, inline_limit: int = 1000) -> None:
        self.core = WorkerCore()
        self.wakes: queue.Queue[str] = queue.Queue()
        self.cells = memoryview(bytearray(8 * nthreads)).cast("q")
        wake = lambda: self.wakes.put(threading.current_thread().name)  # noqa: E731
        self.executor = Executor(self.core, nthreads, wake, loop, inline_limit, self.cells)
        self.heard: list[Any] = []
        self.functions: dict[Callable[..., Any], int] = {}
        self.executor.start()

    def hear(self, *messages: Any) -> None:
        """Messages of the scheduler arrive."""
        with self.executor.lock:
            self.core.receive(list(messages))
            self.executor.offer()

    def number(self, function: Callable[..., Any]) -> int:
        """The number of a function, which the worker is sent when it is new."""
        number = self.functions.get(function)
        if number is None:
            number = self.functions[function] = len(self.functions) + 1
            self.hear(Function(number, getattr(function, "__name__", "?"), payload.dumps(function)))
        return number

    def order(self, task: int, function: Callable[..., Any], *args: object, inputs: tuple[int, ...] = ()) -> Run:
        """An attempt, not yet sent."""
        blob = payload.dumps((args, {}))
        return Run(
            TaskId(task), 1, f"k{task}", self.number(function), blob, 0.0, True, [TaskId(source) for source in inputs]
        )

    def submit(self, task: int, function: Callable[..., Any], *args: object) -> None:
        """An attempt arrives."""
        self.hear(self.order(task, function, *args))

    def outcomes(self, count: int = 1) -> list[Any]:
        """Carry away what is said until there are so many outcomes; return them."""
        while len(self.heard) < count:
            self.wakes.get(timeout=LIMIT_S)
            with self.executor.lock:
                self.executor.taken()
                self.heard += [message for message in self.core.take_out() if type(message) is not Ghosts]
                self.executor.offer()
        assert len(self.heard) == count, self.heard
        heard, self.heard = self.heard, []
        return heard

    def done(self, task: int, function: Callable[..., Any], *args: object) -> Done:
        """Run one attempt that succeeds."""
        self.submit(task, function, *args)
        [done] = self.outcomes()
        assert type(done) is Done, failure.load(done.error)
        return done

    def erred(self, task: int, function: Callable[..., Any], *args: object) -> tuple[BaseException, Erred]:
        """Run one attempt that fails."""
        self.submit(task, function, *args)
        [erred] = self.outcomes()
        assert type(erred) is Erred, erred
        return failure.load(erred.error, erred.text), erred

    def close(self) -> None:
        """Let gates open, and threads end."""
        for gate in GATES.values():
            gate.opened.set()
        GATES.clear()
        self.executor.stop()
        for thread in self.executor._threads:
            thread.join(LIMIT_S)
            assert not thread.is_alive()


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


def double(x: Any) -> Any:
    return 2 * x


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
    assert (done.value, done.value_type) == (None, None)
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


# ---------------------------------------------------------------- errors


class Odd(Exception):
    """An exception of the user's own."""


def fails(message: str) -> None:
    deeper(message)


def deeper(message: str) -> None:
    raise Odd(message)


def test_error_arrives_with_its_type_and_the_user_s_frames_only(shop: Shop) -> None:
    error, erred = shop.erred(1, fails, "no luck")
    assert type(error) is Odd
    assert str(error) == "no luck"
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)] == ["fails", "deeper"]
    assert "worker/executor.py" not in erred.text
    assert "deeper" in erred.text
    assert erred.text.rstrip().endswith("no luck")
    assert erred.seconds >= 0


def test_error_of_wrong_arguments_has_no_frames_of_ours(shop: Shop) -> None:
    error, erred = shop.erred(1, fails)
    assert isinstance(error, TypeError)
    assert "worker/executor.py" not in erred.text


def test_nothing_is_kept_of_a_failed_task(shop: Shop) -> None:
    shop.erred(1, fails, "no")
    assert not shop.core.data
    assert not shop.core.attempts
    assert shop.core.running == 0


def raise_it(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_would_end_the_user_s_program_arrives_as_a_task_error(shop: Shop, kind: type[BaseException]) -> None:
    error, _ = shop.erred(1, raise_it, kind("bye"))
    assert type(error) is TaskError
    assert f"'k1' raised {kind.__name__}(bye)" in str(error)
    shop.done(2, double, 1)


def test_sys_exit_does_not_end_the_thread(shop: Shop) -> None:
    error, _ = shop.erred(1, sys.exit, 3)
    assert "SystemExit(3)" in str(error)
    shop.done(2, double, 1)


def raises_locked() -> None:
    raise Odd(threading.Lock())


def test_exception_that_cannot_travel_is_named(shop: Shop) -> None:
    error, erred = shop.erred(1, raises_locked)
    assert isinstance(error, PickleError)
    assert "Odd" in str(error)
    assert "lock" in str(error)
    assert "raises_locked" in erred.text


class Mute(Exception):
    """Cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def raises_mute() -> None:
    raise Mute


def test_exception_that_cannot_be_printed_arrives(shop: Shop) -> None:
    error, _ = shop.erred(1, raises_mute)
    assert type(error) is Mute
    shop.done(2, double, 1)


def test_function_that_cannot_be_loaded_errs_with_advice(shop: Shop) -> None:
    shop.hear(Function(9, "theirs", b"cno_such_module\nf\n."))
    shop.hear(Run(TaskId(1), 1, "k1", 9, payload.dumps(((), {}))))
    [erred] = shop.outcomes()
    error = failure.load(erred.error)
    assert isinstance(error, TaskError)
    assert "'theirs' cannot be loaded on this worker" in str(error)
    assert "no_such_module" in str(error)
    assert isinstance(error.__cause__, ModuleNotFoundError)


def test_arguments_that_cannot_be_loaded_err(shop: Shop) -> None:
    shop.hear(Run(TaskId(1), 1, "k1", shop.number(double), b"cno_such_module\nf\n."))
    [erred] = shop.outcomes()
    assert isinstance(failure.load(erred.error), ModuleNotFoundError)


class Unsized:
    """Its size cannot be told."""

    @property
    def nbytes(self) -> int:
        raise ValueError("how rude")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_result_whose_size_cannot_be_told_does_not_end_the_thread(shop: Shop) -> None:
    shop.submit(1, Unsized)
    shop.executor._threads[0].join(0.2)  # as a rule it serves on; a defect shows at once
    assert shop.executor._threads[0].is_alive()
    shop.outcomes()


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


def wait_until_idle(shop: Shop) -> None:
    """Wait until all threads wait for work (the condition tells, under the executor's own lock)."""
    end = time.monotonic() + LIMIT_S
    while True:
        with shop.executor.lock:
            if shop.executor._idle == len(shop.executor._threads) and not shop.core.ready:
                return
        assert time.monotonic() < end
        time.sleep(0)


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
