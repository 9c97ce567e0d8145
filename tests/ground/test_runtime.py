"""Loops in threads: results, limits, interruptions, and a quiet end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import uvloop

from windrow.runtime import LoopThread, new_loop


@pytest.fixture
def thread() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.stop()


class Probe:
    """A coroutine that waits forever, and tells of its cancellation."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.cancelled = threading.Event()

    async def __call__(self) -> None:
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


async def fail(error: BaseException) -> None:
    raise error


def test_results_and_errors_come_back(thread: LoopThread) -> None:
    assert thread.run(asyncio.sleep(0, 7)) == 7
    with pytest.raises(ZeroDivisionError):
        thread.run(fail(ZeroDivisionError()))


def test_it_is_a_daemon_of_that_name_on_its_own_loop(thread: LoopThread) -> None:
    async def look() -> tuple[str, bool, bool]:
        return threading.current_thread().name, threading.current_thread().daemon, thread.is_current

    assert thread.run(look()) == ("IO loop", True, True)
    assert not thread.is_current
    assert thread.is_running
    assert repr(thread) == "<LoopThread 'IO loop' running>"


def test_the_loop_is_uvloops(thread: LoopThread) -> None:
    assert isinstance(thread.loop, uvloop.Loop)


def test_without_uvloop_it_is_asyncios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = new_loop()
    assert "uvloop" not in type(loop).__module__
    loop.close()


def test_a_time_limit_cancels(thread: LoopThread) -> None:
    probe = Probe()
    with pytest.raises(TimeoutError, match=r"not done within 0\.01 s"):
        thread.run(probe(), 0.01)
    assert probe.cancelled.wait(5)


def test_the_coroutines_own_timeout_is_its_own(thread: LoopThread) -> None:
    with pytest.raises(TimeoutError, match="mine"):
        thread.run(fail(TimeoutError("mine")), 5)


def test_an_interruption_cancels(thread: LoopThread) -> None:
    probe = Probe()

    def interrupt() -> None:
        probe.started.wait(5)
        signal.pthread_kill(main, signal.SIGINT)

    main = threading.main_thread().ident
    assert main is not None
    helper = threading.Thread(target=interrupt)
    helper.start()
    with pytest.raises(KeyboardInterrupt):
        thread.run(probe())
    helper.join()
    assert probe.cancelled.wait(5)
    assert thread.run(asyncio.sleep(0, "still works")) == "still works"


def test_on_its_own_thread_it_refuses_to_wait(thread: LoopThread) -> None:
    async def wait_for_itself() -> None:
        thread.run(asyncio.sleep(0))

    with pytest.raises(RuntimeError, match="block the event loop's own thread"):
        thread.run(wait_for_itself())


def test_stop_cancels_what_runs_and_wakes_who_waits(thread: LoopThread) -> None:
    probe = Probe()
    outcome: list[BaseException] = []

    def wait() -> None:
        try:
            thread.run(probe())
        except BaseException as error:
            outcome.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert probe.started.wait(5)
    thread.stop()
    waiter.join(5)
    assert [type(error).__name__ for error in outcome] == ["CancelledError"]
    assert probe.cancelled.is_set()
    assert thread.loop.is_closed()
    assert not thread.is_running
    thread.stop()  # again is harmless


def test_after_stop_it_refuses(thread: LoopThread) -> None:
    thread.stop()
    with pytest.raises(RuntimeError, match="stopped"):
        thread.run(asyncio.sleep(0))


def test_stop_from_its_own_thread(thread: LoopThread) -> None:
    thread.loop.call_soon_threadsafe(thread.stop)
    thread._thread.join(5)
    assert not thread.is_running
    assert thread.loop.is_closed()


@pytest.mark.parametrize(
    "ending", ["", "thread.stop()", "raise SystemExit(0)", "import os, signal; signal.raise_signal(signal.SIGTERM)"]
)
def test_the_interpreters_exit_is_quiet(ending: str) -> None:
    script = f"""
import asyncio
from windrow.runtime import LoopThread
thread = LoopThread()
async def forever():
    try:
        while True:
            await asyncio.sleep(0)
    finally:
        await asyncio.sleep(0)
asyncio.run_coroutine_threadsafe(forever(), thread.loop)
thread.run(asyncio.sleep(0))
{ending}
"""
    done = subprocess.run([sys.executable, "-X", "dev", "-c", script], capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.stderr) == ("", "")


def test_a_thread_that_has_the_number_of_one_that_has_ended_is_not_that(monkeypatch: pytest.MonkeyPatch) -> None:
    thread = LoopThread()
    thread.stop()
    monkeypatch.setattr(thread._thread, "_ident", threading.get_ident())
    assert not thread.is_current


def test_a_callback_is_called_on_the_loop_and_its_coroutine_run() -> None:
    thread = LoopThread()
    found: concurrent.futures.Future[tuple[int, int]] = concurrent.futures.Future()

    async def answer(x: int, *, y: int) -> None:
        await asyncio.sleep(0)
        found.set_result((x + y, threading.get_ident()))

    thread.loop.add_callback(answer, 1, y=2)  # type: ignore[attr-defined]
    assert found.result(10) == (3, thread.run(_ident()))
    assert thread.loop.asyncio_loop is thread.loop  # type: ignore[attr-defined]
    thread.stop()


def test_a_callback_that_fails_is_told() -> None:
    thread = LoopThread()
    told: concurrent.futures.Future[object] = concurrent.futures.Future()
    thread.loop.set_exception_handler(lambda loop, context: told.set_result(context["exception"]))

    async def fails() -> None:
        raise ZeroDivisionError

    thread.loop.add_callback(fails)  # type: ignore[attr-defined]
    assert isinstance(told.result(10), ZeroDivisionError)
    thread.stop()


async def _ident() -> int:
    return threading.get_ident()
