"""What makes a session outlive its connections: both sides count messages, and keep what is not acknowledged.

What lives here: `Replay`, the books of one end. What this file must never know: sockets, clocks, how a connection comes
about, what a message means.

A connection delivers a prefix of what was sent on it, in order. So a side that knows how many messages have arrived
(`received`), and one that still has all that were sent after those (`again`), go on over another connection as if
nothing had happened: no message is lost, and none arrives twice. `Ack` says what has arrived; it rides along with other
messages, is not counted itself, and lets the other side forget.

Messages are counted, not batches: a large batch may arrive as several.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from windrow.wire.messages import Ack

__all__ = ["Replay"]

TELL_AFTER = 256
"""So many messages may have arrived before the next batch that leaves acknowledges them."""


class Replay:
    """One end's books.

    Examples
    --------
    >>> near, far = Replay(), Replay()
    >>> near.keep(["a", "b"]); near.keep(["c"])
    >>> far.take(["a"])  # the rest was lost with the connection
    ['a']
    >>> near.again(far.received)
    [['b'], ['c']]
    """

    __slots__ = ("_forgotten", "_kept", "_told", "is_over", "received", "sent")

    def __init__(self) -> None:
        self.sent = 0
        self.received = 0
        self.is_over = False
        """Whether the other side has broken off."""
        self._told = 0
        self._kept: deque[list[Any]] = deque()
        self._forgotten = 0  # so many messages came before the first that is kept

    def __repr__(self) -> str:
        return f"<Replay sent={self.sent} kept={self.sent - self._forgotten} received={self.received}>"

    def keep(self, messages: list[Any]) -> None:
        """Note messages that are sent, or would be if there were a connection."""
        self._kept.append(messages.copy())
        self.sent += len(messages)

    def is_due(self) -> bool:
        """Say whether the next batch should acknowledge what has arrived."""
        return self.received - self._told >= TELL_AFTER

    def ack(self) -> Ack:
        """Return what acknowledges all that has arrived; to be sent, as the last of a batch or alone."""
        self._told = self.received
        return Ack(self.received)

    def take(self, batch: list[Any]) -> list[Any]:
        """Count a batch that has arrived; return it without its acknowledgement. It may be empty then."""
        if batch and type(batch[-1]) is Ack:
            count = batch.pop().count
            self.is_over = count < 0
            self.forget(count)
        self.received += len(batch)
        return batch

    def forget(self, count: int) -> None:
        """So many of all messages that were sent have arrived."""
        kept = self._kept
        while kept and self._forgotten + len(kept[0]) <= count:
            self._forgotten += len(kept.popleft())

    def can_go_on(self, count: int) -> bool:
        """Say whether all messages after the first ``count`` are still here."""
        return self._forgotten <= count <= self.sent

    def again(self, count: int) -> list[list[Any]]:
        """Return what is to be sent on a new connection, of which the other side has the first ``count`` messages."""
        assert self.can_go_on(count), f"{self} cannot go on from {count}"
        self.forget(count)
        self._told = self.received  # who resumes says how much has arrived
        batches = list(self._kept)
        if count > self._forgotten:  # a part of the first one has arrived
            batches[0] = batches[0][count - self._forgotten :]
        return batches
