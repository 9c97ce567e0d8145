"""Where connections arrive: listening sockets, and how many strangers may stand there at a time.

What lives here: `Door`, which accepts, and `Arrival`, one who has come and has not proved anything yet. What this file
must never know: what they have to prove.

Who has come and proves nothing holds a place. When all are taken, the address that holds most gives up its oldest one;
real peers are through in milliseconds, or try again.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from windrow import config
from windrow.addressing import join_host_port
from windrow.transport import unix

__all__ = ["Arrival", "Door"]

logger = logging.getLogger(__name__)

STRANGERS_MAX = 256
"""So many may be there at a time, for each listener."""

PATIENCE_S = 0.1
"""Nobody is sent away earlier than this."""

TLS_SILENCE_S = 3.0
"""Who wants TLS speaks first; who has said nothing for so long waits for a plain listener to speak."""

NO_ROOM_S = 0.1
TRIES = 10
"""So often another free port is looked for, if that of IPv4 is taken by IPv6."""

TLS_RECORD = 0x16
"""The first byte of whoever speaks TLS."""


class Arrival:
    """One who has come.

    Parameters
    ----------
    sock
        The connection.
    peer
        Where from; None: from this host, by a unix socket.
    since_s
        When, by the loop's clock.
    """

    def __init__(self, sock: socket.socket, peer: tuple[str, int] | None, since_s: float) -> None:
        self.sock = sock
        self.is_local = peer is None
        if peer is None:
            pid, user = unix.other_side(sock)
            self.host, self.remote = f"user {user}", f"pid-{pid}"
        else:
            self.host, self.remote = peer[0], join_host_port(peer[0], peer[1])
        self.since_s = since_s
        self.task: asyncio.Task[None] | None = None

    def send_away(self) -> None:
        """End the connection; whoever deals with it sees its end."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:  # gone already
            return

    async def speaks_tls(self) -> bool:
        """Whether its first byte says so; nothing is taken from the connection."""
        if sys.platform == "win32":
            return True
        loop = asyncio.get_running_loop()
        there: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self.sock, lambda: None if there.done() else there.set_result(None))
        try:
            async with asyncio.timeout(min(TLS_SILENCE_S, config.seconds("windrow.handshake-timeout"))):
                await there
            first = self.sock.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(self.sock)
        if not first:
            raise ConnectionResetError("ended the connection before it said anything")
        return first[0] == TLS_RECORD


class Door:
    """Listening sockets, on the running loop.

    Parameters
    ----------
    receive
        Deals with one who has come, until it has proved what it must or is refused.
    tell
        Is told who (an address) was refused before that, and why.
    """

    def __init__(self, receive: Callable[[Arrival], Awaitable[None]], tell: Callable[[str, str], None]) -> None:
        self._receive = receive
        self._tell = tell
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._strangers: dict[Arrival, None] = {}
        """By their time of arrival."""
        self._told_full = False

    async def open(self, host: str, port: int) -> list[socket.socket]:
        """Listen; with several sockets that of IPv4 is the first, and all have the same port.

        An empty host is every interface, by IPv4 and, on a machine that has it, by IPv6.

        Raises
        ------
        OSError
            One cannot be had.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        places = sorted({(family, where) for family, _, _, _, where in found}, key=lambda one: one[0] != socket.AF_INET)
        for left in reversed(range(1 if port else TRIES)):
            try:
                self._sockets = _bind_all(places, is_everywhere=not host)
                break
            except OSError as error:  # the port that was free by IPv4 is another's by IPv6
                if not left or error.errno != errno.EADDRINUSE:
                    raise
        self._accepting = [loop.create_task(self._accept(sock)) for sock in self._sockets]
        return list(self._sockets)

    def open_local(self, place: str) -> None:
        """Listen on a unix socket of this host too; the same limit holds for both together.

        Raises
        ------
        OSError
            It cannot be had.
        """
        sock = unix.bind(place)
        self._sockets.append(sock)
        self._accepting.append(asyncio.get_running_loop().create_task(self._accept(sock)))

    def close(self) -> None:
        """Take nobody more, and send away those who have proved nothing."""
        for accepting in self._accepting:
            accepting.cancel()
        for sock in self._sockets:
            sock.close()
        for arrival in list(self._strangers):
            arrival.send_away()

    # ------------------------------------------------------------ arrivals

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, peer = await loop.sock_accept(listening)
            except OSError as error:
                if listening.fileno() < 0:
                    return
                if not self._told_full:  # no descriptors, mostly; it would fill the log
                    self._told_full = True
                    logger.warning("no connection can be accepted just now: %s", error)
                await asyncio.sleep(NO_ROOM_S)
                continue
            self._told_full = False
            arrival = Arrival(sock, None if listening.family == unix.FAMILY else peer[:2], loop.time())
            self._strangers[arrival] = None
            arrival.task = loop.create_task(self._deal_with(arrival))
            if len(self._strangers) > STRANGERS_MAX:
                await self._make_room()

    async def _deal_with(self, arrival: Arrival) -> None:
        try:
            await self._receive(arrival)
        except OSError as error:
            self._tell(arrival.remote, str(error) or type(error).__name__)
            arrival.sock.close()
        except BaseException:
            arrival.sock.close()
            raise
        finally:
            self._strangers.pop(arrival, None)

    async def _make_room(self) -> None:
        """Send the oldest of the address with most away, but nobody who has only just come."""
        most, _ = Counter(arrival.host for arrival in self._strangers).most_common(1)[0]
        oldest = next(arrival for arrival in self._strangers if arrival.host == most)
        wait_s = oldest.since_s + PATIENCE_S - asyncio.get_running_loop().time()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if oldest in self._strangers and len(self._strangers) > STRANGERS_MAX:
            del self._strangers[oldest]  # its place is free at once
            oldest.send_away()


def _bind_all(places: Sequence[tuple[int, tuple[Any, ...]]], is_everywhere: bool) -> list[socket.socket]:
    """Return sockets that listen at all of these places, at one port."""
    made: list[socket.socket] = []
    try:
        for family, where in places:
            if made and not where[1]:
                where = (where[0], made[0].getsockname()[1], *where[2:])
            try:
                made.append(_bind(family, where))
            except OSError as error:
                missing = error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # a machine may have no IPv6
                if not (made and is_everywhere and family == socket.AF_INET6 and missing):
                    raise
                logger.debug("no IPv6 on port %s", where[1], exc_info=True)
    except BaseException:
        for sock in made:
            sock.close()
        raise
    return made


def _bind(family: int, where: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # where it would let two listen at once
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(where)
        sock.listen(int(str(config.get("distributed.comm.socket-backlog"))))
    except BaseException:
        sock.close()
        raise
    return sock
