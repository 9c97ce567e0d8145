"""The segments that this process owns: filled with values that others of this host may map, and used again.

What lives here: `Pool` and `Owned`. What this file must never know: what the buffers mean, who is offered them.

Pages that nobody has touched cost several times what it takes to copy into those that are there already. So a segment
that nobody needs any more is kept for a while for the next value. The pool is bounded, it is let go of when nobody asks
for it for some seconds, and at once when memory is short (`Pool.give_back`).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from queue import Empty, SimpleQueue

from windrow import config, memfd, system
from windrow.memfd import HEADER_BYTES, HUGE_BYTES, View, offsets

__all__ = ["Owned", "Pool", "Segment", "bound_to", "give_back", "is_enabled", "pool", "token"]

SHARE_BYTES = 16 * 2**20
"""A thread more copies for each of so many bytes,"""

COPIERS_MAX = 4
"""up to so many, and no more than there are processors."""

COUNT_MAX = 4096
"""So many segments at most, and no more than an eighth of the descriptors that may be open."""

COARSE = 8
"""Capacities are multiples of this part of the next lower power of two, so that values of much the same size fit."""

SPARE = 2
"""A segment of up to so many times the size that is needed will do."""


class Segment:
    """Memory of this process that others may map.

    Parameters
    ----------
    fd
        Its descriptor.
    capacity
        Its size, with the header.
    """

    __slots__ = ("capacity", "fd", "free_since_s", "generation", "inode", "is_huge", "pid", "touched")

    def __init__(self, fd: int, capacity: int) -> None:
        self.fd = fd
        self.pid = os.getpid()
        self.inode = os.fstat(fd).st_ino
        self.capacity = capacity
        self.generation = 0
        self.touched = 0
        """So much of it takes up memory."""
        self.is_huge = False
        self.free_since_s = 0.0

    def __repr__(self) -> str:
        return f"<Segment fd={self.fd} {self.touched} of {self.capacity} bytes, generation {self.generation}>"

    def fill(self, parts: Sequence[memoryview], size: int) -> None:
        """Put buffers into it; with the exclusive lock held."""
        self.generation += 1
        memfd.write_header(self.fd, self.generation)
        placed = list(zip(offsets([part.nbytes for part in parts])[0], parts, strict=True))
        whole = -(-size // HUGE_BYTES) * HUGE_BYTES
        if size >= HUGE_BYTES and whole <= self.capacity and (self.is_huge or _huge.works):
            self._fill_huge(placed, whole)
            self._touch(whole)
        else:
            for start, part in placed:
                self._write(part, start)
            self._touch(size)

    def _fill_huge(self, placed: list[tuple[int, memoryview]], whole: int) -> None:
        """Put buffers into huge pages: which are mapped, by all, at a tenth of the cost of small ones."""
        view = View(self.fd, whole, is_private=False)
        fresh = self.touched // HUGE_BYTES * HUGE_BYTES if self.is_huge else 0
        """From here on they are to be made yet."""
        for at in range(fresh, whole, HUGE_BYTES):
            view.data[at + HEADER_BYTES] = 0  # what holds nothing at all cannot become one

        def fill(begin: int, end: int) -> bool:
            """Fill a part. Few calls: whoever lets other threads run waits for them, each time."""
            new = max(begin, fresh)
            is_huge = new >= end or view.collapse(new, end)
            for start, part in placed:
                low, high = max(begin, start), min(end, start + part.nbytes)
                if low < high:
                    piece = part[low - start : high - start]
                    if is_huge:
                        view.put(piece, low)
                    else:
                        self._write(piece, low)
            return is_huge

        self.is_huge = _huge.works = all(_by_several(fill, whole))

    def _write(self, part: memoryview, start: int) -> None:
        at = 0
        while at < part.nbytes:
            at += os.pwrite(self.fd, part[at:], start + at)

    def _touch(self, size: int) -> None:
        if size > self.touched:
            memfd.held.add(size - self.touched)
            self.touched = size

    def close(self) -> None:
        """Have no part in it any more."""
        memfd.held.add(-self.touched)
        os.close(self.fd)


@cache
def _copiers_max() -> int:
    return min(COPIERS_MAX, system.cpu_count())


def _by_several(fill: Callable[[int, int], bool], whole: int) -> list[bool]:
    """Call it for parts of so many bytes, each in a thread: one alone is not enough for what memory can do."""
    count = max(1, min(_copiers_max(), whole // SHARE_BYTES))
    bounds = [whole // HUGE_BYTES * number // count * HUGE_BYTES for number in range(count + 1)]
    first, *others = pairwise(bounds)
    if not others:
        return [fill(*first)]
    with ThreadPoolExecutor(len(others), "windrow-copy") as threads:
        try:
            futures = [threads.submit(fill, *part) for part in others]
        except RuntimeError:  # no thread can be started (any more); what was begun is done twice
            return [fill(0, whole)]
        return [fill(*first), *[future.result() for future in futures]]


class _Huge:
    """Whether the system makes huge pages of a segment; asked until it says no."""

    works = True


_huge = _Huge()


class Owned:
    """A segment that holds something; when the last reference to this goes, the segment may hold something else.

    Parameters
    ----------
    pool
        Where it goes back to.
    segment
        The segment.
    size
        How much of it is in use, with the header.
    """

    __slots__ = ("_pool", "generation", "segment", "size")

    def __init__(self, pool: Pool, segment: Segment, size: int) -> None:
        self._pool = pool
        self.segment = segment
        self.size = size
        self.generation = segment.generation

    def __repr__(self) -> str:
        return f"<Owned {self.size} bytes in {self.segment!r}>"

    def __del__(self) -> None:
        self._pool.released.put(self.segment)

    def view(self) -> View:
        """Map it, for as long as anything refers to the mapping, whoever is done with the segment meanwhile."""
        segment = self.segment
        return memfd.attach(segment.pid, segment.fd, segment.inode, self.generation, self.size).view()


class Pool:
    """The segments of a process.

    Parameters
    ----------
    idle_bytes_max
        So much may lie idle.
    idle_s
        For so long.
    count_max
        So many segments at most.
    clock
        Tells the time, in seconds.

    Examples
    --------
    >>> pool = Pool(idle_bytes_max=2**20)
    >>> owned = pool.put([memoryview(b"abc")])
    >>> bytes(owned.view().parts([3])[0])
    b'abc'
    >>> del owned
    >>> pool.give_back()
    4099
    >>> pool
    <Pool in use: 0, idle: 0, 0 bytes>
    """

    def __init__(
        self,
        idle_bytes_max: float,
        idle_s: float = 30.0,
        count_max: int = COUNT_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.idle_bytes_max = idle_bytes_max
        self.idle_s = idle_s
        self.count_max = count_max
        self.released: SimpleQueue[Segment | None] = SimpleQueue()
        """Those whose `Owned` has ended; any thread may put one here, at any moment. None: there will be no more."""
        self._clock = clock
        self._segments: dict[int, Segment] = {}
        self._idle: list[Segment] = []
        """Those that hold nothing that anybody may be offered, the one that became idle last at the end."""
        self._lock = threading.Lock()
        self._sweeper: threading.Thread | None = None

    def __repr__(self) -> str:
        self.sweep()
        return f"<Pool in use: {len(self._segments) - len(self._idle)}, idle: {len(self._idle)}, {self.bytes} bytes>"

    @property
    def bytes(self) -> int:
        """What all its segments take up."""
        with self._lock:
            return sum([segment.touched for segment in self._segments.values()])

    def put(self, parts: Sequence[memoryview]) -> Owned | None:
        """Copy buffers (bytes, contiguous) into one segment; None when there is none to be had."""
        _, size = offsets([part.nbytes for part in parts])
        segment = self._take(size)
        if segment is None:
            return None
        try:
            segment.fill(parts, size)
            memfd.unlock(segment.fd)
        except OSError:  # as a rule: no memory for it
            with self._lock:
                self._close(segment)
            return None
        self._start_sweeper()
        return Owned(self, segment, size)

    def _take(self, size: int) -> Segment | None:
        """Return a segment of this size with its exclusive lock held."""
        with self._lock:
            self._settle()
            fitting = [each for each in self._idle if size <= each.capacity <= SPARE * capacity_for(size)]
            for segment in sorted(fitting, key=lambda each: each.capacity):
                if memfd.lock_for_writing(segment.fd):  # else somebody still reads it
                    self._idle.remove(segment)
                    return segment
            while len(self._segments) >= self.count_max and self._idle:
                self._close(self._idle.pop(0))
            if len(self._segments) >= self.count_max:
                return None
            capacity = capacity_for(size)
            try:
                segment = Segment(memfd.create(capacity), capacity)
            except OSError:  # no more descriptors, or no memory
                return None
            self._segments[segment.fd] = segment
            memfd.lock_for_writing(segment.fd)
            return segment

    def sweep(self) -> float | None:
        """Close what is idle for too long, or too much; return in how many seconds the next one will be due."""
        with self._lock:
            self._settle()
            limit_s = self._clock() - self.idle_s
            while self._idle and self._idle[0].free_since_s <= limit_s:
                self._close(self._idle.pop(0))
            return self._idle[0].free_since_s - limit_s if self._idle else None

    def give_back(self) -> int:
        """Close all that is idle, as memory is short; return how many bytes that were."""
        with self._lock:
            self._settle()
            freed = sum([segment.touched for segment in self._idle])
            while self._idle:
                self._close(self._idle.pop())
            return freed

    def close(self) -> None:
        """Close all; who reads keeps what is read."""
        with self._lock:
            for segment in list(self._segments.values()):
                self._close(segment)
            self._idle.clear()
        self.released.put(None)

    def _settle(self) -> None:
        """Take in what was released, within bounds."""
        now_s = self._clock()
        while True:
            try:
                segment = self.released.get_nowait()
            except Empty:
                break
            if segment is not None and self._segments.get(segment.fd) is segment:
                segment.free_since_s = now_s
                self._idle.append(segment)
        excess = sum([segment.touched for segment in self._idle]) - self.idle_bytes_max
        while excess > 0 and self._idle:
            segment = self._idle.pop(0)
            excess -= segment.touched
            self._close(segment)

    def _close(self, segment: Segment) -> None:
        del self._segments[segment.fd]
        segment.close()

    def _start_sweeper(self) -> None:
        if self._sweeper is None:
            self._sweeper = threading.Thread(target=self._keep_sweeping, name="windrow-segments", daemon=True)
            self._sweeper.start()

    def _keep_sweeping(self) -> None:
        due_s: float | None = None
        while True:
            try:
                segment = self.released.get(timeout=due_s)
            except Empty:
                segment = None
            else:
                if segment is None:
                    return
                self.released.put(segment)
                del segment
            due_s = self.sweep()


def capacity_for(size: int) -> int:
    """Return the capacity of a segment for so many bytes.

    Examples
    --------
    >>> capacity_for(70_000), capacity_for(2**28 + 4096) - 2**28
    (73728, 33554432)
    """
    step = max(HEADER_BYTES, 1 << max(0, (size.bit_length() - 1)) >> COARSE.bit_length() - 1)
    if size >= HUGE_BYTES:
        step = max(step, HUGE_BYTES)
    return -(-size // step) * step


# ---------------------------------------------------------------- this process


class _Own:
    pool: Pool | None = None
    idle_bytes_max: float | None = None
    lock = threading.Lock()


def is_enabled() -> bool:
    """Whether this process takes part: the system can, and ``windrow.shared-memory.enabled`` does not forbid it."""
    return bool(config.get("windrow.shared-memory.enabled")) and bool(memfd.host_token())


def token() -> str:
    """Return what shows to others that they may be offered segments of each other; "" where nobody may.

    Examples
    --------
    >>> token() in {"", memfd.host_token()}
    True
    """
    return memfd.host_token() if is_enabled() else ""


def pool() -> Pool:
    """Return this process's own."""
    with _Own.lock:
        if _Own.pool is None:
            if _Own.idle_bytes_max is None:
                bound_to(0)
            assert _Own.idle_bytes_max is not None
            _Own.pool = Pool(_Own.idle_bytes_max, config.seconds("windrow.shared-memory.idle-time"), _count_max())
        return _Own.pool


def give_back() -> int:
    """Let go of what lies idle, as memory is short; return how many bytes that were.

    Examples
    --------
    >>> give_back() >= 0
    True
    """
    return 0 if _Own.pool is None else _Own.pool.give_back()


def bound_to(limit_bytes: int) -> None:
    """Let so much lie idle as is configured, of this limit of memory; 0: of what there is."""
    fraction = config.get("windrow.shared-memory.idle-fraction")
    if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 <= fraction <= 1:
        raise ValueError(
            f"the setting 'windrow.shared-memory.idle-fraction' is {fraction!r}; a number from 0 to 1 is needed"
        )
    _Own.idle_bytes_max = fraction * (limit_bytes or system.memory_limit_bytes())
    if _Own.pool is not None:
        _Own.pool.idle_bytes_max = _Own.idle_bytes_max


def _count_max() -> int:
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return COUNT_MAX if soft == resource.RLIM_INFINITY else min(COUNT_MAX, soft // 8)


def _after_fork() -> None:
    """A fork has its parent's descriptors, and may not use them: what both filled would be lost."""
    old, _Own.pool, _Own.lock = _Own.pool, None, threading.Lock()
    if old is not None:
        for fd in list(old._segments):
            os.close(fd)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
