"""A queue of tasks: high priority first, then low id first.

What lives here: `RunQueue`, used by the scheduler for what waits for a worker, and by the worker for what waits for
a thread. What this file must never know: why a task is in a queue, or who takes it out.

Ids grow in the order of submission, so that the common push goes to the end of a deque and the common pop takes its
front, both in constant time. A task that comes back (its worker died, its inputs came late) has a lower id than the
deque's end and goes to a small heap beside it. Removal is lazy: an item names the queue that it is in, and an entry
whose item no longer names this queue is passed over.
"""

from __future__ import annotations

from collections import deque
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


class _Lane(Generic[T]):
    """The items of one priority."""

    __slots__ = ("early", "fifo")

    def __init__(self) -> None:
        self.fifo: deque[T] = deque()
        self.early: list[tuple[int, int, T]] = []


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

    __slots__ = ("_count", "_lanes", "_pushes", "_top")

    def __init__(self) -> None:
        self._lanes: dict[float, _Lane[T]] = {}
        self._top: _Lane[T] | None = None  # the lane of the highest priority, when known
        self._count = 0
        self._pushes = 0

    def __len__(self) -> int:
        return self._count

    def push(self, item: T) -> None:
        """Add an item that is in no queue."""
        assert item.queue is None, "an item is in one queue at the most"
        item.queue = self
        self._count += 1
        lane = self._lanes.get(item.priority)
        if lane is None:
            lane = self._lanes[item.priority] = _Lane()
            self._top = None
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

    def head(self) -> T | None:
        """Return the first item, and leave it there."""
        if not self._count:
            if self._lanes:
                self._lanes.clear()
                self._top = None
            return None
        while True:
            lane = self._top
            if lane is None:
                lane = self._top = self._lanes[max(self._lanes)]
            fifo, early = lane.fifo, lane.early
            while fifo and fifo[0].queue is not self:
                fifo.popleft()
            while early and early[0][2].queue is not self:
                heappop(early)
            if early and (not fifo or early[0][0] < fifo[0].id):
                return early[0][2]
            if fifo:
                return fifo[0]
            del self._lanes[max(self._lanes)]
            self._top = None

    def pop(self) -> T:
        """Take the first item; `IndexError` when there is none."""
        item = self.head()
        if item is None:
            raise IndexError("pop from an empty RunQueue")
        item.queue = None
        self._count -= 1
        return item
