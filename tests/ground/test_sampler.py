"""The thread that looks: often while there is something to see, seldom else; what goes wrong does not stop it."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType

import pytest

from windrow import sampler as module
from windrow.runtime import LoopThread
from windrow.sampler import Loop, LoopProfile, Sampler

LIMIT_S = 10.0


def _samplers() -> int:
    return sum(thread.name == "windrow-sampler" for thread in threading.enumerate())


def test_it_looks_at_all_threads_until_it_is_stopped() -> None:
    seen: list[set[int]] = []
    enough = threading.Event()

    def look(frames: Mapping[int, FrameType]) -> bool:
        seen.append(set(frames))
        if len(seen) >= 5:
            enough.set()
        return True

    others = _samplers()
    sampler = Sampler(look, 0.001)
    assert not sampler.runs
    sampler.start()
    sampler.start()
    assert _samplers() <= others + 1
    assert sampler.runs
    assert enough.wait(LIMIT_S)
    sampler.stop()
    assert not sampler.runs
    assert threading.get_ident() in seen[0]


def test_it_looks_less_often_where_there_is_nothing_to_see(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    class Stopped(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            return len(waits) > 25

    looks = iter([False] * 14 + [True] + [False] * 100)
    sampler = Sampler(lambda frames: next(looks), 0.01)
    sampler._watch(Stopped())
    busy, idle = 0.01, module.IDLE_S
    assert waits == [busy] * 10 + [idle] * 5 + [busy] * 10 + [idle]


def test_looks_that_cost_much_are_further_apart_and_count_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 10 ms half a percent is 50 µs; looks of 140 µs come every 30 ms, and each stands for three."""
    clock_s, waits, weights = 0.0, [], []

    class Stopped(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            return len(waits) > 120

    def look(frames: Mapping[int, FrameType]) -> bool:
        nonlocal clock_s
        weights.append(sampler.weight)
        clock_s += 140e-6 if len(weights) < 60 else 20e-6
        return True

    monkeypatch.setattr("windrow.sampler.time.thread_time", lambda: clock_s)
    sampler = Sampler(look, 0.01)
    sampler._watch(Stopped())
    assert (weights[0], waits[0]) == (1, 0.01)
    assert weights[40:60] == [3] * 20
    assert waits[40:60] == [pytest.approx(0.03)] * 20
    assert weights[-20:] == [1] * 20, "and they come as often as before when they are cheap again"


def test_a_look_that_fails_is_told_and_the_next_one_comes(caplog: pytest.LogCaptureFixture) -> None:
    again = threading.Event()
    count = 0

    def look(frames: Mapping[int, FrameType]) -> bool:
        nonlocal count
        count += 1
        if count == 1:
            raise ValueError("odd frame")
        again.set()
        return True

    sampler = Sampler(look, 0.001)
    with caplog.at_level(logging.ERROR, logger="windrow.sampler"):
        sampler.start()
        assert again.wait(LIMIT_S)
    sampler.stop()
    assert "odd frame" in caplog.text


def _asyncio_loop(then: Callable[[asyncio.AbstractEventLoop], None]) -> None:
    loop = asyncio.SelectorEventLoop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        then(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(LIMIT_S)
        loop.close()


def _own_loop(then: Callable[[asyncio.AbstractEventLoop], None]) -> None:
    thread = LoopThread()
    try:
        then(thread.loop)
    finally:
        thread.stop()


def hold(entered: threading.Event, leave: threading.Event) -> None:
    entered.set()
    leave.wait(LIMIT_S)


@pytest.mark.parametrize("with_loop", [_asyncio_loop, _own_loop])
def test_of_a_loop_its_callbacks_are_seen_and_its_waiting_is_not(
    with_loop: Callable[[Callable[[asyncio.AbstractEventLoop], None]], None],
) -> None:
    def then(loop: asyncio.AbstractEventLoop) -> None:
        found: list[Loop] = []
        entered, leave = threading.Event(), threading.Event()
        loop.call_soon_threadsafe(lambda: found.append(Loop(loop)))
        loop.call_soon_threadsafe(lambda: loop.call_soon(hold, entered, leave))
        assert entered.wait(LIMIT_S)
        [watched] = found
        assert watched.look(sys._current_frames(), 5.0)
        leave.set()
        end = time.monotonic() + LIMIT_S
        while watched.look(sys._current_frames(), 6.0):  # until it waits
            assert time.monotonic() < end
        tree, counts = watched.history.between(None, 5.5, None)
        assert [name for name, _, _ in tree[1]] == ["hold"]
        assert counts[0] == (5.0, {"": 1})

    with_loop(then)


def test_a_loop_is_looked_at_while_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    thread = LoopThread()

    async def make() -> LoopProfile:
        return LoopProfile(asyncio.get_running_loop(), 0.001)

    async def busy() -> None:
        time.sleep(0.005)

    profile = thread.run(make())
    assert not profile.sampler.runs
    end = time.monotonic() + LIMIT_S
    while not profile.between(None, None)[0][0]:
        assert time.monotonic() < end
        thread.run(busy())
    monkeypatch.setattr(module, "LASTS_S", -1.0)
    profile.between(None, None)
    while profile.sampler.runs:
        assert time.monotonic() < end
    thread.stop()
