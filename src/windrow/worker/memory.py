"""How much memory a worker may use, and what follows from how much it does: the policy, and no more than that.

What lives here: `MemoryOptions`, and the rules that turn measured bytes into `Marks` and decisions. What this file must
never know: how memory is measured, what a value is, disks, clocks.

*Managed* is what the values that a worker holds in memory are thought to take; *unmanaged* is what its process takes
beyond that: the interpreter, libraries, running tasks, what the allocator keeps. The process is measured ten times a
second, which is an age for a task that makes arrays. So between two measurements the unmanaged part is taken to stay as
it was, every threshold is told in managed bytes (`Marks`), and each value that comes or goes is compared with them.
"""

from __future__ import annotations

from collections import deque
from math import inf

from msgspec import Struct


class MemoryOptions(Struct, kw_only=True):
    """The settings ``distributed.worker.memory.*``, and those of transfers; None: this is off.

    Fractions are of the worker's limit of memory; without a limit none of them means anything.

    Examples
    --------
    >>> MemoryOptions(target=None).spill
    0.7
    """

    target: float | None = 0.60
    """Of managed memory: beyond it the least recently used values go to disk."""
    spill: float | None = 0.70
    """Of the process's memory: beyond it values go to disk until it is below the target."""
    pause: float | None = 0.80
    """Of the process's memory: beyond it no task starts."""
    terminate: float | None = 0.95
    """Of the process's memory: beyond it the nanny ends the worker."""
    transfer: float | None = 0.10
    """What is fetched from peers at a time."""
    max_spill: int | None = None
    """How many bytes may lie on disk."""
    compression: str | None = "auto"
    """How they are compressed."""
    interval_s: float = 0.1
    """How often the process is measured."""
    recent_s: float = 30.0
    """How long unmanaged memory counts as recent, and may still go away by itself."""
    incoming: int = 10
    outgoing: int = 50
    """Transfers at a time."""
    question_bytes: int = 50_000_000
    """What one question to a peer asks for."""

    def spills(self, limit: int) -> bool:
        """Say whether values ever go to disk."""
        return bool(limit) and not (self.target is None and self.spill is None)


class Marks(Struct, frozen=True):
    """The thresholds in managed bytes, as of the last measurement; infinite ones are off."""

    target: float = inf
    """Beyond it values go to disk, down to it."""
    start: float = inf
    """Beyond it, too: the process is beyond its own threshold…"""
    stop: float = inf
    """…until there is so little left."""
    brim: float = inf
    """Beyond it no task starts while values can still go to disk."""

    @property
    def press(self) -> float:
        """The lowest value of managed memory that calls for something."""
        return min(self.target, self.start)


def marks(options: MemoryOptions, limit: int, process: int, managed: int) -> Marks:
    """Return the thresholds, given what the process takes in all, and what of that is managed.

    Examples
    --------
    >>> marks(MemoryOptions(), 1000, 300, 200)
    Marks(target=600.0, start=600.0, stop=500.0, brim=650.0)
    """
    if not limit:
        return Marks()
    unmanaged = max(0, process - managed)

    def of_process(fraction: float | None) -> float:
        return inf if fraction is None else max(0.0, fraction * limit - unmanaged)

    below = min([fraction for fraction in (options.target, options.spill) if fraction is not None], default=None)
    target = inf if options.target is None else options.target * limit
    start = of_process(options.spill)
    stop = inf if options.spill is None else of_process(below)
    # Half of the way to a pause, as the tasks that run already have their results to come.
    halfway = None if options.pause is None else (options.pause + (options.spill or options.pause)) / 2
    return Marks(target, start, stop, max(of_process(halfway), min(target, start)))


def is_too_full(options: MemoryOptions, limit: int, process: int) -> bool:
    """Say whether a worker is to start no more tasks.

    Examples
    --------
    >>> is_too_full(MemoryOptions(), 1000, 801), is_too_full(MemoryOptions(pause=None), 1000, 2000)
    (True, False)
    """
    return bool(limit) and options.pause is not None and process > options.pause * limit


def transfer_bytes(options: MemoryOptions, limit: int) -> float:
    """Return how much may be fetched from peers at a time.

    Examples
    --------
    >>> transfer_bytes(MemoryOptions(), 1000), transfer_bytes(MemoryOptions(), 0)
    (100.0, inf)
    """
    return options.transfer * limit if limit and options.transfer is not None else inf


class Unmanaged:
    """How much of the unmanaged memory has been there for a while: the least that was seen lately.

    Parameters
    ----------
    recent_s
        How long is a while.

    Examples
    --------
    >>> unmanaged = Unmanaged(recent_s=30)
    >>> [unmanaged.old(now_s, seen) for now_s, seen in [(0, 50), (10, 80), (20, 70), (31, 90)]]
    [50, 50, 50, 70]
    """

    __slots__ = ("_recent_s", "_seen")

    def __init__(self, recent_s: float) -> None:
        self._recent_s = recent_s
        self._seen: deque[tuple[float, int]] = deque()  # rising: what is larger and older than another never matters

    def old(self, now_s: float, unmanaged: int) -> int:
        """Take down what is seen now; return the part that is old."""
        seen = self._seen
        while seen and seen[-1][1] >= unmanaged:
            seen.pop()
        seen.append((now_s, unmanaged))
        while now_s - seen[0][0] > self._recent_s:
            seen.popleft()
        return seen[0][1]
