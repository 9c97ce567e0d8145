"""`Dashboard`: an address that answers from the start, though hardly anything is paid for it before somebody looks.

What lives here: when the process behind the address starts, and what follows its end. What this file must never know:
what is shown.

The sockets are bound, and listen, when the scheduler starts: so the link is known at once, and is right. Who comes
waits in the socket's queue; the event loop sees that somebody does, and hands the sockets to a process, which accepts
from the same queue. When that process ends the loop watches again. Some seconds after the start one is started though
nobody has come, to get ready at its leisure.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from windrow.addressing import is_loopback
from windrow.dashboard import address
from windrow.dashboard.process import HttpProcess

__all__ = ["Dashboard"]

logger = logging.getLogger("windrow.dashboard")

SHORT_LIFE_S = 10.0
"""A process that fails sooner is not started again at once."""
PAUSES_S = (0.2, 1.0, 5.0, 30.0)
"""How long after the first such failure, the second in a row, and so on."""
END_S = 2.0
"""How long a close waits for the process to be gone, and the port with it."""

MakeOptions = Callable[[], Awaitable[dict[str, Any]]]


class Dashboard:
    """A dashboard of the running loop's.

    Parameters
    ----------
    where
        An address in any of the forms of `address.parse`; None for a dashboard that is not there.
    make_options
        Called on the loop before each start of the process: says what it needs to reach the scheduler, as plain data.
    host
        Where a port without a host is; None: loopback.
    prefix
        Put before all paths, such as ``"/foo"``.
    ready_after_s
        How long after the start a process is to get ready for who may come; None: none does before somebody comes.

    Attributes
    ----------
    link : str
        Where to look, from `start` on; "" without a dashboard.
    port : int or None
        The port of the link.
    token : str
        What a visitor must show who may come from another machine; "" where only this machine reaches it.

    Examples
    --------
    >>> import asyncio
    >>> async def main():
    ...     dashboard = Dashboard("localhost:0", make_options=dict, prefix="/foo")
    ...     dashboard.start()
    ...     print(dashboard.link.replace(str(dashboard.port), "8787"))
    ...     await dashboard.close()
    >>> asyncio.run(main())
    http://127.0.0.1:8787/foo/status
    """

    def __init__(
        self,
        where: object,
        make_options: MakeOptions,
        host: str | None = None,
        prefix: str | None = None,
        ready_after_s: float | None = None,
    ) -> None:
        self.prefix = address.prefix_of(prefix)
        self.link = ""
        self.port: int | None = None
        self.token = ""
        self._where = address.parse(where, host)
        self._make_options = make_options
        self._sockets: list[socket.socket] = []
        self._process: HttpProcess | None = None
        self._ended: asyncio.Future[None] | None = None
        self._failures = 0
        self._pause: asyncio.TimerHandle | None = None
        self._starting: asyncio.Task[None] | None = None
        self._closing = False
        self._ready_after_s = ready_after_s
        self._ahead: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop

    def __repr__(self) -> str:
        state = "not looked at" if self.pid is None else f"pid={self.pid}"
        return f"<Dashboard {self.link or 'nowhere'} {state}>"

    @property
    def pid(self) -> int | None:
        """The process that answers; None while there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Listen, on the running loop; from here on whoever comes is answered.

        Raises
        ------
        OSError
            The address is none of this machine's, or the system does not let us.
        """
        self._loop = asyncio.get_running_loop()
        try:
            for host, port in self._where:
                self._sockets.append(address.bind(host, port))
        except BaseException:
            self._close_sockets()
            raise
        if self._sockets:
            first = self._sockets[0]
            if not all(is_loopback(str(sock.getsockname()[0])) for sock in self._sockets):
                import secrets

                self.token = secrets.token_urlsafe(24)
            self.port = int(first.getsockname()[1])
            self.link = address.link(address.contact(first), self.port, self.prefix, self.token)
            self._watch()
            if self._ready_after_s is not None:
                self._ahead = self._loop.call_later(self._ready_after_s, self._get_ready)

    async def close(self) -> None:
        """End the process, and give the address back; again is harmless."""
        self.stop()
        if self._process is not None and self._ended is not None:
            await asyncio.wait([self._ended], timeout=END_S)

    def stop(self) -> None:
        """As `close`, without waiting for the process to be gone."""
        self._closing = True
        for timer in (self._pause, self._ahead):
            if timer is not None:
                timer.cancel()
        self._unwatch()
        if self._starting is not None:
            self._starting.cancel()
        if self._process is not None:
            self._process.kill()
        self._close_sockets()

    def _close_sockets(self) -> None:
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    # ------------------------------------------------------------ somebody comes

    def _watch(self) -> None:
        self._pause = None
        for sock in self._sockets:
            self._loop.add_reader(sock.fileno(), self._somebody_comes)

    def _unwatch(self) -> None:
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())

    def _somebody_comes(self) -> None:
        self._unwatch()
        self._starting = self._loop.create_task(self._start_process(ahead=False))

    def _get_ready(self) -> None:
        """Start a process before somebody comes; unless one is there, or failed only just now."""
        if self._process is None and self._pause is None and (self._starting is None or self._starting.done()):
            self._unwatch()
            self._starting = self._loop.create_task(self._start_process(ahead=True))

    async def _start_process(self, ahead: bool) -> None:
        try:
            options = await self._make_options()
        except Exception:
            logger.exception("the dashboard cannot be started")
            self._failed()
            return
        self._ended = self._loop.create_future()
        self._process = HttpProcess(
            [sock.fileno() for sock in self._sockets],
            {
                **options,
                "prefix": self.prefix,
                "token": self.token,
                "port": self.port,
                "ahead": ahead,
                "ready": self._ready_after_s is not None,
            },
            self._tell_end,
        )

    # ------------------------------------------------------------ the process's end

    def _tell_end(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._on_end)
        except RuntimeError:  # the loop is closed: nobody asks any more
            return

    def _on_end(self) -> None:
        process, self._process = self._process, None
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
        if self._closing or process is None:
            return
        if process.account:
            logger.warning("the dashboard's process (pid %s) %s", process.pid, process.account)
            if process.seconds < SHORT_LIFE_S:
                self._failed()
                return
        self._failures = 0
        self._watch()

    def _failed(self) -> None:
        """Start no other for a while."""
        pause_s = PAUSES_S[min(self._failures, len(PAUSES_S) - 1)]
        self._failures += 1
        if not self._closing:
            self._pause = self._loop.call_later(pause_s, self._watch)
