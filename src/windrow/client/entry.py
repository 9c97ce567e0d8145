"""One record a key that this client holds, and what a thread or coroutine waits on.

What lives here: `Entry` and its statuses, `Latch`. What this file must never know: messages, locks, loops, `Future`.

Whoever changes an entry's status, its count or its waiters holds the session's lock. Reading a status needs no lock.
"""

from __future__ import annotations

from _thread import allocate_lock
from collections.abc import Callable
from time import monotonic
from typing import Final, Protocol

from msgspec import Struct

from windrow.wire.blobs import Blob
from windrow.wire.messages import Key

PENDING: Final = "pending"
FINISHED: Final = "finished"
ERROR: Final = "error"
CANCELLED: Final = "cancelled"
LOST: Final = "lost"

UNDONE: Final = frozenset((PENDING, LOST))
BAD: Final = frozenset((ERROR, CANCELLED))

SLICE_S = 1.0
"""A thread waits at most so long at a stretch: a signal that arrives just before the wait is seen after it."""


class Waiter(Protocol):
    """Told, under the session's lock, that an entry it waits for is done; must be quick and take no lock."""

    def settle(self, entry: Entry) -> None:
        """Take note of ``entry``, whose status is final for now."""


class Several:
    """More than one waiter on one entry (rare, so that the usual one costs no list)."""

    __slots__ = ("waiters",)

    def __init__(self, waiters: list[Waiter]) -> None:
        self.waiters = waiters

    def settle(self, entry: Entry) -> None:
        """Tell each."""
        for waiter in self.waiters:
            waiter.settle(entry)


class Entry(Struct, gc=False, eq=False):
    """What this client knows of one key.

    ``refs`` counts the `Future` objects; ``born`` is the number of the last Release or Cancel that left before this
    entry was made (older reports are not about it). ``value`` is set only while finished, and only if the result rode
    along. ``detail`` depends on the status: the pickled type (finished), ``(error, text)`` (error), the reason
    (cancelled).
    """

    key: Key
    born: int
    refs: int = 1
    status: str = PENDING
    value: Blob | None = None
    detail: bytes | tuple[Blob, str] | str | None = None
    waiter: Waiter | None = None

    def enlist(self, waiter: Waiter) -> None:
        """Add a waiter."""
        present = self.waiter
        if present is None:
            self.waiter = waiter
        elif type(present) is Several:
            present.waiters.append(waiter)
        else:
            self.waiter = Several([present, waiter])

    def delist(self, waiter: Waiter) -> None:
        """Remove a waiter, however often it is there."""
        present = self.waiter
        if present is waiter:
            self.waiter = None
        elif type(present) is Several:
            present.waiters = [other for other in present.waiters if other is not waiter]

    def settle(
        self, status: str, value: Blob | None = None, detail: bytes | tuple[Blob, str] | str | None = None
    ) -> None:
        """Come to a status that ends waiting, and tell who waits."""
        self.status = status
        self.value = value
        self.detail = detail
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            waiter.settle(self)


class Latch:
    """Opens when a count of entries is done; one for a whole ``gather``, however large.

    Parameters
    ----------
    count
        How many entries it waits for.
    fail_fast
        Open at the first entry that ends otherwise than finished.

    Examples
    --------
    >>> latch = Latch(1)
    >>> latch.wait(0.0)
    False
    >>> latch.settle(Entry("x", 0))
    >>> latch.wait(None)
    True
    """

    __slots__ = ("_lock", "_on_open", "count", "fail_fast", "opened")

    def __init__(self, count: int, fail_fast: bool = False) -> None:
        self.count = count
        self.fail_fast = fail_fast
        self.opened = False
        self._on_open: Callable[[], None] | None = None
        self._lock = allocate_lock()
        self._lock.acquire()

    def settle(self, entry: Entry) -> None:
        """Count one entry down."""
        self.count -= 1
        if self.count <= 0 or (self.fail_fast and entry.status is not FINISHED):
            self.open()

    def open(self) -> None:
        """Let the waiting side go; again is harmless."""
        if self.opened:
            return
        self.opened = True
        self._lock.release()
        on_open = self._on_open
        if on_open is not None:
            on_open()

    def wait(self, timeout_s: float | None) -> bool:
        """Block this thread until open (True) or for so long (False). Ctrl-C interrupts."""
        if self.opened:
            return True
        acquire = self._lock.acquire
        if timeout_s is None:
            while not acquire(timeout=SLICE_S):
                pass
            return True
        if timeout_s > SLICE_S:
            until = monotonic() + timeout_s
            while timeout_s > SLICE_S:
                if acquire(timeout=SLICE_S):
                    return True
                timeout_s = until - monotonic()
        return acquire(timeout=max(0.0, timeout_s))

    def attach(self, on_open: Callable[[], None]) -> None:
        """Have this called when open, from whichever thread opens; at once if it is. May be called twice."""
        self._on_open = on_open
        if self.opened:
            on_open()
