"""A thread that looks at what other threads have on their stacks, every few milliseconds.

What lives here: `Sampler`, and `Loop`, what there is to see of a thread that runs an event loop. What this file must
never know: what is done with what it sees.

A look costs what there is to walk through: about 10 µs, and half a millisecond with four stacks of two hundred
functions. So what looks take is measured, and where that is more than a small share of the time, looks are further
apart, and each counts for several.

A thread that holds the GIL in C is seen when it lets go of it: the sample comes late, and is of the same function.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from math import ceil
from types import CodeType, FrameType

from windrow import sampling
from windrow.sampling import History

__all__ = ["Loop", "LoopProfile", "Sampler"]

logger = logging.getLogger("windrow.sampler")

IDLE_S = 0.1
"""How often it is looked when there was nothing to see for a while."""

IDLE_LOOKS = 10

SHARE = 0.005
"""So much of a processor's time looks may take."""

SMOOTHING = 0.2
"""How much the last look counts in what a look costs."""

LASTS_S = 120.0
"""So long after the last question a loop is looked at."""


class Sampler:
    """Looks, in a thread of its own.

    Parameters
    ----------
    look
        Called every ``interval_s`` with the innermost frame of each thread, by its identifier; says whether there was
        anything to see. When there was nothing for some time, it is called less often.
    interval_s
        How often, if looks are cheap.

    Attributes
    ----------
    weight : int
        For how many intervals the present look stands.

    Examples
    --------
    >>> seen = threading.Event()
    >>> sampler = Sampler(lambda frames: bool(seen.set()), 0.001)
    >>> sampler.start(); seen.wait(10)
    True
    >>> sampler.stop()
    """

    def __init__(self, look: Callable[[Mapping[int, FrameType]], bool], interval_s: float) -> None:
        self.interval_s = interval_s
        self.weight = 1
        self._look = look
        self._cost_s = 0.0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def runs(self) -> bool:
        """Whether it looks."""
        return self._thread is not None and not self._stopped.is_set()

    def start(self) -> None:
        """Begin; again is harmless."""
        if not self.runs:
            self._stopped = stopped = threading.Event()
            self._thread = threading.Thread(target=self._watch, args=(stopped,), name="windrow-sampler", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def _watch(self, stopped: threading.Event) -> None:
        idle = 0
        wait_s = self.interval_s
        while not stopped.wait(wait_s):
            begun_s = time.thread_time()
            try:
                seen = self._look(sys._current_frames())
            except Exception:  # it goes on: what failed is a sample
                logger.exception("a sample of what threads do is left out")
                seen = False
            self._learn(time.thread_time() - begun_s)
            idle = 0 if seen else idle + 1
            wait_s = self.interval_s * self.weight if idle < IDLE_LOOKS else max(IDLE_S, self.interval_s)

    def _learn(self, cost_s: float) -> None:
        """Take note of what a look has cost, and have the next ones come as often as is fit."""
        self._cost_s += SMOOTHING * (cost_s - self._cost_s)
        self.weight = max(1, ceil(self._cost_s / (SHARE * self.interval_s)))


class Loop:
    """What there is to see of the thread of an event loop: what its callbacks do.

    Parameters
    ----------
    loop
        It is learnt in its next turn how a callback is recognized.
    cycle_s
        See `History`.

    Examples
    --------
    >>> async def main() -> bool:
    ...     seen = Loop(asyncio.get_running_loop())
    ...     await asyncio.sleep(0)
    ...     return seen.look(sys._current_frames(), time.time())
    >>> asyncio.run(main())  # what looks is itself a callback
    True
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, cycle_s: float = 1.0) -> None:
        self.history = History(cycle_s)
        self._thread = 0
        self._base: CodeType | None = None
        loop.call_soon(self._learn)

    def _learn(self) -> None:
        """Note what calls callbacks: right below this one is asyncio's `Handle`, or whoever runs a loop of uvloop's."""
        self._thread = threading.get_ident()
        self._base = sys._getframe(1).f_code

    def look(self, frames: Mapping[int, FrameType], now_s: float, weight: int = 1) -> bool:
        """Count what it does just now, as often as is said; False if it waits."""
        found = None if self._base is None else sampling.stack(frames.get(self._thread), self._base)
        if not found:
            return False
        self.history.add("", found, now_s, weight)
        return True


class LoopProfile:
    """What an event loop spends its time on, looked at while somebody asks.

    Parameters
    ----------
    loop
        Which one.
    interval_s, cycle_s
        How often it is looked, and how long the stretches are of which times are told.

    Examples
    --------
    >>> async def main() -> int:
    ...     profile = LoopProfile(asyncio.get_running_loop(), 0.01)
    ...     tree, counts = profile.between(None, None)  # it begins now
    ...     profile.stop()
    ...     return tree[0]
    >>> asyncio.run(main())
    0
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, interval_s: float, cycle_s: float = 1.0) -> None:
        self._loop = Loop(loop, cycle_s)
        self._lock = threading.Lock()  # between the thread that looks and the one that asks
        self._until_s = 0.0
        self.sampler = Sampler(self._look, interval_s)

    def _look(self, frames: Mapping[int, FrameType]) -> bool:
        now_s = time.time()
        if now_s > self._until_s:
            self.sampler.stop()
        with self._lock:
            return self._loop.look(frames, now_s, self.sampler.weight)

    def between(
        self, start_s: float | None, stop_s: float | None
    ) -> tuple[sampling.Tree, list[tuple[float, dict[str, int]]]]:
        """Return what was seen, as `History.between`; go on to look, or begin."""
        self._until_s = time.time() + LASTS_S
        self.sampler.start()
        with self._lock:
            return self._loop.history.between(start_s, stop_s, None)

    def stop(self) -> None:
        """Look no more."""
        self.sampler.stop()
