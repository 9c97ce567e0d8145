"""How promptly a process's event loop turns, and what its garbage collector takes: measured while somebody looks.

What lives here: `Pulse`. What this file must never know: whose loop it is, and who looks.

Nobody who is not looked at pays for this: it begins with the first question, and ends when none has come for a while.
"""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any

__all__ = ["Pulse"]

EVERY_S = 0.1
LASTS_S = 120.0
"""So long after the last question it goes on: more than monitors leave between two."""
RECENT_S = 60.0
"""The longest turn is one of the last minute or two."""


class Pulse:
    """The pulse of a loop; for use on that loop alone.

    Parameters
    ----------
    loop
        The loop; the running one by default.

    Examples
    --------
    >>> async def main():
    ...     pulse = Pulse()
    ...     pulse.facts()["ticks"]
    ...     pulse.stop()
    >>> asyncio.run(main())
    """

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = loop or asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._ticks = 0
        self._longest_s = self._longest_before_s = 0.0
        self._last_s = self._minute_s = self._asked_s = 0.0
        self._collecting_s = 0.0
        self._collected_s = 0.0

    def __repr__(self) -> str:
        return f"<Pulse {'stopped' if self._timer is None else 'beating'} ticks={self._ticks}>"

    def facts(self) -> dict[str, float]:
        """Return what was measured so far, and go on for a while."""
        now_s = self._asked_s = self._loop.time()
        if self._timer is None:
            self._last_s = self._minute_s = now_s
            self._timer = self._loop.call_later(EVERY_S, self._beat)
            gc.callbacks.append(self._on_collection)
        since_s = now_s - self._last_s  # a loop that stalled just now is no better than one that did a while ago
        return {
            "ticks": self._ticks,
            "tick_max_s": max(self._longest_s, self._longest_before_s, since_s),
            "gc_s": self._collected_s,
        }

    def stop(self) -> None:
        """Measure no more; again is harmless."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            gc.callbacks.remove(self._on_collection)

    def _beat(self) -> None:
        now_s = self._loop.time()
        self._ticks += 1
        self._longest_s = max(self._longest_s, now_s - self._last_s)
        self._last_s = now_s
        if now_s - self._minute_s > RECENT_S:
            self._minute_s, self._longest_before_s, self._longest_s = now_s, self._longest_s, 0.0
        if now_s - self._asked_s > LASTS_S:
            self.stop()
        else:
            self._timer = self._loop.call_later(EVERY_S, self._beat)

    def _on_collection(self, phase: str, facts: dict[str, Any]) -> None:
        """Take the time; in whatever thread the collector runs, one at a time."""
        if phase == "start":
            self._collecting_s = time.perf_counter()
        elif self._collecting_s:
            self._collected_s += time.perf_counter() - self._collecting_s
            self._collecting_s = 0.0
