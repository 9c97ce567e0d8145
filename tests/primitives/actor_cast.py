"""Actors that the tests of this directory send to workers."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from windrow import Event, get_client, get_worker


class Counter:
    """Counts."""

    step = 1

    def __init__(self, n: int = 0) -> None:
        self.n = n
        self.friend: Any = None

    def increment(self, by: int | None = None) -> int:
        """Count on."""
        self.n += self.step if by is None else by
        return self.n

    async def aincrement(self) -> int:
        await asyncio.sleep(0)
        self.n += 1
        return self.n

    @property
    def double(self) -> int:
        return 2 * self.n

    def fail(self) -> None:
        raise KeyError("no")

    def large(self, size: int) -> bytes:
        return bytes(size)

    def pid(self) -> int:
        return os.getpid()

    def hang(self) -> None:
        time.sleep(60)

    def await_event(self, name: str) -> bool:
        return Event(name).wait(10)

    def befriend(self, friend: Any) -> None:
        self.friend = friend

    def poke(self) -> Any:
        """Count the friend on; where it lives decides how."""
        future = self.friend.increment()
        return type(future).__name__, future.result(10), self.friend.n

    def poke_badly(self) -> str:
        future = self.friend.fail()
        try:
            future.result()
        except KeyError as error:
            return f"{type(future).__name__} {error!r}"
        return "?"

    async def poke_softly(self) -> Any:
        return await self.friend.increment()

    def compute(self) -> int:
        """Have other tasks run, and wait for them, on a worker whose every thread is needed."""
        client = get_client()
        return sum(client.gather(client.map(abs, range(10))))

    def where(self) -> Any:
        return get_worker().name


class Broken:
    """Cannot be made."""

    def __init__(self) -> None:
        raise ValueError("not today")


def increment(counter: Any, times: int = 1) -> int:
    """Task: call an actor; the last result."""
    result = 0
    for _ in range(times):
        result = counter.increment().result(timeout=10)
    return result


def whereabouts(counter: Any) -> Any:
    """Task: this worker's name, and the actor's."""
    return get_worker().name, counter.where().result(timeout=10)


def identity(x: Any) -> Any:
    return x


def make_locally() -> int:
    """Task: make an actor of one's own, and call it."""
    counter = get_client().submit(Counter, 5, actor=True).result()
    return increment(counter)
