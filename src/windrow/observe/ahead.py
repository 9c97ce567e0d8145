"""Getting ready before somebody comes, at a pace that nobody feels.

What lives here: `Pace`, which makes imports of one thread rest. What this file must never know: what is imported.

To import Bokeh takes most of a second. A scheduling class for idle work would not do: without privileges a thread does
not come back from it, and whoever then waits for its lock on the interpreter waits for the rest of the machine, too.
So the thread rests by itself, between one module and the next: for as long as it has worked while a processor has
nothing to do, and much longer otherwise. Somebody who comes ends all rest.
"""

from __future__ import annotations

import select
import sys
import threading
import time
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType, TracebackType

from windrow.observe.spare import Spare

__all__ = ["Pace"]

STEP_S = 0.004
"""So much processor time is taken between two rests, or that of one module if that takes more."""
IDLE_RESTS = 1.0
"""How long a rest is while a processor is idle, in times of the work before it."""
BUSY_RESTS = 49.0
"""The same while none is: then this takes 2 % of one."""


class Pace:
    """Makes the thread that uses it as a context rest between its imports.

    Parameters
    ----------
    doors
        Listening sockets: who waits there ends all rest.

    Examples
    --------
    >>> with Pace() as pace:
    ...     import colorsys
    >>> pace.rested_s < 60
    True
    """

    def __init__(self, doors: Sequence[int] = ()) -> None:
        self.rested_s = 0.0
        self._doors = doors
        self._hurried = threading.Event()
        self._thread: int | None = None
        self._worked_s = 0.0
        self._spare = Spare()

    def __enter__(self) -> Pace:
        self._thread, self._worked_s = threading.get_ident(), time.thread_time()
        sys.meta_path.insert(0, self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        sys.meta_path.remove(self)
        self._thread = None

    def hurry(self) -> None:
        """Let it rest no more; from any thread."""
        self._hurried.set()

    @property
    def is_hurried(self) -> bool:
        """Whether somebody has come."""
        return self._hurried.is_set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find nothing: as the first of the finders, it is where each import passes."""
        if threading.get_ident() == self._thread:
            self.rest()
        return None

    def rest(self) -> None:
        """Rest, if it was worked for long enough."""
        worked_s = time.thread_time() - self._worked_s
        if worked_s < STEP_S or self.is_hurried:
            return
        pause_s = worked_s * (IDLE_RESTS if self._spare.look() else BUSY_RESTS)
        started_s = time.monotonic()
        if not self._doors:
            self._hurried.wait(pause_s)
        elif select.select(self._doors, (), (), pause_s)[0]:
            self.hurry()
        self.rested_s += time.monotonic() - started_s
        self._worked_s = time.thread_time()
