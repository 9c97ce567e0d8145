"""Where the pages' facts come from: one connection to the scheduler, asked no more often than somebody looks.

What lives here: `Source` and `Snapshot`. What this file must never know: HTTP, and how facts are shown.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from windrow import config, transport
from windrow.transport import Link
from windrow.transport.asker import Asker
from windrow.wire.messages import Happened, HelloObserver, Listen
from windrow.wire.requests import (
    AdaptiveTarget,
    Identity,
    Overview,
    Profile,
    Request,
    Tallies,
    WorkerFacts,
)

__all__ = ["Shared", "Snapshot", "Source"]

T = TypeVar("T")

Listener: TypeAlias = Callable[[dict[str, Any]], None]

FRESH_S = 1.0
"""However many look, the scheduler is asked for everything no more often than this."""
ANSWER_S = 30.0
"""How long an answer of the scheduler is waited for."""


class Snapshot(Struct, frozen=True):
    """What the scheduler has said at one time."""

    identity: dict[str, Any]
    overview: dict[str, Any]
    cpu: dict[str, float]
    """How many processors' worth of time each worker takes, by address; of those that were measured twice."""
    received: dict[str, float] = {}
    """Bytes a second that each gets from other workers, likewise."""
    sent: dict[str, float] = {}


class Source:
    """The scheduler, as an observer reaches it.

    Parameters
    ----------
    link
        To the scheduler.
    address
        By what it is reached.

    Attributes
    ----------
    ended : asyncio.Future[str]
        Done, with the reason, when the connection is lost.

    Examples
    --------
    >>> source = await Source.connect("tcp://127.0.0.1:8786", secret)  # doctest: +SKIP
    >>> (await source.snapshot()).identity["type"]  # doctest: +SKIP
    'Scheduler'
    """

    def __init__(self, link: Link, address: str = "") -> None:
        self.address = address
        self._asker = Asker(link, self._hear)
        self._listeners: dict[Listener, None] = {}
        self.ended = self._asker.ended
        self._last: Snapshot | None = None
        self._snapshots = Shared(self._look)
        self._workers = Shared(self._look_at_worker)
        self._tallies = Shared(self._look_at_tallies)
        self._desired = Shared(self._look_at_demand)
        self._asker.say(HelloObserver(f"Observer-{os.getpid()}"))

    @classmethod
    async def connect(cls, address: str, secret: bytes) -> Source:
        """Connect to a scheduler."""
        return cls(await transport.connect(address, secret=secret), address)

    def close(self) -> None:
        """Leave."""
        self._asker.link.close()

    async def ask(self, *requests: Request) -> list[Any]:
        """Return the values of the answers; what is an error is raised.

        Raises
        ------
        TimeoutError, ConnectionError
            The scheduler does not answer, or has gone.
        """
        async with asyncio.timeout(ANSWER_S):
            replies = await asyncio.gather(*map(self._asker.ask, requests))
        return [reply.value for reply in replies]

    def listen(self, listener: Listener) -> None:
        """Have a function called with each event of the scheduler from now on."""
        if not self._listeners:
            self._asker.say(Listen(True))
        self._listeners[listener] = None

    def unlisten(self, listener: Listener) -> bool:
        """Have it called no more; say whether it was."""
        if listener not in self._listeners:
            return False
        del self._listeners[listener]
        if not self._listeners and not self.ended.done():
            self._asker.say(Listen(False))
        return True

    def _hear(self, message: object) -> None:
        if type(message) is Happened:
            for event in message.events:
                for listener in list(self._listeners):
                    listener(event)

    async def profile(self, request: Profile) -> list[Any]:
        """Return what workers answer, as plain data; those that have left meanwhile are left out."""
        async with asyncio.timeout(ANSWER_S):
            reply = await self._asker.ask(request)
        return [msgspec.msgpack.decode(blob) for blob in reply.blobs if isinstance(blob, bytes)]

    async def snapshot(self) -> Snapshot:
        """Return what the scheduler says, or said less than a second ago."""
        return await self._snapshots.get()

    async def tallies(self) -> dict[str, Any]:
        """Return what has happened in the scheduler's life, as it says, or said less than a second ago."""
        return await self._tallies.get()

    async def desired(self) -> int:
        """Return how many workers the work at hand asks for, as adaptive scaling would have it."""
        return await self._desired.get()

    async def worker(self) -> dict[str, Any]:
        """Return what a worker says, or said less than a second ago; of a source that is connected to one."""
        return await self._workers.get()

    async def _look_at_tallies(self) -> dict[str, Any]:
        [facts] = await self.ask(Tallies())
        return dict(facts)

    async def _look_at_demand(self) -> int:
        [count] = await self.ask(AdaptiveTarget(config.seconds("distributed.adaptive.target-duration")))
        return int(count)

    async def _look_at_worker(self) -> dict[str, Any]:
        [facts] = await self.ask(WorkerFacts())
        return dict(facts)

    async def _look(self) -> Snapshot:
        identity, overview = await self.ask(Identity(), Overview())
        last = self._last
        before = {} if last is None else last.identity["workers"]
        now = identity["workers"]
        cpu = _rates(before, now, {} if last is None else last.cpu, "cpu_s")
        received = _rates(before, now, {} if last is None else last.received, "received_bytes")
        sent = _rates(before, now, {} if last is None else last.sent, "sent_bytes")
        self._last = Snapshot(identity, overview, cpu, received, sent)
        return self._last


class Shared(Generic[T]):
    """An answer that all who ask within a second, or within ``fresh_s``, share."""

    def __init__(self, look: Callable[[], Coroutine[Any, Any, T]], fresh_s: float | None = None) -> None:
        self._look = look
        self._fresh_s = fresh_s
        self._asked_s = -math.inf
        self._answer: asyncio.Task[T] | None = None

    async def get(self) -> T:
        loop = asyncio.get_running_loop()
        answer = self._answer
        is_old = loop.time() - self._asked_s >= (FRESH_S if self._fresh_s is None else self._fresh_s)
        if answer is None or (answer.done() and (is_old or answer.cancelled() or answer.exception() is not None)):
            self._asked_s = loop.time()
            answer = self._answer = loop.create_task(self._look())
        return await asyncio.shield(answer)


def _rates(before: dict[str, Any], now: dict[str, Any], known: dict[str, float], name: str) -> dict[str, float]:
    """Return by how much a second a figure of each worker's has grown, by address; of those measured twice."""
    found = {address: _rate(before.get(address), worker, known.get(address), name) for address, worker in now.items()}
    return {address: rate for address, rate in found.items() if rate is not None}


def _rate(before: dict[str, Any] | None, now: dict[str, Any], known: float | None, name: str) -> float | None:
    """Return the growth a second between two heartbeats; what is known, where no other has come."""
    if before is None or before["pid"] != now["pid"]:
        return None
    older, newer = before["metrics"], now["metrics"]
    if name not in older or name not in newer:
        return None
    seconds = newer["time"] - older["time"]
    return max(0.0, (newer[name] - older[name]) / seconds) if seconds > 0 else known
