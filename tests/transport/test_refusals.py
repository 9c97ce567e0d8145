"""The log of refusals: whole for few, and short for many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from windrow.transport import refusals
from windrow.transport.refusals import HOSTS_MAX, LINES_MAX, Refusals


class Loop:
    """The one thing that is asked of a loop."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Any:
        assert delay_s == refusals.ROUND_S
        self.due.append(call)
        return asyncio.TimerHandle(0.0, call, (), self)  # type: ignore[arg-type]

    def get_debug(self) -> bool:
        return False


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    found = Loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: found)
    return found


def test_few_are_told_one_by_one(loop: Loop) -> None:
    told: list[str] = []
    log = Refusals(told.append)
    for number in range(LINES_MAX - 1):
        log.add("10.0.0.9", str(number))
    assert told == [str(number) for number in range(LINES_MAX - 1)]
    [end] = loop.due
    end()
    assert len(told) == LINES_MAX - 1


def test_many_are_counted_and_do_not_hide_others(loop: Loop) -> None:
    told: list[str] = []
    log = Refusals(told.append)
    for number in range(1000):
        log.add("10.0.0.9", str(number))
    assert len(told) == LINES_MAX + 1
    assert told[-1].startswith(f"it was no. {LINES_MAX} from 10.0.0.9 within a minute")
    log.add("10.0.0.8", "another")
    assert told[-1] == "another"
    assert repr(log) == "<Refusals 1001 of 2 hosts>"
    [end] = loop.due
    end()
    assert told[-1] == "it was one of 1000 from 10.0.0.9 within a minute"
    log.add("10.0.0.9", "a new round")
    assert told[-1] == "a new round"


def test_many_hosts_are_one(loop: Loop) -> None:
    told: list[str] = []
    log = Refusals(told.append)
    for number in range(100 * HOSTS_MAX):
        log.add(f"2001:db8::{number:x}", "x")
    assert len(told) == HOSTS_MAX + LINES_MAX + 1
    assert len(log._counts) == HOSTS_MAX + 1


def test_who_comes_again_by_tcp_is_told_of_once() -> None:
    lines: list[str] = []

    async def main() -> None:
        book = Refusals(lines.append)
        book.hold("local://pid-7", "local: wrong secret", "WrongSecret")
        assert book.came_again("WrongVersion") == ""
        assert book.holds
        assert book.came_again("WrongSecret") == "local://pid-7"
        assert not book.holds
        book.add("127.0.0.1", "tcp: wrong secret")
        book.close()

    asyncio.run(main())
    assert lines == ["tcp: wrong secret"]


def test_who_does_not_come_again_is_told_of_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "HELD_S", 0.01)
    monkeypatch.setattr(refusals, "HELD_MAX", 2)

    async def main() -> None:
        told: asyncio.Queue[str] = asyncio.Queue()
        book = Refusals(told.put_nowait)
        for n in range(3):
            book.hold("local://pid-7", str(n), "WrongSecret")
        async with asyncio.timeout(10):
            assert sorted([await told.get() for _ in range(3)]) == ["0", "1", "2"]
        book.hold("local://pid-7", "at the end", "WrongSecret")
        book.close()
        assert told.get_nowait() == "at the end"

    asyncio.run(main())
