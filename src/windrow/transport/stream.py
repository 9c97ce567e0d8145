"""Links over streams of bytes: frames on a connection of asyncio's, behind the handshake.

What lives here: `TcpLink`, one asyncio protocol that is the link, over tcp, TLS on tcp, unix sockets, and whatever else
asyncio has a transport for. What this file must never know: what a message means, what is in a frame (`wire.framing`)
or in the handshake (`transport.handshake`), how a connection comes about (`transport.tcp`).

A link goes through three stages: the handshake, during which exactly the bytes that it calls for are received; open;
and closing, in which the goodbye and all before it are on their way and what still arrives is thrown away.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import cast

from windrow import config
from windrow.addressing import join_address, join_host_port
from windrow.errors import ConnectionRefused, ProtocolError, WrongCertificate
from windrow.transport import liveness, unix
from windrow.transport.base import Link
from windrow.transport.excess import Excess
from windrow.transport.feeding import Feed
from windrow.transport.handshake import Proved, Steps
from windrow.wire.framing import GOODBYE, FrameEncoder, FrameParser
from windrow.wire.messages import Message

__all__ = ["TcpLink"]

logger = logging.getLogger(__name__)

CLOSE_GRACE_S = 3.0
"""How long a closed link waits for the other side to have read all before it breaks off."""

_DISCARD_BYTES = 64 * 1024
_BUFFER_BYTES = 1024 * 1024
"""A link with more than this to send is congested."""

_LOOKS = 3
"""So often, in the time that the other host may answer nothing, it is looked whether it does."""

_SILENT_DEATH = "the other side ended the connection without a goodbye: its process has probably died"


class TcpLink(Link, asyncio.BufferedProtocol):
    """One end of a tcp connection; see `Link`.

    Parameters
    ----------
    shake
        Makes this side's handshake steps, once the link is connected.
    on_ready
        Called once the handshake has succeeded.
    on_refused
        Called once when it has not, or when the connection is lost before.
    remote
        The address that was connected to; empty on the listener's side, which learns it.
    scheme
        ``tls`` where the connection is encrypted.
    is_local
        Whether it is a unix socket.
    """

    def __init__(
        self,
        shake: Callable[[TcpLink], Steps],
        on_ready: Callable[[TcpLink], None],
        on_refused: Callable[[TcpLink, Exception], None],
        remote: str = "",
        scheme: str = "tcp",
        is_local: bool = False,
    ) -> None:
        super().__init__(remote)
        self.is_local = is_local
        self._scheme = scheme
        self._is_encrypted = scheme == "tls"
        self._shake = shake
        self._on_ready = on_ready
        self._on_refused = on_refused
        self._steps: Steps | None = None  # while the handshake goes on
        self._room = memoryview(b"")  # what is received into, during the handshake and while closing
        self._room_filled = 0
        self._reason: str | None = None  # why it ends, once known
        self._closed = False  # nothing is sent or delivered any more
        self._timer: asyncio.TimerHandle | None = None  # of the handshake, of looks at the other host, of closing
        self._transport: asyncio.Transport
        self._loop: asyncio.AbstractEventLoop
        self._host_limit_s = 0.0  # how long the other host may answer nothing; 0: it is this one
        self._encode = FrameEncoder().encode
        self._feed: Feed | None = None  # where the transport copies what it is given, then
        self._end_due = False  # it is closed, and ends its direction when the feed has sent all
        self._parser: FrameParser | None = None  # once the handshake has succeeded
        self._ready = False
        self._excess: Excess
        self._early: list[list[Message]] = []  # of an encrypted one: what has come before there was an owner
        self._lost_early = False

    @property
    def binding(self) -> bytes:
        """What this encrypted connection has of its own, and both its ends know; nothing without encryption.

        It goes into the proofs: who sits in between with a certificate that both sides take cannot hand them on.
        """
        encryption = self._transport.get_extra_info("ssl_object")
        return (encryption.get_channel_binding("tls-unique") or b"") if encryption is not None else b""

    def lower_limit(self, frame_bytes: int) -> None:
        """Take only frames of so many bytes from here on; before the first one."""
        assert self._parser is not None, "the handshake has succeeded"
        self._parser.limit_bytes = min(self._parser.limit_bytes, frame_bytes)

    # -- the owner's side

    def send(self, messages: list[Message]) -> None:
        if self._closed:
            return
        pieces = self._encode(messages)
        if self.is_congested and self._is_too_much(sum(map(len, pieces))):
            return
        if self._feed is not None:
            self._feed.put(pieces)
            self.is_congested = self._feed.waiting_bytes > _BUFFER_BYTES or self._feed.is_held
        elif len(pieces) == 1:
            self._transport.write(pieces[0])
        else:
            self._transport.writelines(pieces)

    def _is_too_much(self, nbytes: int) -> bool:
        """Break off when more than the limit was sent since the network has taken nothing."""
        reason = self._excess.add(nbytes)
        if reason:
            logger.warning("%s is given up: %s", self.remote, reason)
            self.abort(reason)
        return bool(reason)

    @property
    def waiting_bytes(self) -> int:
        fed = 0 if self._feed is None else self._feed.waiting_bytes
        return fed + self._transport.get_write_buffer_size()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._reason = ""
        self._cancel_timer()
        transport = self._transport
        if self._feed is not None:
            self._feed.put([GOODBYE])
        else:
            transport.write(GOODBYE)
        self._timer = self._loop.call_later(CLOSE_GRACE_S, transport.abort)
        if self._is_encrypted:  # which has no half of a connection to end: the other side ends it when it reads this
            transport.resume_reading()
            return
        # Only our direction ends. To close a socket with unread bytes in it would make the system drop what the other
        # side has not read yet; so what still comes is read and thrown away until the other side ends its direction.
        self._room = memoryview(bytearray(_DISCARD_BYTES))
        if self._feed is not None and self._feed.waiting_bytes:
            self._end_due = True
            transport.resume_reading()
        elif self._end_direction():
            transport.resume_reading()

    def _end_direction(self) -> bool:
        """Send nothing more; False if the other side is gone already."""
        self._end_due = False
        try:
            self._transport.write_eof()
        except OSError:  # asyncio says so here; uvloop does at the next read
            self._transport.abort()
            return False
        return True

    def abort(self, reason: str) -> None:
        if self._reason is None:
            self._reason = reason
            self.broke_off = True
        self._closed = True
        if self._feed is not None:
            self._feed.clear()
        self._transport.abort()

    def _start(self) -> None:
        self._loop.call_soon(self._resume)

    def _resume(self) -> None:
        if self._is_encrypted:
            early, self._early = self._early, []
            ended, self._closed = self._closed, False  # what has come before the end is delivered before the end
            self._deliver_all(early)
            self._closed = self._closed or ended
            if self._lost_early:
                self._tell_loss()
            return
        if not self._transport.is_closing():
            self._transport.resume_reading()

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an assertion: uvloop's transports do not derive from asyncio's class.
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        self._transport.set_write_buffer_limits(_BUFFER_BYTES)
        self._tune()
        if not self.remote:
            self.remote = _peer_address(self._transport, self._scheme)
        limit_s = config.seconds("windrow.handshake-timeout")
        self._timer = self._loop.call_later(limit_s, self._handshake_is_late, limit_s)
        self._steps = self._shake(self)
        self._step(next(self._steps))

    def _tune(self) -> None:
        sock = self._transport.get_extra_info("socket")
        if sock is not None and sock.family != unix.FAMILY:
            self._host_limit_s = config.seconds("distributed.comm.timeouts.tcp")
            liveness.tune(sock, self._host_limit_s)

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._parser is not None and (not self._closed or self._is_encrypted):
            return self._parser.get_buffer(sizehint)
        return self._room[self._room_filled :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._closed:
            if self._is_encrypted and self._parser is not None:
                self._look_for_goodbye(nbytes)
            return
        if self._parser is None:
            self._room_filled += nbytes
            if self._room_filled == len(self._room):
                self._advance(bytes(self._room))
            return
        self.received_bytes += nbytes
        try:
            batches = self._parser.received(nbytes)
        except ProtocolError as error:
            logger.warning("closing the connection to %s: %s", self.remote, error)
            self.abort(f"bytes that are no message of ours arrived: {error}")
            return
        if self._is_encrypted and self._on_batch is None:
            self._early += batches
        else:
            self._deliver_all(batches)
        if self._is_encrypted and self._parser.ended and not self._closed:
            self._reason = ""
            self._closed = True
            self._transport.close()

    def _deliver_all(self, batches: list[list[Message]]) -> None:
        handler = self._on_batch
        assert handler is not None, "reading is paused until the owner has assigned on_batch"
        for batch in batches:
            try:
                handler(batch)
            except Exception as error:
                logger.exception("the handler of messages from %s failed; closing this connection", self.remote)
                self.abort(f"its handler of messages failed: {error!r}")
            if self._closed:
                return

    def _look_for_goodbye(self, nbytes: int) -> None:
        """Throw away what arrives while closing; end when the other side has closed too."""
        assert self._parser is not None
        try:
            self._parser.received(nbytes)
        except ProtocolError:  # nobody wants it any more
            self._transport.abort()
            return
        if self._parser.ended:
            self._transport.close()

    def eof_received(self) -> None:
        """Note why the other side's direction has ended; asyncio closes ours when this returns."""
        parser = self._parser
        if self._reason is None and parser is not None:
            if parser.ended:
                self._reason = ""
            elif parser.mid_frame:
                self._reason = _SILENT_DEATH + " (in the middle of a frame)"
            else:
                self._reason = _SILENT_DEATH
        self._closed = True

    def connection_lost(self, error: Exception | None) -> None:
        self._closed = True
        self.is_congested = False
        if self._feed is not None:
            self._feed.clear()
        self._cancel_timer()
        if not self._ready:
            self._refused(_cut_short(self.remote, error))
            return
        if self._reason is None:
            self._reason = f"the connection broke: {error}" if error is not None else _SILENT_DEATH
        if self._is_encrypted and self._on_batch is None:
            self._lost_early = True
        else:
            self._tell_loss()

    def _tell_loss(self) -> None:
        assert self._reason is not None
        self._tell_lost(self._reason)

    def pause_writing(self) -> None:
        """The network does not keep up with what is sent."""
        self.is_congested = True
        if self._feed is not None:
            self._feed.is_held = True

    def resume_writing(self) -> None:
        """The network has taken it."""
        if self._feed is not None:
            self._feed.is_held = False
            self._feed.go_on()
        else:
            self._drained()

    def _drained(self) -> None:
        if self._end_due:
            self._end_direction()
            return
        if not self.is_congested:
            return
        self.is_congested = False
        self._excess.clear()
        self.on_drained()

    def _look(self) -> None:
        """Look whether the other host still answers, and break the connection if it does not."""
        if liveness.is_gone(self._transport.get_extra_info("socket"), self._host_limit_s):
            if self._reason is None:
                words = f"its host has not answered for {self._host_limit_s:g} s ('distributed.comm.timeouts.tcp')"
                self._reason = f"the connection broke: {words}"
            self._closed = True
            self._transport.abort()
        else:
            self._timer = self._loop.call_later(self._host_limit_s / _LOOKS, self._look)

    # -- the handshake

    def _advance(self, received: bytes) -> None:
        """Give the handshake what it asked for, and see to what it wants next."""
        steps = self._steps
        assert steps is not None
        try:
            self._step(steps.send(received))
        except StopIteration as end:
            proved: Proved = end.value
            self.role = proved.role
            self._transport.write(proved.reply)
            self._begin()
        except ConnectionRefused as error:
            self._refused(error)
            self._transport.close()

    def _step(self, step: tuple[bytes, int]) -> None:
        reply, need_bytes = step
        if reply:
            self._transport.write(reply)
        self._room = memoryview(bytearray(need_bytes))
        self._room_filled = 0
        if not need_bytes:
            self._advance(b"")

    def _begin(self) -> None:
        """Open for frames; they wait in the socket until the owner has assigned ``on_batch``."""
        self._cancel_timer()
        if self._host_limit_s:
            self._timer = self._loop.call_later(self._host_limit_s / _LOOKS, self._look)
        self._steps = None
        self._room = memoryview(b"")
        self._parser = FrameParser(config.size_bytes("windrow.frame-limit"))
        self._excess = Excess(config.size_bytes("windrow.backlog-limit"))
        self._ready = True
        if self._is_encrypted or _copies(self._transport):
            self._feed = Feed(self._transport, self._drained)
        if not self._is_encrypted:  # uvloop's TLS never tells of the end of one that is paused when that comes
            self._transport.pause_reading()
        self._on_ready(self)

    def _refused(self, error: Exception) -> None:
        steps, self._steps = self._steps, None
        if steps is None:
            return  # told already
        self._closed = True
        self._cancel_timer()
        self._on_refused(self, error)

    def _handshake_is_late(self, limit_s: float) -> None:
        self._refused(
            TimeoutError(
                f"{self.remote} did not complete the handshake within {limit_s:g} s: it hangs, or is no windrow at all "
                "('windrow.handshake-timeout' is the limit)"
            )
        )
        self._transport.abort()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _peer_address(transport: asyncio.Transport, scheme: str) -> str:
    peer = transport.get_extra_info("peername")
    return join_address(scheme, join_host_port(peer[0], peer[1]) if peer else "unknown")


def _copies(transport: asyncio.Transport) -> bool:
    """Whether a transport copies all that it cannot send at once, and so is to be given little at a time."""
    return sys.version_info < (3, 12) and type(transport).__module__.partition(".")[0] == "asyncio"


def _cut_short(remote: str, error: Exception | None) -> OSError:
    """Return why a connection has ended before the handshake was over."""
    if error is not None and type(error).__module__ == "ssl":
        return WrongCertificate(f"{remote} does not take the certificate of this process: {error}")
    return ConnectionResetError(f"{remote} ended the connection during the handshake")
