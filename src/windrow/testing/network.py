"""A clock and a network that a seed drives: no thread, no socket, no waiting.

What lives here: `Clock`, an agenda of events in virtual time, and `Pipe`, one direction of a connection, which keeps
order, delays, and can break. What this file must never know: what is said over it (`testing.links` has the frames), who
talks over it.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random

__all__ = ["Clock", "Pipe"]


class Clock:
    """Virtual time, and what is to happen in it."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.steps = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._events)

    def at(self, time_s: float, action: Callable[[], None]) -> None:
        """Have something happen at a time; what is due at the same time happens in the order it was asked for."""
        self._count += 1
        heappush(self._events, (max(time_s, self.now_s), self._count, action))

    def after(self, delay_s: float, action: Callable[[], None]) -> None:
        """Have something happen after a delay."""
        self.at(self.now_s + delay_s, action)

    def step(self) -> bool:
        """Let the next thing happen; False when there is none."""
        if not self._events:
            return False
        self.now_s, _, action = heappop(self._events)
        self.steps += 1
        action()
        return True


class Pipe:
    """One direction between two parties: what is sent arrives late, whole and in order; nothing does once it is broken.

    Parameters
    ----------
    clock, rng
        Say how late.
    deliver
        Called with what arrives.
    delay_s
        The longest time that it takes.
    """

    def __init__(self, clock: Clock, rng: Random, deliver: Callable[[bytes], None], delay_s: float) -> None:
        self.is_broken = False
        self._clock = clock
        self._rng = rng
        self._deliver = deliver
        self._delay_s = delay_s
        self._last_s = 0.0

    def send(self, data: bytes) -> None:
        """Send bytes; they arrive after all that were sent before them."""
        if not self.is_broken:
            self._last_s = max(self._last_s, self._clock.now_s + self.delay_s())
            self._clock.at(self._last_s, lambda: self._arrive(data))

    def delay_s(self) -> float:
        """Draw how long something takes."""
        return self._rng.random() * self._delay_s

    def _arrive(self, data: bytes) -> None:
        if not self.is_broken:
            self._deliver(data)
