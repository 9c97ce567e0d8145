"""A long stream of boxes in parts: which rows go into which of some column sources, so that a browser can keep up.

What lives here: `Slots`. What this file must never know: what a row is, and what a column source is.

A browser goes through all boxes of a source when some are added, and a page is open only when all its boxes are there.
So a long stream is in several sources, of which one is added to. A page opens with the latest rows, and older ones
follow, some at each turn; when all sources are full, the one with the oldest rows is emptied, and is the next that is
added to.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Put", "Slots"]

SLOT_ROWS = 10_000
OPENING_ROWS = 2_000
"""So many rows a page opens with."""
BATCH_ROWS = 5_000
"""So many older ones follow at each turn."""


class Put(NamedTuple):
    """Rows from ``start`` to before ``stop`` are to be added to a slot; which is emptied before if ``anew``."""

    slot: int
    start: int
    stop: int
    anew: bool


class Slots:
    """Where rows of a stream are.

    Parameters
    ----------
    limit
        How many rows are shown at most.

    Examples
    --------
    >>> slots = Slots(100_000)
    >>> slots.count, slots.put(first=0, end=5_000)
    (10, [Put(slot=0, start=3000, stop=5000, anew=True)])
    >>> slots.put(first=0, end=5_010)
    [Put(slot=0, start=5000, stop=5010, anew=False), Put(slot=9, start=0, stop=3000, anew=True)]
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.count = 1 if limit <= SLOT_ROWS else max(2, -(-limit // SLOT_ROWS))
        self._begin()

    def _begin(self) -> None:
        self._used = [0] * self.count
        self._live, self._back = 0, self.count - 1
        self._end: int | None = None
        self._oldest = 0
        self._fills_up = self.count > 1

    def put(self, first: int, end: int) -> list[Put]:
        """Return what is to be done, in order, where the rows from ``first`` up to ``end`` are there.

        A stream that has begun anew has an end before the one that was last heard of.
        """
        puts: list[Put] = []
        if self._end is not None and end < self._end:
            puts = [Put(slot, 0, 0, anew=True) for slot, used in enumerate(self._used) if used]
            self._begin()
        if self._end is None:
            start = self._oldest = max(first, end - (OPENING_ROWS if self.count > 1 else self.limit))
            puts += self._add_live(start, end, begins=True)
        else:
            puts += self._add_live(max(first, self._end), end, begins=False)
            if self._fills_up:
                puts += self._add_older(first)
        self._end = end
        return puts

    def _add_live(self, start: int, end: int, begins: bool) -> list[Put]:
        if self.count == 1:
            self._used[0] = end - start
            return [Put(0, start, end, begins)] if end > start else []
        size = -(-self.limit // self.count)
        start = max(start, end - self.limit)
        puts, anew = [], begins
        while start < end:
            if self._used[self._live] >= size:
                self._live = (self._live + 1) % self.count
                self._used[self._live], anew = 0, True
                self._fills_up = self._fills_up and self._live != self._back
            count = min(end - start, size - self._used[self._live])
            puts.append(Put(self._live, start, start + count, anew))
            self._used[self._live] += count
            start, anew = start + count, False
        return puts

    def _add_older(self, first: int) -> list[Put]:
        room = -(-self.limit // self.count) - self._used[self._back]
        start = max(first, self._oldest - min(BATCH_ROWS, room))
        if start >= self._oldest:  # they are all here, or have gone meanwhile
            self._fills_up = False
            return []
        put = Put(self._back, start, self._oldest, self._used[self._back] == 0)
        self._used[self._back] += put.stop - put.start
        self._oldest = start
        if put.stop - put.start == room:
            self._back -= 1
            self._fills_up = self._back > self._live + 1  # one is left free for what comes
        return [put]
