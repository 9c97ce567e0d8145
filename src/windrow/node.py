"""The life that a scheduler, a worker and a nanny have in common: started once, closed once, awaited by anybody.

What lives here: `Status` and `Server`, and `run_until_signalled`, the life of a program that is a party. What this file
must never know: what a party does while it lives.
"""

from __future__ import annotations

import asyncio
import enum
import signal
from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Self

from windrow import addressing, logs, schemes, versions

__all__ = ["Server", "Status", "run_until_signalled"]


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

    kind = ""
    """What it is: "scheduler", "worker" or "nanny"."""
    status: Status
    ended: asyncio.Future[Any]
    address: str
    """Where others reach it; "" before it listens."""

    def __init__(self, death_timeout_s: float | None = None) -> None:
        self.status = Status.created
        self.death_timeout_s = death_timeout_s
        self.loop = asyncio.get_running_loop()
        self.ended = self.loop.create_future()
        self._starting: asyncio.Task[None] | None = None
        self._gave_up = False
        self.waits_for = ""
        """What its start waits for, in words."""

    async def _open(self) -> None:
        raise NotImplementedError("a party starts in _open")

    async def close(self) -> None:
        """Leave in good order; again is harmless."""
        raise NotImplementedError("a party ends in close")

    async def leave(self) -> None:
        """Leave, having handed over what others need; by default there is nothing, and it closes."""
        await self.close()

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
            self._starting.add_done_callback(_retrieve)
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
            if self._gave_up:
                raise RuntimeError(f"{what} was closed while it started") from None
            if isinstance(error, TimeoutError) and limit.expired():
                why = f"; it waited for this: {self.waits_for}" if self.waits_for else ""
                raise TimeoutError(
                    f"{what} did not start within {self.death_timeout_s:g} s (death_timeout){why}"
                ) from None
            if isinstance(error, RuntimeError) or not isinstance(error, Exception):
                raise
            raise RuntimeError(f"{what} could not start: {error}") from error
        if self.status is Status.starting:
            self.status = Status.running

    # ------------------------------------------------------------ where it is

    @property
    def listen_address(self) -> str:
        """Where it listens itself; others may reach it by another address (``contact_address``)."""
        return self.address

    @property
    def host(self) -> str:
        """The host of its address; "" before it listens."""
        return self._host_port()[0]

    @property
    def port(self) -> int:
        """The port of its address; 0 before it listens, and where there is none."""
        return self._host_port()[1]

    def _host_port(self) -> tuple[str, int]:
        scheme, _, location = self.address.partition("://")
        if not location or not schemes.has_ports(scheme):
            return location, 0
        return addressing.split_host_port(location, 0)

    @property
    def io_loop(self) -> asyncio.AbstractEventLoop:
        """Its event loop."""
        return self.loop

    def get_logs(self, start: int = 0, n: int | None = None) -> list[tuple[str, str]]:
        """Return the last log records of this process's parties of this kind as (level, text), newest first.

        Parameters
        ----------
        start, n
            So many of the newest are left out, and so many are returned; None: all that are remembered.
        """
        return logs.recent(self.kind)[start : None if n is None else start + n]

    def versions(self, packages: Sequence[str] = ()) -> dict[str, Any]:
        """Return the versions of Python and of packages in this process (see `windrow.versions`)."""
        return versions.versions(packages)

    # ------------------------------------------------------------ life

    def give_up_start(self) -> None:
        """End a start that is under way; those who wait for it are told so. For `close`, whose first step it is."""
        starting = self._starting
        if starting is not None and not starting.done() and starting is not asyncio.current_task():
            self._gave_up = True
            starting.cancel()

    async def finished(self) -> None:
        """Wait until it has ended."""
        await asyncio.wait([self.ended])

    def __await__(self) -> Generator[Any, None, Self]:
        return self.start().__await__()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


async def run_until_signalled(
    party: Server, on_signal: Callable[[], Awaitable[object]] | None = None, signals: Sequence[int] = ()
) -> int:
    """Start a party, and wait until it has ended, or a signal has ended it; return the signal's number, or 0.

    The first signal ends it in good order, and a second one at once.

    Parameters
    ----------
    party
        What runs; it may have been started already.
    on_signal
        Ends it in good order; by default ``party.leave``.
    signals
        By default SIGINT and SIGTERM.

    Raises
    ------
    RuntimeError, TimeoutError
        It could not start.

    Examples
    --------
    >>> asyncio.run(run_until_signalled(Scheduler()))  # doctest: +SKIP
    15
    """
    loop = asyncio.get_running_loop()
    came: asyncio.Future[int] = loop.create_future()
    twice: asyncio.Future[int] = loop.create_future()

    def hear(number: int) -> None:
        for heard in (came, twice):
            if not heard.done():
                heard.set_result(number)
                return

    undo = [_listen(number, hear) for number in signals or (signal.SIGINT, signal.SIGTERM)]
    try:
        life = loop.create_task(_live(party))
        either: list[asyncio.Future[Any]] = [life, came]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not came.done():
            await life
            return 0
        leaving = loop.create_task(_end(on_signal or party.leave))
        either = [leaving, twice]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not leaving.done():
            leaving.cancel()
            await party.close()
        await asyncio.wait([leaving])
        if not leaving.cancelled():
            await leaving
        await party.close()
        life.cancel()
        await asyncio.wait([life])
        return came.result()
    finally:
        for each in undo:
            each()


async def _end(leave: Callable[[], Awaitable[object]]) -> None:
    await leave()


async def _live(party: Server) -> None:
    await party.start()
    await party.finished()


def _listen(number: int, hear: Callable[[int], None]) -> Callable[[], object]:
    """Have the loop hear of a signal; return what undoes that."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(number, hear, number)
    except NotImplementedError:  # not a POSIX system
        former = signal.signal(number, lambda *_: loop.call_soon_threadsafe(hear, number))
        return lambda: signal.signal(number, former)
    return lambda: loop.remove_signal_handler(number)


def _retrieve(starting: asyncio.Task[None]) -> None:
    """Look at a failure, so that asyncio does not speak of it where who waited for the start has given up."""
    if not starting.cancelled():
        starting.exception()
