"""Links over the simulated network: they pass the suite that all transports pass, and run on virtual time.

What lives here: `SimulatedLink`, `pair`, and `SimulatedNetwork`, which connects and listens as any transport does. What
this file must never know: who talks over them; when a connection breaks, or who is stopped (a test or a seed decides).

They promise what tcp promises, and no more: batches arrive whole and in order, until the connection ends; then a suffix
of what was sent is missing, unless it was closed in good order; each side is told of the end once, in its own time.
What is said goes through the real frames. Nobody proves anything: there is no handshake.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from random import Random

from windrow import config
from windrow.addressing import join_address
from windrow.errors import ProtocolError
from windrow.testing.network import Clock, Pipe
from windrow.transport.base import Link, Listener, OnLink
from windrow.transport.excess import Excess
from windrow.wire.framing import GOODBYE, FrameEncoder, FrameParser
from windrow.wire.messages import Message

__all__ = ["SimulatedLink", "SimulatedListener", "SimulatedNetwork", "pair"]

logger = logging.getLogger(__name__)

SCHEME = "sim"

BUFFER_BYTES = 1024 * 1024
"""With more than this under way a link is congested."""

CLOSE_GRACE_S = 3.0
"""How long a closed link waits for the other side to have read all before it breaks off."""

_RING_BYTES = 4096
_FIN = b""
"""Arrives when the other side has read our goodbye, or has said its own."""


class SimulatedLink(Link):
    """One end of a connection of a simulated network; see `Link`, and `pair`.

    Parameters
    ----------
    remote
        The other side's address.
    clock, rng, delay_s
        Of the network.

    Attributes
    ----------
    is_stopped : bool
        Whether this side's process is stopped: what arrives is not read.
    """

    def __init__(self, remote: str, clock: Clock, rng: Random, delay_s: float) -> None:
        super().__init__(remote)
        self.is_stopped = False
        self._clock = clock
        self._pipe = Pipe(clock, rng, self._to_peer, delay_s)
        self._peer: SimulatedLink
        self._encode = FrameEncoder().encode
        self._parser = FrameParser(config.size_bytes("windrow.frame-limit"), _RING_BYTES)
        self._excess = Excess(config.size_bytes("windrow.backlog-limit"))
        self._unread: deque[bytes] = deque()
        self._under_way_bytes = 0
        self._reason: str | None = None  # why it ends, once known
        self._closed = False  # nothing is sent or delivered any more
        self._over = False  # the connection has ended, and the owner is to be told
        self._told = False

    # -- the owner's side

    @property
    def waiting_bytes(self) -> int:
        return self._under_way_bytes

    def send(self, messages: list[Message]) -> None:
        if self._closed:
            return
        frame = b"".join(self._encode(messages))
        if self.is_congested and (reason := self._excess.add(len(frame))):
            logger.warning("%s is given up: %s", self.remote, reason)
            self.abort(reason)
            return
        self._under_way_bytes += len(frame)
        self.is_congested = self.is_congested or self._under_way_bytes > BUFFER_BYTES
        self._pipe.send(frame)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._reason = ""
            self._pipe.send(GOODBYE)
            self._clock.after(CLOSE_GRACE_S, self._lose_patience)
            self._read()  # what has come is thrown away, but for the other side's own goodbye

    def abort(self, reason: str) -> None:
        if self._reason is None:
            self._reason = reason
            self.broke_off = True
        self._closed = True
        self._break("")

    def _start(self) -> None:
        if self._unread or self._over:
            self._clock.after(0.0, self._read)

    # -- who plays fate

    def sever(self) -> None:
        """Break the connection: what is under way is lost in both directions, and neither side notices."""
        self._pipe.is_broken = self._peer._pipe.is_broken = True

    @property
    def is_severed(self) -> bool:
        """Whether nothing arrives any more that is sent here."""
        return self._pipe.is_broken

    def reset(self) -> None:
        """Break the connection, and have both sides notice, each in its own time."""
        self._break("the connection broke")

    def stop(self) -> None:
        """Read nothing from here on, as a process that is stopped."""
        self.is_stopped = True

    def go_on(self) -> None:
        """Read again."""
        self.is_stopped = False
        self._clock.after(0.0, self._read)

    # -- the network's side

    def _to_peer(self, data: bytes) -> None:
        peer = self._peer
        if not peer._over:
            peer._unread.append(data)
            peer._read()

    def _read(self) -> None:
        """Take what has arrived, and then the end, once there is somebody to take it."""
        unread = self._unread
        while unread and not self.is_stopped and not self._over and (self._on_batch is not None or self._closed):
            data = unread.popleft()
            self._peer._taken(len(data))
            if data is _FIN:
                self._end()
            elif not self._closed:
                self._take(data)
            elif data == GOODBYE:  # both have closed
                self._pipe.send(_FIN)
        if self._over and not self.is_stopped:
            self._tell()

    def _take(self, data: bytes) -> None:
        self.received_bytes += len(data)
        try:
            batches = self._parser.feed(data)
        except ProtocolError as error:
            logger.warning("closing the connection to %s: %s", self.remote, error)
            self.abort(f"bytes that are no message of ours arrived: {error}")
            return
        for batch in batches:
            self._deliver(batch)
            if self._closed:
                return
        if self._parser.ended:
            self._closed = True
            self._reason = ""
            self._pipe.send(_FIN)
            self._end()

    def _taken(self, nbytes: int) -> None:
        """The other side has read so much."""
        self._under_way_bytes -= nbytes
        if self.is_congested and self._under_way_bytes <= BUFFER_BYTES and not self._closed:
            self.is_congested = False
            self._excess.clear()
            self._clock.after(0.0, self._tell_drained)

    def _tell_drained(self) -> None:
        if not self._closed:
            self.on_drained()

    # -- the end

    def _lose_patience(self) -> None:
        if not self._over:
            self._break("")

    def _break(self, why: str) -> None:
        """End the connection: at once for this side if it knows why, in its own time for one that does not."""
        self.sever()
        for end in (self, self._peer):
            if not end._over:
                known = end._reason is not None
                self._clock.after(0.0 if known else end._pipe.delay_s(), lambda end=end: end._notice(why))  # type: ignore[misc]

    def _notice(self, why: str) -> None:
        if self._reason is None:
            self._reason = why or "the connection broke: the other side has reset it"
        self._end()
        self._read()

    def _end(self) -> None:
        self._over = self._closed = True
        self._unread.clear()
        self.is_congested = False
        self._under_way_bytes = 0

    def _tell(self) -> None:
        """Tell the owner of the end, once, as soon as there is one."""
        if self._told or self._on_batch is None:
            return
        assert self._reason is not None, "an end has a reason"
        self._told = True
        self._tell_lost(self._reason)


class SimulatedListener(Listener):
    """A name in a simulated network to connect to; made by `SimulatedNetwork.listen`."""

    def __init__(self, network: SimulatedNetwork, name: str, on_link: OnLink) -> None:
        self.address = join_address(SCHEME, name)
        self._network = network
        self._name = name
        self._on_link = on_link

    def close(self) -> None:
        if self._network.listeners.get(self._name) is self:
            del self._network.listeners[self._name]

    def accept(self, link: SimulatedLink) -> None:
        """Take one who has connected."""
        try:
            self._on_link(link)
        except Exception as error:
            logger.exception("%s could not take a connection; closing it", self.address)
            link.abort(f"its listener failed: {error!r}")


class SimulatedNetwork:
    """A network as a transport: register it for a scheme, and connect and listen by addresses with that.

    Parameters
    ----------
    clock, rng
        Say when what happens.
    delay_s
        The longest time that a message takes.

    Attributes
    ----------
    connections : list[tuple[SimulatedLink, SimulatedLink]]
        All that were made: the side that connected, and the one that listened.

    Examples
    --------
    >>> import asyncio
    >>> from windrow.wire.messages import Close
    >>> network = SimulatedNetwork(Clock(), Random(1))
    >>> async def main():
    ...     await network.listen("here", lambda link: setattr(link, "on_batch", print), secret=None)
    ...     return await network.connect("here", secret=None, timeout_s=1.0)
    >>> link = asyncio.run(main())
    >>> link.send([Close("hello")])
    >>> while network.clock.step():
    ...     pass
    [Close(reason='hello')]
    """

    HAS_PORTS = False
    IS_SAFE = True

    def __init__(self, clock: Clock, rng: Random, delay_s: float = 0.002) -> None:
        self.clock = clock
        self.rng = rng
        self.delay_s = delay_s
        self.listeners: dict[str, SimulatedListener] = {}
        self.connections: list[tuple[SimulatedLink, SimulatedLink]] = []
        self.is_down = False
        """Whether nobody can connect."""
        self._numbers = itertools.count(1)

    def __repr__(self) -> str:
        return f"<SimulatedNetwork connections={len(self.connections)} now_s={self.clock.now_s:.6f}>"

    def new_location(self) -> str:
        """Return a name that nobody has."""
        return f"place-{next(self._numbers)}"

    async def connect(self, location: str, *, secret: bytes | None, timeout_s: float) -> SimulatedLink:
        """Connect to a name; nobody is waited for."""
        listener = self.listeners.get(location)
        if listener is None or self.is_down:
            raise TimeoutError(f"nobody is reached at {join_address(SCHEME, location)}")
        name = f"{location}#{next(self._numbers)}"
        near, far = pair(self.clock, self.rng, self.delay_s, listener.address, join_address(SCHEME, name))
        self.connections.append((near, far))
        self.clock.after(near._pipe.delay_s(), lambda: listener.accept(far))
        return near

    async def listen(self, location: str, on_link: OnLink, *, secret: bytes | None) -> SimulatedListener:
        """Listen under a name that nobody else has."""
        if location in self.listeners:
            raise OSError(f"{join_address(SCHEME, location)} is taken")
        listener = self.listeners[location] = SimulatedListener(self, location, on_link)
        return listener


def pair(
    clock: Clock,
    rng: Random,
    delay_s: float,
    remote: str = "sim://far",
    own: str = "sim://near",
    kind: type[SimulatedLink] = SimulatedLink,
) -> tuple[SimulatedLink, SimulatedLink]:
    """Return two ends that are connected.

    Examples
    --------
    >>> pair(Clock(), Random(1), 0.002)
    (<SimulatedLink to sim://far>, <SimulatedLink to sim://near>)
    """
    near, far = kind(remote, clock, rng, delay_s), kind(own, clock, rng, delay_s)
    near._peer, far._peer = far, near
    return near, far
