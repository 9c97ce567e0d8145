"""What waits for the other side to take what was sent before: in which order, how much, and since when.

What lives here: `Backlog`, and how much a batch weighs. What this file must never know: sockets, clocks, what becomes
of a side that takes nothing.

Batches wait as they are, and cost no more than what they refer to. What nobody has asked for (reports, events, orders)
has a limit. Answers, and values on their way to who is to hold them, are as many as are asked for; they count towards
the bound of all that waits, which is some times as high. Raw buffers count for neither: they are values and arguments,
which there is a record of as long as they are needed, and are not copied while they wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from windrow.wire.framing import FrameEncoder
from windrow.wire.messages import Put, Reply

__all__ = ["OVERFLOW", "Backlog", "Weight", "weight"]

OVERFLOW = 4
"""With so many times the limit a side is given up, whether it reads or not: it cannot keep up."""

_encode = FrameEncoder().encode


class Weight(NamedTuple):
    """What a batch weighs, in bytes: of messages that nobody has asked for, of the others, and raw buffers of all."""

    unasked: int
    asked: int
    buffers: int


class Backlog:
    """Batches that wait.

    Parameters
    ----------
    limit_bytes
        More than this should not wait for a side that takes nothing.
    stall_s
        So long it may take nothing all the same; and `OVERFLOW` times as much is too much at once.

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

    __slots__ = (
        "_all_bytes",
        "_batches",
        "_before_bytes",
        "_left_bytes",
        "_moved_s",
        "_sizes",
        "bytes",
        "limit_bytes",
        "stall_s",
        "whole_bytes",
    )

    def __init__(self, limit_bytes: float, stall_s: float) -> None:
        self.limit_bytes = limit_bytes
        self.stall_s = stall_s
        self.bytes = 0
        """What waits that nobody has asked for."""
        self.whole_bytes = 0
        """What waits, with all its raw buffers."""
        self._all_bytes = 0
        self._before_bytes = 0  # when the last batch came: one may be as large as it likes
        self._batches: deque[list[Any]] = deque()
        self._sizes: deque[Weight] = deque()
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
        size = weight(batch)
        if not self._batches and not self.bytes:
            self._moved_s = now_s
        self._batches.append(batch)
        self._sizes.append(size)
        self._before_bytes = self._all_bytes
        self._count(size, 1)

    def next(self) -> list[Any]:
        """Take out what is to be sent next."""
        self._count(self._sizes.popleft(), -1)
        return self._batches.popleft()

    def _count(self, size: Weight, sign: int) -> None:
        self.bytes += sign * size.unasked
        self._all_bytes += sign * (size.unasked + size.asked)
        self.whole_bytes += sign * sum(size)

    def again(self, batches: Iterable[list[Any]]) -> None:
        """Have these wait; the last of them are those that wait already."""
        self._batches = deque(batches)
        for _ in range(len(self._batches) - len(self._sizes)):
            self._sizes.appendleft(Weight(0, 0, 0))

    def clear(self) -> None:
        """Have nothing wait."""
        self._batches.clear()
        self._sizes.clear()
        self.bytes = self.whole_bytes = self._all_bytes = self._before_bytes = 0

    def look(self, left_bytes: int, now_s: float) -> None:
        """Note how much is under way still of what was sent; less than before is a sign that the other side reads."""
        if left_bytes != self._left_bytes:
            self._left_bytes = left_bytes
            self._moved_s = now_s

    def is_too_much(self, now_s: float) -> bool:
        """Whether more than the limit waits and the other side has taken nothing for so long, or far more waits."""
        if self.bytes > self.limit_bytes and now_s - self._moved_s >= self.stall_s:
            return True
        return min(self._before_bytes, self._all_bytes) > OVERFLOW * self.limit_bytes

    def why(self, now_s: float) -> str:
        """Say why the other side is given up."""
        if now_s - self._moved_s >= self.stall_s:
            words = f"it has taken nothing for {self.stall_s:g} s, while {self.bytes} bytes wait for it"
        else:
            words = f"{self._all_bytes} bytes wait for it, and it does not keep up"
        return f"{words}: it is stopped, or does not read ('windrow.stall-timeout', 'windrow.backlog-limit')"


def weight(batch: list[Any]) -> Weight:
    """Return what a batch weighs. It is encoded, to find out whether it can be sent.

    Examples
    --------
    >>> from windrow.wire.messages import Close
    >>> weight([Close(), Reply(1)])
    Weight(unasked=20, asked=24, buffers=0)
    """
    asked = [message for message in batch if type(message) in (Reply, Put)]
    unasked = [message for message in batch if type(message) not in (Reply, Put)] if asked else batch
    buffers = 0
    words = []
    for part in (unasked, asked):
        if part:
            head, *raw = _encode(part)
            buffers += sum(map(len, raw))
        words.append(len(head) if part else 0)
    return Weight(words[0], words[1], buffers)
