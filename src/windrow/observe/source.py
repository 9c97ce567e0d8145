"""Where the pages' facts come from: one connection to the scheduler, asked no more often than somebody looks.

What lives here: `Source` and `Snapshot`. What this file must never know: HTTP, and how facts are shown.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from msgspec import Struct

from windrow import transport
from windrow.transport import Link
from windrow.transport.asker import Asker
from windrow.wire.messages import HelloObserver, Identity, Overview, Request

__all__ = ["Snapshot", "Source"]

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


class Source:
    """The scheduler, as an observer reaches it.

    Parameters
    ----------
    link
        To the scheduler.

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

    def __init__(self, link: Link) -> None:
        self._loop = asyncio.get_running_loop()
        self._asker = Asker(link)
        self.ended = self._asker.ended
        self._last: Snapshot | None = None
        self._asked_s = 0.0
        self._asking: asyncio.Task[Snapshot] | None = None
        self._asker.say(HelloObserver(f"Observer-{os.getpid()}"))

    @classmethod
    async def connect(cls, address: str, secret: bytes) -> Source:
        """Connect to a scheduler."""
        return cls(await transport.connect(address, secret=secret))

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

    async def snapshot(self) -> Snapshot:
        """Return what the scheduler says, or said less than a second ago; all who ask meanwhile share the answer."""
        if self._asking is None:
            last = self._last
            if last is not None and self._loop.time() - self._asked_s < FRESH_S:
                return last
            self._asked_s = self._loop.time()
            self._asking = self._loop.create_task(self._look())
        return await asyncio.shield(self._asking)

    async def _look(self) -> Snapshot:
        try:
            identity, overview = await self.ask(Identity(), Overview())
        finally:
            self._asking = None
        before = {} if self._last is None else self._last.identity["workers"]
        known = {} if self._last is None else self._last.cpu
        cpu = {
            address: rate
            for address, worker in identity["workers"].items()
            if (rate := _rate(before.get(address), worker, known.get(address))) is not None
        }
        self._last = Snapshot(identity, overview, cpu)
        return self._last


def _rate(before: dict[str, Any] | None, now: dict[str, Any], known: float | None) -> float | None:
    """Return processor seconds a second between two heartbeats; what is known, where no other has come."""
    if before is None or before["pid"] != now["pid"]:
        return None
    older, newer = before["metrics"], now["metrics"]
    if "cpu_s" not in older or "cpu_s" not in newer:
        return None
    seconds = newer["time"] - older["time"]
    return max(0.0, (newer["cpu_s"] - older["cpu_s"]) / seconds) if seconds > 0 else known
