"""A queue of tasks: high priority first, then low id first.

What lives here: `RunQueue`, used by the scheduler for what waits for a worker, and by the worker for what waits for
a thread. What this file must never know: why a task is in a queue, or who takes it out.

Ids grow in the order of submission, so that the common push goes to the end of a deque and the common pop takes its
front, both in constant time. A task that comes back (its worker died, its inputs came late) has a lower id than the
deque's end and goes to a small heap beside it. Removal is lazy: an item names the queue that it is in, and an entry
whose item no longer names this queue is passed over.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any, Generic, Protocol, TypeVar


class Queueable(Protocol):
    """What an item must have: its rank, and a slot for the queue that holds it."""

    queue: Any

    @property
    def id(self) -> int:
        """Rank within a priority: low first."""

    @property
    def priority(self) -> float:
        """High first."""


T = TypeVar("T", bound=Queueable)

COUNTED_MAX = 10_000
"""So many items are counted one by one when somebody asks for a place."""
STALE_MAX = 64
"""Removed items that may stand in a queue before it is looked at whether they outnumber the others."""


class _Lane(Generic[T]):
    """The items of one priority."""

    __slots__ = ("early", "fifo")

    def __init__(self) -> None:
        self.fifo: deque[T] = deque()
        self.early: list[tuple[int, int, T]] = []

    def early_first(self) -> bool:
        """Whether the heap holds the first item; both fronts are live."""
        return bool(self.early) and (not self.fifo or self.early[0][0] < self.fifo[0].id)

    def items(self) -> Iterator[T]:
        """All entries, stale ones too."""
        yield from self.fifo
        for _, _, item in self.early:
            yield item


class RunQueue(Generic[T]):
    """Items by (priority descending, id ascending).

    Examples
    --------
    >>> from types import SimpleNamespace as Item
    >>> queue = RunQueue()
    >>> for id, priority in [(1, 0.0), (2, 5.0), (3, 0.0)]:
    ...     queue.push(Item(id=id, priority=priority, queue=None))
    >>> [queue.pop().id for _ in range(len(queue))]
    [2, 1, 3]
    """

    __slots__ = ("_count", "_lanes", "_order", "_pushes", "_stale")

    def __init__(self) -> None:
        self._lanes: dict[float, _Lane[T]] = {}
        self._order: list[float] = []  # a heap of the lanes' priorities, negated
        self._count = 0
        self._pushes = 0
        self._stale = 0  # entries whose item was removed; about, as some are met by chance

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        """Yield what is here, high priorities first; within one, nearly in order."""
        for rank in sorted(self._order):
            yield from (item for item in self._lanes[-rank].items() if item.queue is self)

    def before(self, item: T) -> tuple[int, int]:
        """Return how many items are before one that is here, and how many of those have a higher priority.

        Exact in a short queue; in one of many thousands removed items may be counted along.

        Examples
        --------
        >>> from types import SimpleNamespace as Item
        >>> queue, last = RunQueue(), Item(id=3, priority=0.0, queue=None)
        >>> for item in (Item(id=1, priority=0.0, queue=None), Item(id=2, priority=5.0, queue=None), last):
        ...     queue.push(item)
        >>> queue.before(last)
        (2, 1)
        """
        assert item.queue is self
        if self._count <= COUNTED_MAX:
            higher = sum(other.priority > item.priority for other in self)
            same = sum(other.priority == item.priority and other.id < item.id for other in self)
            return higher + same, higher
        lanes = self._lanes
        higher = sum(len(lane.fifo) + len(lane.early) for rank, lane in lanes.items() if rank > item.priority)
        lane = lanes[item.priority]
        same = bisect_left(lane.fifo, item.id, key=lambda other: other.id)
        return higher + same + sum(id < item.id for id, _, _ in lane.early), higher

    def push(self, item: T) -> None:
        """Add an item that is in no queue."""
        assert item.queue is None, "an item is in one queue at the most"
        item.queue = self
        self._count += 1
        lane = self._lanes.get(item.priority)
        if lane is None:
            lane = self._lanes[item.priority] = _Lane()
            heappush(self._order, -item.priority)
        fifo = lane.fifo
        if not fifo or fifo[-1].id < item.id:
            fifo.append(item)
        else:
            self._pushes += 1  # a tie on the id must not compare items
            heappush(lane.early, (item.id, self._pushes, item))

    def remove(self, item: T) -> None:
        """Take an item out from wherever it stands."""
        assert item.queue is self
        item.queue = None
        self._count -= 1
        self._stale += 1
        if self._stale > STALE_MAX and self._stale > self._count:
            self._compact()

    def head(self) -> T | None:
        """Return the first item, and leave it there."""
        lane = self._first_lane()
        if lane is None:
            return None
        return lane.early[0][2] if lane.early_first() else lane.fifo[0]

    def pop(self) -> T:
        """Take the first item; `IndexError` when there is none."""
        lane = self._first_lane()
        if lane is None:
            raise IndexError("pop from an empty RunQueue")
        item = heappop(lane.early)[2] if lane.early_first() else lane.fifo.popleft()
        item.queue = None
        self._count -= 1
        return item

    def _first_lane(self) -> _Lane[T] | None:
        """Return the lane of the highest priority, with live items in front; lanes without any are dropped."""
        while self._order:
            lane = self._lanes[-self._order[0]]
            fifo, early = lane.fifo, lane.early
            while fifo and fifo[0].queue is not self:
                fifo.popleft()
                self._stale -= 1
            while early and early[0][2].queue is not self:
                heappop(early)
                self._stale -= 1
            if fifo or early:
                return lane
            del self._lanes[-heappop(self._order)]
        self._stale = 0
        return None

    def _compact(self) -> None:
        """Drop the entries of removed items, so that what is kept is bounded by what is queued."""
        items = {id(item): item for lane in self._lanes.values() for item in lane.items() if item.queue is self}
        self._lanes.clear()
        self._order.clear()
        self._count = self._stale = 0
        for item in sorted(items.values(), key=lambda item: item.id):
            item.queue = None
            self.push(item)
