"""Whether the machine has a processor to spare, for what is not urgent.

What lives here: `Spare`. What this file must never know: what is done, or put off.
"""

from __future__ import annotations

import time

import psutil

__all__ = ["Spare"]

LOOK_S = 0.2
"""How long the machine is watched for, at least."""
FREE = 0.75
"""So much of a processor must have been idle."""


class Spare:
    """A view of the machine from one look to the next; that nothing is to spare until the first look is over.

    Examples
    --------
    >>> Spare().look()
    False
    """

    def __init__(self) -> None:
        self._looked_s, self._idle_s = time.monotonic(), _idle_s()
        self._is_free = False

    def look(self) -> bool:
        """Say whether a processor was idle since the last look."""
        now_s = time.monotonic()
        passed_s = now_s - self._looked_s
        if passed_s >= LOOK_S:
            idle_s = _idle_s()
            self._is_free = (idle_s - self._idle_s) / passed_s >= FREE
            self._looked_s, self._idle_s = now_s, idle_s
        return self._is_free


def _idle_s() -> float:
    """Return how long all processors have had nothing to do, ever, taken together."""
    return float(psutil.cpu_times().idle)
