"""What a task raises, and whatever else goes wrong around it: no error ends a thread, and each has an outcome."""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from executor_shop import GATES, LIMIT_S, Gate, Shop, double, through

from windrow.errors import PickleError, TaskError
from windrow.runtime import LoopThread
from windrow.wire import failure, payload
from windrow.wire.messages import Free, FreeFunctions, Function, Missing, Run, TaskId


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


# ---------------------------------------------------------------- what no error may end


def for_ever() -> None:
    for_ever()


def test_endless_recursion_errs_and_the_thread_goes_on(shop: Shop) -> None:
    error, erred = shop.erred(1, for_ever)
    assert type(error) is RecursionError
    assert "frames are left out here" in erred.text
    shop.done(2, double, 1)


class Leaves(Exception):
    """Raises what is no `Exception` when it is pickled."""

    def __reduce__(self) -> Any:
        raise SystemExit(4)


def raises_leaving() -> None:
    raise Leaves("its text")


def test_an_exception_whose_reduction_exits_is_named(shop: Shop) -> None:
    error, _ = shop.erred(1, raises_leaving)
    assert isinstance(error, PickleError)
    assert "Leaves(its text) raised by task 'k1'" in str(error)
    assert "SystemExit: 4" in str(error)
    shop.done(2, double, 1)


class Departing:
    """A small result that raises what is no `Exception` when it is pickled."""

    def __reduce__(self) -> Any:
        raise SystemExit(9)


def test_a_result_whose_reduction_exits_stays_and_is_no_error(shop: Shop) -> None:
    assert shop.done(1, Departing).value is None
    assert type(shop.core.data[1]) is Departing


def test_whatever_goes_wrong_the_thread_goes_on(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*rest: object) -> Any:
        raise KeyboardInterrupt("from anywhere")

    with monkeypatch.context() as patch:
        patch.setattr(shop.executor, "_failed", interrupted)
        error, _ = shop.erred(1, fails, "no")
    assert type(error) is TaskError
    assert "Task 'k1' has ended without an outcome: KeyboardInterrupt: from anywhere" in str(error)
    assert shop.core.running == 0
    shop.done(2, double, 1)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_a_coroutine_that_exits_does_not_end_the_loop(shop: Shop, kind: type[BaseException]) -> None:
    error, _ = shop.erred(1, throws_later, kind("bye"))
    assert type(error) is TaskError
    assert f"'k1' raised {kind.__name__}(bye)" in str(error)
    shop.done(2, asyncio.sleep, 0, "later")
    assert shop.core.data[2] == "later"


async def throws_later(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


def test_a_coroutine_s_error_has_the_user_s_frames_only(shop: Shop) -> None:
    error, erred = shop.erred(1, throws_later, Odd("late"))
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)] == ["throws_later"]
    assert "windrow" not in erred.text


# ---------------------------------------------------------------- ends of values


ENDS: queue.Queue[bool] = queue.Queue()
LOCK: list[threading.Lock] = []


class Testament:
    """Wants the executor's lock at its end, as does whatever asks something of the worker."""

    def __call__(self) -> None:
        """It may be a function, too."""

    def __del__(self) -> None:
        for lock in LOCK:
            free = lock.acquire(timeout=0.2)
            if free:
                lock.release()
            ENDS.put(free)


@pytest.fixture
def testament(shop: Shop) -> Iterator[Callable[[], Testament]]:
    LOCK.append(shop.executor.lock)
    yield Testament
    LOCK.clear()
    assert ENDS.empty()


def test_a_freed_value_ends_outside_the_lock(shop: Shop, testament: Callable[[], Testament]) -> None:
    shop.submit(1, testament)
    shop.outcomes()
    shop.hear(Free([TaskId(1)]))
    assert ENDS.get(timeout=LIMIT_S)


def test_a_value_that_is_made_anew_ends_outside_the_lock(shop: Shop, testament: Callable[[], Testament]) -> None:
    shop.submit(1, testament)
    shop.outcomes()
    shop.done(1, double, 1)
    assert ENDS.get(timeout=LIMIT_S)


def test_a_value_that_nobody_wants_any_more_ends_outside_the_lock(
    shop: Shop, testament: Callable[[], Testament]
) -> None:
    gate = GATES["g"] = Gate()
    shop.submit(1, makes_late, "g", testament)
    gate.await_entry()
    shop.hear(Free([TaskId(1)]))
    gate.opened.set()
    assert ENDS.get(timeout=LIMIT_S)


def makes_late(gate: str, kind: Callable[[], object]) -> object:
    through(gate)
    return kind()


def test_a_forgotten_function_ends_outside_the_lock(shop: Shop, testament: Callable[[], Testament]) -> None:
    shop.hear(Function(9, "last", payload.dumps(testament())))
    assert ENDS.get(timeout=LIMIT_S)  # the one that was pickled here
    shop.hear(Run(TaskId(1), 1, "k1", 9, payload.dumps(((), {}))), FreeFunctions([10]))
    shop.outcomes()
    shop.hear(FreeFunctions([9]))
    shop.done(2, double, 1)
    assert ENDS.get(timeout=LIMIT_S)


# ---------------------------------------------------------------- attempts that are given up


def test_the_loop_is_woken_for_an_attempt_that_was_given_up(shop: Shop) -> None:
    shop.core.data[1] = 1
    shop.hear(
        Run(TaskId(2), 1, "k2", shop.number(double), payload.dumps(((), {})), inputs=[TaskId(1)]),
        Free([TaskId(1)]),
    )
    [missing] = shop.outcomes()
    assert type(missing) is Missing
    assert (missing.task, missing.input) == (2, 1)
