"""What waits for the other side to take what was sent before: in which order, how much, and since when.

What lives here: `Backlog`. What this file must never know: sockets, clocks, what becomes of a side that takes nothing.

Batches wait as they are, and cost no more than what they refer to. What is counted is what nobody has asked for:
reports, events, orders. Answers, and values on their way to who is to hold them, are as many as are asked for, and
their raw buffers are not copied while they wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from windrow.wire.framing import FrameEncoder
from windrow.wire.messages import Put, Reply

__all__ = ["Backlog"]

_encode = FrameEncoder().encode


class Backlog:
    """Batches that wait.

    Parameters
    ----------
    limit_bytes
        More than this should not wait for a side that takes nothing.
    stall_s
        So long it may take nothing all the same.

    Examples
    --------
    >>> from windrow.wire.messages import Close
    >>> backlog = Backlog(10, 30.0)
    >>> backlog.put([Close("a reason of some length")], now_s=0.0)
    >>> len(backlog), backlog.is_too_much(29.0), backlog.is_too_much(30.0)
    (1, False, True)
    >>> backlog.next()
    [Close(reason='a reason of some length')]
    """

    __slots__ = ("_batches", "_left_bytes", "_moved_s", "_sizes", "bytes", "limit_bytes", "stall_s")

    def __init__(self, limit_bytes: float, stall_s: float) -> None:
        self.limit_bytes = limit_bytes
        self.stall_s = stall_s
        self.bytes = 0
        self._batches: deque[list[Any]] = deque()
        self._sizes: deque[int] = deque()
        self._moved_s = 0.0
        self._left_bytes = 0

    def __len__(self) -> int:
        return len(self._batches)

    def __repr__(self) -> str:
        return f"<Backlog batches={len(self)} bytes={self.bytes}>"

    def put(self, batch: list[Any], now_s: float) -> None:
        """Have a batch wait.

        Raises
        ------
        TypeError, OverflowError, UnicodeEncodeError
            It holds what cannot be sent; it does not wait.
        """
        size = _weight(batch)
        if not self._batches and not self.bytes:
            self._moved_s = now_s
        self._batches.append(batch)
        self._sizes.append(size)
        self.bytes += size

    def next(self) -> list[Any]:
        """Take out what is to be sent next."""
        self.bytes -= self._sizes.popleft()
        return self._batches.popleft()

    def again(self, batches: Iterable[list[Any]]) -> None:
        """Have these wait; the last of them are those that wait already."""
        self._batches = deque(batches)
        for _ in range(len(self._batches) - len(self._sizes)):
            self._sizes.appendleft(0)

    def clear(self) -> None:
        """Have nothing wait."""
        self._batches.clear()
        self._sizes.clear()
        self.bytes = 0

    def look(self, left_bytes: int, now_s: float) -> None:
        """Note how much is under way still of what was sent; less than before is a sign that the other side reads."""
        if left_bytes != self._left_bytes:
            self._left_bytes = left_bytes
            self._moved_s = now_s

    def is_too_much(self, now_s: float) -> bool:
        """Whether more than the limit waits, and the other side has taken nothing for so long."""
        return self.bytes > self.limit_bytes and now_s - self._moved_s >= self.stall_s


def _weight(batch: list[Any]) -> int:
    """Return what a batch counts; encodes it, to find out whether it can be sent."""
    asked = [message for message in batch if type(message) in (Reply, Put)]
    if asked:
        _encode(asked)
        batch = [message for message in batch if type(message) not in (Reply, Put)]
        if not batch:
            return 0
    return len(_encode(batch)[0])
