"""Connecting and listening by tcp, and by unix sockets beside it; `transport.tls` has both inside of TLS.

What lives here: the listener, connecting, and the handshake as something to wait for. What this file must never know:
what a message means, how a link works (`transport.stream`), what is in the handshake (`transport.handshake`).

Parties of one host and user whose address is a tcp one meet on a unix socket (`transport.unix`), where that is to be
had: half the work for the system. Whatever is amiss with it, there is tcp.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, cast

from windrow.addressing import is_here, join_address, join_host_port, own_ip, split_host_port
from windrow.roles import Role, split
from windrow.transport import unix
from windrow.transport.base import Listener, OnLink
from windrow.transport.dialling import until_answered
from windrow.transport.door import Arrival, Door
from windrow.transport.handshake import Knocked, Steps, accept_steps, connect_steps, refuse_steps
from windrow.transport.refusals import THIS_HOST, Refusals
from windrow.transport.stream import TcpLink

if TYPE_CHECKING:
    import ssl

__all__ = ["TcpLink", "TcpListener", "connect", "dial_unix", "listen", "shake_hands"]

logger = logging.getLogger(__name__)

_WILDCARDS = {"", "0.0.0.0", "::"}
_QUESTION_BYTES = 2**20
"""A longer frame is not taken from who may only ask."""
_NEARBY_S, _NEARBY_PART = 3.0, 0.75
"""So long, and such a part of the time that is left at most, a unix socket has to answer before tcp is tried."""


class TcpListener(Listener):
    """A listening socket; made by `listen`.

    Parameters
    ----------
    secret
        What others have to prove.
    on_link
        Called with each link.
    context
        Of TLS; None: connections are not encrypted.
    """

    def __init__(self, secret: bytes, on_link: OnLink, context: ssl.SSLContext | None = None) -> None:
        if (role := split(secret)[0]) is not Role.ADMINISTER:
            raise ValueError(f"a listener needs the cluster's secret, and not a {role} token")
        self.address = ""
        self._scheme = "tcp" if context is None else "tls"
        self._secret = secret
        self._on_link = on_link
        self._context = context
        self._door = Door(self._receive, self._tell)
        self._refusals = Refusals(lambda words: logger.warning("%s refused a connection: %s", self.address, words))
        self._is_closed = False

    def close(self) -> None:
        self._refusals.close()
        self._is_closed = True
        self._door.close()

    async def _open(self, host: str, port: int) -> None:
        sockets = await self._door.open(host, port)
        contact, bound_port = sockets[0].getsockname()[:2]
        if contact in _WILDCARDS:
            contact = own_ip("2001:db8::1") if ":" in contact else own_ip()
        self.address = join_address(self._scheme, join_host_port(contact, bound_port))
        if self._context is None and unix.is_on():
            for place in dict.fromkeys(unix.beside(*sock.getsockname()[:2]) for sock in sockets):
                try:
                    self._door.open_local(place)
                except OSError as error:  # another has its name: those of this host come by tcp
                    logger.debug("no unix socket beside %s: %s", self.address, error)

    async def _receive(self, arrival: Arrival) -> None:
        """Have one who has come shake hands; ends when that is over."""
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()

        def accepted(link: TcpLink) -> None:
            _settle(over)
            self._accepted(link)

        def refused(link: TcpLink, error: Exception) -> None:
            _settle(over)
            # A worker was ended while it started, perhaps; or somebody has only looked.
            if isinstance(error, Knocked) or (link.is_local and type(error) is ConnectionResetError):
                logger.debug("%s: %s", self.address, error)
            else:
                self._tell(link.remote, str(error), type(error).__name__)

        context = self._context
        if context is None:
            remote = join_address("local", arrival.remote) if arrival.is_local else ""
            link = TcpLink(self._shake, accepted, refused, remote, is_local=arrival.is_local)
            await loop.connect_accepted_socket(lambda: link, arrival.sock)
        elif await arrival.speaks_tls():
            from windrow.transport import tls

            link = TcpLink(self._shake, accepted, refused, scheme="tls")
            await tls.accept(lambda: link, arrival, context)
        else:
            link = TcpLink(self._turn_away, accepted, refused)
            await loop.connect_accepted_socket(lambda: link, arrival.sock)
        await over

    def _shake(self, link: TcpLink) -> Steps:
        return accept_steps(self._secret, link.remote, binding=link.binding)

    def _turn_away(self, link: TcpLink) -> Steps:
        return refuse_steps(link.remote, f"this listener speaks TLS: use {self.address}")

    def _accepted(self, link: TcpLink) -> None:
        if self._is_closed:
            link.abort("the listener is closed")
            return
        if link.role is Role.WATCH:
            link.lower_limit(_QUESTION_BYTES)
        try:
            self._on_link(link)
        except Exception as error:
            logger.exception("%s could not take the connection of %s; closing it", self.address, link.remote)
            link.abort(f"its listener failed: {error!r}")

    def _tell(self, remote: str, words: str, kind: str = "") -> None:
        """Log that somebody was refused, for a kind of reason."""
        if self._is_closed:
            return
        scheme, _, location = remote.rpartition("://")
        host = location.rpartition(":")[0] or THIS_HOST
        words = words if remote in words else f"{remote} {words}"
        if scheme == "local" and self._scheme != "local":
            self._refusals.hold(remote, words, kind)
            return
        if self._refusals.holds and is_here(host.strip("[]")) and (before := self._refusals.came_again(kind)):
            words += f" (it came as {before} before)"
        self._refusals.add(host, words)


def _settle(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)


MakeLink: TypeAlias = Callable[[], TcpLink]


async def listen(
    location: str, on_link: OnLink, *, secret: bytes | None, context: ssl.SSLContext | None = None
) -> TcpListener:
    """Listen on ``host:port``; an empty host means every interface of this machine."""
    scheme = "tcp" if context is None else "tls"
    if not secret:
        raise ValueError(f"a {scheme} listener needs a secret: pass secret=windrow.security.new_secret()")
    host, port = split_host_port(location)
    listener = TcpListener(secret, on_link, context)
    try:
        await listener._open("127.0.0.1" if host == "localhost" else host, port)
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot listen on {scheme}://{location}: {error.strerror or error}. Choose another port (0: any that is "
            "free) or an address of this machine",
        ) from error
    return listener


async def connect(
    location: str, *, secret: bytes | None, timeout_s: float, context: ssl.SSLContext | None = None
) -> TcpLink:
    """Connect to ``host:port``, and try again while nobody answers."""
    address = join_address("tcp" if context is None else "tls", location)
    if not secret:
        raise ValueError(f"{address} cannot be reached without the cluster's secret: pass secret=…")
    host, port = split_host_port(location)

    async def dial(make: MakeLink) -> asyncio.BaseTransport:
        if context is not None:
            from windrow.transport import tls

            return await tls.dial(make, host or "127.0.0.1", port, address, context)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(make, host or "127.0.0.1", port)
        return transport

    async def attempt(left_s: float, reached: list[None]) -> TcpLink:
        if context is None and unix.is_on():
            link = await _connect_nearby(unix.places(host, port), secret, address, left_s)
            if link is not None:
                return link
        return await shake_hands(dial, secret, address, reached, scheme="tcp" if context is None else "tls")

    return await until_answered(attempt, address, timeout_s, is_encrypted=context is not None)


async def _connect_nearby(places: list[str], secret: bytes, address: str, left_s: float) -> TcpLink | None:
    """Connect by a unix socket of this host; None where that is not to be had, for whatever reason."""
    sock = next((sock for place in places if (sock := unix.reach(place)) is not None), None)
    if sock is None:
        return None
    try:
        async with asyncio.timeout(min(_NEARBY_S, _NEARBY_PART * left_s)):
            return await shake_hands_nearby(sock, secret, address, [])
    except OSError as error:  # it is busy, or somebody else
        logger.debug("%s is not reached by its unix socket, and tried by tcp: %s", address, error)
        return None


async def dial_unix(sock: socket.socket, make: MakeLink) -> asyncio.BaseTransport:
    """Make a link of a connected unix socket."""
    try:
        transport, _ = await asyncio.get_running_loop().create_unix_connection(make, sock=sock)
    except BaseException:
        sock.close()
        raise
    return transport


async def shake_hands(
    dial: Callable[[MakeLink], Awaitable[asyncio.BaseTransport]],
    secret: bytes,
    address: str,
    reached: list[None],
    scheme: str = "tcp",
    is_local: bool = False,
) -> TcpLink:
    """Return a new link, when the other side has proved that it holds the secret, and has taken our proof."""
    ready: asyncio.Future[TcpLink] = asyncio.get_running_loop().create_future()

    def accepted(link: TcpLink) -> None:
        if ready.done():  # the caller has given up
            link.abort("nobody waits for this connection any more")
        else:
            ready.set_result(link)

    def refused(link: TcpLink, error: Exception) -> None:
        if not ready.done():
            ready.set_exception(error)

    def shake(link: TcpLink) -> Steps:
        return connect_steps(secret, address, binding=link.binding)

    transport: asyncio.BaseTransport | None = None
    try:
        transport = await dial(lambda: TcpLink(shake, accepted, refused, address, scheme, is_local))
        reached.append(None)
        return await ready
    except BaseException:
        if transport is not None:
            cast(asyncio.Transport, transport).abort()
        if not ready.cancel() and not ready.cancelled():
            ready.exception()  # looked at: where the caller has given up, nobody else does
        raise


async def shake_hands_nearby(sock: socket.socket, secret: bytes, address: str, reached: list[None]) -> TcpLink:
    """Return a new link over a unix socket that is connected; as `shake_hands`."""
    process = unix.process_of(sock)
    link = await shake_hands(partial(dial_unix, sock), secret, address, reached, is_local=True)
    link.process = process
    return link
