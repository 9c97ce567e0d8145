"""Places among the worker's threads: leaving them, coming back, and what threads that tasks start may do to them."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from executor_shop import GATES, LIMIT_S, Gate, Shop, double, through, wait_until_idle

from windrow import context
from windrow.runtime import LoopThread
from windrow.wire import failure
from windrow.wire.messages import Done, Erred


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    thread = LoopThread("tasks' loop")
    yield thread.loop
    thread.stop()


@pytest.fixture
def shop(loop: asyncio.AbstractEventLoop) -> Iterator[Shop]:
    """A shop with one thread."""
    shop = Shop(loop)
    yield shop
    shop.close()


@pytest.fixture
def gate() -> Gate:
    """The gate "g"."""
    GATES["g"] = Gate()
    return GATES["g"]


def seat() -> Any:
    return context.place()


def checked(shop: Shop) -> None:
    """All places are there: the one thread idles, and runs what comes."""
    with shop.executor.lock:
        assert (shop.core.running, shop.core.ghosts, len(shop.executor._waiting)) == (0, 0, 0)
    shop.done(99, double, 1)


def in_thread(run: Callable[[], object]) -> threading.Thread:
    """Start a thread that knows where the task runs which starts it."""
    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,))
    thread.start()
    return thread


# Functions of tasks run in this process: they find what they share here.
DESK: dict[str, Any] = {}


# ---------------------------------------------------------------- one thread


def wait_in_vain() -> str:
    come_back = seat().step_aside()
    GATES["g"].await_entry()  # until another has the place
    come_back(False)
    return "outside" if seat().seceded else "inside"


def test_whose_wait_was_in_vain_goes_on_without_a_place(shop: Shop, gate: Gate) -> None:
    shop.submit(1, wait_in_vain)
    shop.submit(2, through, "g")
    [done] = shop.outcomes()
    assert (done.task, done.value) == (1, shop_value("outside"))
    gate.opened.set()
    assert [done.task for done in shop.outcomes()] == [2]
    checked(shop)


def wait_alone() -> str:
    come_back = seat().step_aside()
    wait_until_idle_but_for_one()
    come_back(False)
    return "outside" if seat().seceded else "inside"


def wait_until_idle_but_for_one() -> None:
    shop: Shop = DESK["shop"]
    ended = threading.Event()
    while not shop.executor._idle:
        ended.wait(0.001)


def test_a_place_that_is_free_is_taken_even_so(shop: Shop) -> None:
    DESK["shop"] = shop
    assert shop.done(1, wait_alone).value == shop_value("inside")
    checked(shop)


def shop_value(value: object) -> Any:
    from windrow.wire import payload

    return payload.dumps(value)


def without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)


def leave_in_vain() -> bool:
    with pytest.MonkeyPatch.context() as patch:
        without_threads(patch)
        assert seat().step_aside() is None
        seat().secede()
        return bool(seat().seceded)


def test_where_no_more_threads_are_to_be_had_a_task_keeps_its_place(shop: Shop) -> None:
    assert shop.done(1, leave_in_vain).value == shop_value(False)
    checked(shop)


def come_back_to_what_stops() -> str:
    come_back = seat().step_aside()
    GATES["g"].await_entry()
    come_back(True)
    return "outside" if seat().seceded else "inside"


def test_who_waits_for_a_place_goes_on_when_the_worker_stops(shop: Shop, gate: Gate) -> None:
    shop.submit(1, come_back_to_what_stops)
    shop.submit(2, through, "g")
    ended = threading.Event()
    while not shop.executor._waiting:
        ended.wait(0.001)
    shop.executor.stop()
    assert [done.value for done in shop.outcomes()] == [shop_value("outside")]
    gate.opened.set()
    assert [done.task for done in shop.outcomes()] == [2]
    assert not shop.executor._waiting


# ---------------------------------------------------------------- threads of tasks


def two_leave() -> list[bool]:
    place = seat()
    first = place.step_aside()
    second: list[Any] = []
    in_thread(lambda: second.append(context.place().step_aside())).join()  # type: ignore[union-attr]
    first(True)
    return [first is None, second[0] is None, place.seceded]


def test_of_two_threads_of_a_task_one_leaves_and_comes_back(shop: Shop) -> None:
    assert shop.done(1, two_leave).value == shop_value([False, True, False])
    checked(shop)


def start_one_that_stays_away() -> None:
    def leave() -> None:
        DESK["come back"] = seat().step_aside()

    in_thread(leave).join()


def test_a_thread_that_is_late_brings_no_ended_task_back(shop: Shop) -> None:
    shop.done(1, start_one_that_stays_away)
    wait_for_one_idle(shop)
    DESK.pop("come back")(True)
    checked(shop)


def start_one_that_comes_back_too_late() -> None:
    def leave_and_come_back() -> None:
        come_back = seat().step_aside()
        GATES["g"].await_entry()  # another has the place
        come_back(True)

    DESK["thread"] = in_thread(leave_and_come_back)
    shop: Shop = DESK["shop"]
    ended = threading.Event()
    while not shop.executor._waiting:
        ended.wait(0.001)


def test_the_end_of_a_task_ends_the_wait_for_its_place(shop: Shop, gate: Gate) -> None:
    DESK["shop"] = shop
    shop.submit(1, start_one_that_comes_back_too_late)
    shop.submit(2, through, "g")
    [done] = shop.outcomes()
    assert done.task == 1
    DESK["thread"].join(LIMIT_S)
    assert not DESK["thread"].is_alive()
    gate.opened.set()
    shop.outcomes()
    checked(shop)


def wait_for_one_idle(shop: Shop) -> None:
    ended = threading.Event()
    while not shop.executor._idle:
        ended.wait(0.001)


def start_one_that_outlives_it() -> None:
    def move() -> None:
        assert seat().priority == 0
        with pytest.raises(RuntimeError, match="has ended"):
            _ = seat().key
        assert seat().step_aside() is None
        seat().secede()
        seat().rejoin()

    def later() -> None:
        DESK["go"].wait(LIMIT_S)
        try:
            move()
        except BaseException as error:
            DESK["error"] = error

    DESK["thread"] = in_thread(later)


def test_a_thread_that_outlives_its_task_moves_nothing(shop: Shop) -> None:
    DESK["go"] = threading.Event()
    shop.done(1, start_one_that_outlives_it)
    wait_until_idle(shop)
    DESK["go"].set()
    DESK["thread"].join(LIMIT_S)
    assert DESK.pop("error", None) is None
    checked(shop)


# ---------------------------------------------------------------- coroutines


async def cancels_itself() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


def test_a_coroutine_that_is_cancelled_on_its_loop_has_an_outcome(shop: Shop) -> None:
    error, erred = shop.erred(1, cancels_itself)
    assert type(erred) is Erred
    assert "CancelledError" in str(error)
    checked(shop)


async def soon() -> int:
    await asyncio.sleep(0)
    return 5


def test_a_coroutine_ends_where_no_more_threads_are_to_be_had(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    without_threads(monkeypatch)
    shop.submit(1, soon)
    [done] = shop.outcomes()
    assert type(done) is Done, failure.load(done.error)
    monkeypatch.undo()
    checked(shop)
