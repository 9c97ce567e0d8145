"""What a worker's memory is taken by, as the scheduler sees it.

What lives here: `MemoryState`, and how it is put together from a worker's heartbeat and from what it is known to hold.
What this file must never know: who asks.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from windrow.scheduler.state import WorkerRecord

MEASURES = (
    *("process", "optimistic", "managed", "managed_total"),
    *("spilled", "unmanaged", "unmanaged_old", "unmanaged_recent"),
)
"""What of memory can be told: attributes of `MemoryState`."""


class MemoryState(Struct, frozen=True):
    """Bytes of one worker's memory, or of all.

    Examples
    --------
    >>> MemoryState(process=100, managed_total=70, spilled=10, unmanaged_old=30)
    <MemoryState process=100 managed=60 unmanaged=40 (old 30, recent 10) spilled=10>
    """

    process: int
    """What the system says that the process takes."""
    managed_total: int
    """The size of the results that it holds, in memory or on disk."""
    spilled: int
    """The size that those of them have that are on disk."""
    unmanaged_old: int
    """What was there beside them for a while: the interpreter, libraries, what the allocator keeps."""

    @property
    def managed(self) -> int:
        """The size of the results that are in memory."""
        return max(0, min(self.process, self.managed_total - self.spilled))

    @property
    def unmanaged(self) -> int:
        """What is no result."""
        return self.process - self.managed

    @property
    def unmanaged_recent(self) -> int:
        """What is no result, and came lately: running tasks, as a rule."""
        return self.unmanaged - self.unmanaged_old

    @property
    def optimistic(self) -> int:
        """What will be left if all that came lately goes away."""
        return self.managed + self.unmanaged_old

    def __repr__(self) -> str:
        kinds = f"(old {self.unmanaged_old}, recent {self.unmanaged_recent})"
        return (
            f"<MemoryState process={self.process} managed={self.managed} unmanaged={self.unmanaged} {kinds} "
            f"spilled={self.spilled}>"
        )


def memory_of(worker: WorkerRecord) -> MemoryState:
    """Return what a worker's memory is taken by."""
    measured = {name: int(worker.metrics.get(name, 0)) for name in ("memory", "spilled", "unmanaged_old")}
    held = worker.stored
    seen = MemoryState(measured["memory"], held, measured["spilled"], 0)
    # Results have come and gone since the heartbeat: what is old is no more than what there is.
    return MemoryState(seen.process, held, seen.spilled, min(measured["unmanaged_old"], seen.unmanaged))


def total(states: Iterable[MemoryState]) -> MemoryState:
    """Return what several workers' memory is taken by.

    Examples
    --------
    >>> total([MemoryState(100, 70, 10, 30), MemoryState(50, 0, 0, 50)]).process
    150
    """
    every = list(states)
    return MemoryState(
        sum([state.process for state in every]),
        sum([state.managed_total for state in every]),
        sum([state.spilled for state in every]),
        sum([state.unmanaged_old for state in every]),
    )


def measured(workers: Iterable[WorkerRecord]) -> dict[str, int]:
    """Return what the memory of workers that are there is taken by, in bytes, by measure.

    Examples
    --------
    >>> measured([])["process"]
    0
    """
    taken = total([memory_of(worker) for worker in workers if worker.status != "lost"])
    return {name: getattr(taken, name) for name in MEASURES}
