"""Links inside one process: message objects are handed over as they are, from loop to loop.

What lives here: pairs of ends, and the table of listeners by name. What this file must never know: frames, secrets (who
is in this process has them all).

Each send is one append to the other end's inbox; a drain is scheduled when none is due yet. So many sends in one turn
cost one wake-up of the other loop, and nothing is locked: a deque's append and popleft are atomic. Where many batches
wait, as the other loop is busy, further ones are weighed, and there is a bound on what they weigh.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from uuid import uuid4

from windrow import config
from windrow.addressing import join_address
from windrow.transport.backlog import weight
from windrow.transport.base import Link, Listener, OnLink
from windrow.transport.excess import Excess
from windrow.wire.messages import Message

__all__ = ["InprocLink", "InprocListener", "connect", "listen", "new_location", "pair"]

logger = logging.getLogger(__name__)

HAS_PORTS = False
IS_SAFE = True

BATCHES_MAX = 64
"""A link with more batches than this in the other side's inbox is congested."""

_listeners: dict[str, InprocListener] = {}

neighbours: dict[str, str] = {}
"""Listeners of this process that others reach at a tcp address: that address, and the inproc:// one."""


class InprocLink(Link):
    """One end of a pair; see `Link`."""

    def __init__(self, remote: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(remote)
        self._loop = loop
        self._inbox: deque[list[Message] | str] = deque()  # batches, and at the end the reason of the loss
        self._drain_due = True  # until the owner assigns on_batch, nobody is to schedule a drain
        self._closed = False
        self._lost = False
        self._excess: Excess | None = None
        self._waiting_bytes = 0
        self._peer: InprocLink

    @property
    def waiting_bytes(self) -> int:
        return self._waiting_bytes

    def send(self, messages: list[Message]) -> None:
        if self._closed:
            return
        peer = self._peer
        if len(peer._inbox) > BATCHES_MAX and self._is_too_much(messages):
            return
        # A copy of the list, as over tcp, so that the caller may clear its own.
        peer._put(list(messages), self)

    def _is_too_much(self, messages: list[Message]) -> bool:
        """Break off when more than the limit was sent since the other side has many batches to take."""
        # Noted before the batch is put there, so that whoever takes the batch sees it.
        self.is_congested = True
        if self._excess is None:
            self._excess = Excess(config.size_bytes("windrow.backlog-limit"))
        size = weight(messages)
        self._waiting_bytes += sum(size)
        reason = self._excess.add(size.unasked + size.asked)
        if reason:
            logger.warning("%s is given up: %s", self.remote, reason)
            self.abort(reason)
        return bool(reason)

    def _drained(self) -> None:
        """The other side has taken all that was sent."""
        if self.is_congested and not self._closed:
            self.is_congested = False
            self._waiting_bytes = 0
            if self._excess is not None:
                self._excess.clear()
            self.on_drained()

    def close(self) -> None:
        self._end("", "")

    def abort(self, reason: str) -> None:
        self._end(reason, f"the other side broke off: {reason}")

    def _end(self, own_reason: str, peer_reason: str) -> None:
        if self._closed:
            return
        self._closed = True
        self.is_congested = False
        self._inbox.clear()
        self._put(own_reason, self)
        self._peer._put(peer_reason, self)

    def _start(self) -> None:
        self._loop.call_soon(self._drain)

    def _put(self, item: list[Message] | str, sender: InprocLink) -> None:
        """Take an item from this end or the other; called on the loop of ``sender``."""
        self._inbox.append(item)
        if self._drain_due:
            return
        self._drain_due = True
        if sender._loop is self._loop:
            self._loop.call_soon(self._drain)
            return
        try:
            self._loop.call_soon_threadsafe(self._drain)
        except RuntimeError:  # its loop is closed, and so nobody is there
            if sender is not self and not sender._closed:
                sender._end("the other side's event loop is closed", "")

    def _drain(self) -> None:
        # The flag goes down first: what is appended from here on either is seen below or schedules another drain.
        self._drain_due = False
        inbox = self._inbox
        while inbox:
            item = inbox.popleft()
            if type(item) is list:
                if not self._closed:
                    self._deliver(item)
            elif not self._lost:
                self._lost = self._closed = True
                assert isinstance(item, str)
                self._tell_lost(item)
        peer = self._peer
        if peer.is_congested and not peer._closed:
            try:
                peer._loop.call_soon_threadsafe(peer._drained)
            except RuntimeError:  # its loop is closed, and nobody sends there any more
                return


class InprocListener(Listener):
    """A name in this process to connect to."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop, on_link: OnLink) -> None:
        self.address = join_address("inproc", name)
        self._name = name
        self._loop = loop
        self._on_link = on_link

    def close(self) -> None:
        if _listeners.get(self._name) is self:
            del _listeners[self._name]

    def _accept(self, link: InprocLink) -> None:
        try:
            self._on_link(link)
        except Exception as error:
            logger.exception("%s could not take a connection; closing it", self.address)
            link.abort(f"its listener failed: {error!r}")


def pair(
    loop: asyncio.AbstractEventLoop, other_loop: asyncio.AbstractEventLoop, name: str = "pair"
) -> tuple[InprocLink, InprocLink]:
    """Return two ends that are connected, on these loops.

    Examples
    --------
    >>> loop = asyncio.new_event_loop()
    >>> left, right = pair(loop, loop)
    >>> left
    <InprocLink to inproc://pair>
    >>> loop.close()
    """
    left, right = InprocLink(join_address("inproc", name), loop), InprocLink(join_address("inproc", name), other_loop)
    left._peer, right._peer = right, left
    return left, right


def new_location() -> str:
    """Return a name that nobody has.

    Examples
    --------
    >>> new_location() != new_location()
    True
    """
    return uuid4().hex


async def connect(location: str, *, secret: bytes | None, timeout_s: float) -> InprocLink:
    """Connect to a listener of this process; there is nothing to wait for, so it is there or an error."""
    listener = _listeners.get(location)
    if listener is None or listener._loop.is_closed():
        raise ConnectionRefusedError(
            f"nobody listens on inproc://{location} in this process; it is closed, or belongs to another process "
            "(use its tcp:// address from there)"
        )
    near, far = pair(asyncio.get_running_loop(), listener._loop, location)
    if near._loop is far._loop:
        listener._loop.call_soon(listener._accept, far)
    else:
        listener._loop.call_soon_threadsafe(listener._accept, far)
    return near


async def listen(location: str, on_link: OnLink, *, secret: bytes | None) -> InprocListener:
    """Listen under a name that nobody else in this process has."""
    other = _listeners.get(location)
    if other is not None and not other._loop.is_closed():
        raise OSError(f"inproc://{location} is taken by another listener of this process")
    listener = InprocListener(location, asyncio.get_running_loop(), on_link)
    _listeners[location] = listener
    return listener
