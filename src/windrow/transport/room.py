"""Threads that say something wait while too much of what was said waits for the network.

What lives here: `Room`. What this file must never know: what is said, and over what kind of link.

A link has a bound on what waits in it, and is given up beyond that. Who says things in threads of their own, a user's
or a task's, is held back long before. The loop's own thread is not: it is what carries all away.
"""

from __future__ import annotations

import logging
import threading

from windrow import config
from windrow.transport.base import Link

__all__ = ["Room"]

logger = logging.getLogger(__name__)

SLICE_S = 0.5
"""The longest that a waiting thread does not look whether it may go on, or has got a signal."""

TELL_AFTER_S = 5.0


class Room:
    """Whether there is room for more of what is to be said over one link.

    Attributes
    ----------
    is_full : bool
        Whether threads are to `wait`.

    Examples
    --------
    >>> room = Room()
    >>> room.add(100)
    >>> room.is_full
    False
    """

    __slots__ = ("_due_bytes", "_free", "_limit_bytes", "is_full")

    def __init__(self) -> None:
        self.is_full = False
        self._due_bytes = 0
        self._limit_bytes = config.size_bytes("windrow.backlog-limit")
        self._free = threading.Event()

    def __repr__(self) -> str:
        return f"<Room due={self._due_bytes} of {self._limit_bytes}{' full' * self.is_full}>"

    def add(self, nbytes: int) -> None:
        """Count what is to be sent; by whoever has the lock that orders it."""
        self._due_bytes += nbytes
        if self._due_bytes > self._limit_bytes and not self.is_full:
            self._fill()

    def taken(self) -> None:
        """Count from nothing again, as all that was added is on its way into the link; by who has that lock."""
        self._due_bytes = 0

    def look(self, link: Link) -> None:
        """Look what waits in the link, once it was given something; on the loop."""
        if link.is_congested and link.waiting_bytes > self._limit_bytes:
            link.on_drained = self.open
            if not self.is_full:
                self._fill()
        elif self.is_full:
            self.open()

    def _fill(self) -> None:
        self._free.clear()
        self.is_full = True

    def open(self) -> None:
        """Have nobody wait, as the link has drained or ended."""
        self.is_full = False
        self._free.set()

    def wait(self, whom: str) -> None:
        """Wait for room; on any thread but the loop's."""
        waited_s = 0.0
        while self.is_full and not self._free.wait(SLICE_S):
            waited_s += SLICE_S
            if waited_s == TELL_AFTER_S:
                words = "%s does not take what it is sent; threads that have more for it wait, with %d bytes under way"
                logger.warning(words, whom, self._limit_bytes)
