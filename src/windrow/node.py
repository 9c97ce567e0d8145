"""The life that a scheduler, a worker and a nanny have in common: started once, closed once, awaited by anybody.

What lives here: `Status` and `Server`. What this file must never know: what a party does while it lives.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Generator
from typing import Any, Self

__all__ = ["Server", "Status"]


class Status(enum.StrEnum):
    """Where a party, or a cluster, is in its life.

    Examples
    --------
    >>> Status.running == "running", Status.running.name
    (True, 'running')
    """

    undefined = "undefined"
    created = "created"
    init = "init"
    starting = "starting"
    running = "running"
    paused = "paused"
    stopping = "stopping"
    stopped = "stopped"
    closing = "closing"
    closing_gracefully = "closing_gracefully"
    closed = "closed"
    failed = "failed"


class Server:
    """Base of parties: ``await`` one, or use ``async with``, and it runs.

    A subclass starts in `_open` and ends in `close`, after which `ended` is done.

    Parameters
    ----------
    death_timeout_s
        How long the start may take; None: as long as it takes.
    """

    status: Status
    ended: asyncio.Future[Any]

    def __init__(self, death_timeout_s: float | None = None) -> None:
        self.status = Status.created
        self.death_timeout_s = death_timeout_s
        self.loop = asyncio.get_running_loop()
        self.ended = self.loop.create_future()
        self._starting: asyncio.Task[None] | None = None

    async def _open(self) -> None:
        raise NotImplementedError("a party starts in _open")

    async def close(self) -> None:
        """Leave in good order; again is harmless."""
        raise NotImplementedError("a party ends in close")

    async def start(self) -> Self:
        """Start, once; whoever asks again waits for the same start, and is told of the same failure.

        Raises
        ------
        RuntimeError
            It could not start; the cause is chained.
        TimeoutError
            It did not start within ``death_timeout``.
        """
        if self._starting is None:
            self._starting = self.loop.create_task(self._begin())
        await asyncio.shield(self._starting)
        return self

    async def _begin(self) -> None:
        self.status = Status.starting
        try:
            async with asyncio.timeout(self.death_timeout_s) as limit:
                await self._open()
        except BaseException as error:
            await self.close()
            self.status = Status.failed
            what = type(self).__name__
            if isinstance(error, TimeoutError) and limit.expired():
                raise TimeoutError(f"{what} did not start within {self.death_timeout_s:g} s (death_timeout)") from None
            if isinstance(error, RuntimeError) or not isinstance(error, Exception):
                raise
            raise RuntimeError(f"{what} could not start: {error}") from error
        if self.status is Status.starting:
            self.status = Status.running

    async def finished(self) -> None:
        """Wait until it has ended."""
        await asyncio.wait([self.ended])

    def __await__(self) -> Generator[Any, None, Self]:
        return self.start().__await__()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()
