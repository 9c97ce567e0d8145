"""A plugin that looks at a cluster's memory every now and then, for ``MemorySampler`` and for reports.

What lives here: `SampleMemory`. What this file must never know: clients.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from windrow.plugins.base import SchedulerPlugin

__all__ = ["MEASURES", "SampleMemory"]

MEASURES = (
    *("process", "optimistic", "managed", "managed_total"),
    *("spilled", "unmanaged", "unmanaged_old", "unmanaged_recent"),
)
"""What of memory can be sampled: attributes of `windrow.scheduler.memory_state.MemoryState`."""


SAMPLES_MAX = 100_000
"""When there are so many, every other one goes, and the next ones are twice as far apart."""


class SampleMemory(SchedulerPlugin):
    """Notes how much memory all workers together take, from its registration until `stop`.

    Parameters
    ----------
    name
        Its own.
    measures
        Which of `MEASURES`.
    interval_s
        How often.
    """

    def __init__(self, name: str, measures: tuple[str, ...], interval_s: float) -> None:
        self.name = name
        self.measures = measures
        self.interval_s = interval_s
        self.samples: list[tuple[float, tuple[int, ...]]] = []
        """Time in seconds since the epoch, and a figure for each measure."""

    async def start(self, scheduler: Any) -> None:
        """Take the first sample, and begin to wait for the next."""
        self._scheduler = scheduler
        self._loop = asyncio.get_running_loop()
        self._take()

    def _take(self) -> None:
        memory = self._scheduler.memory
        if len(self.samples) >= SAMPLES_MAX:
            self.samples = self.samples[::2]
            self.interval_s *= 2
        self.samples.append((time.time(), tuple([int(getattr(memory, name)) for name in self.measures])))
        self._timer = self._loop.call_later(self.interval_s, self._take)

    def stop(self) -> list[tuple[float, tuple[int, ...]]]:
        """Take a last sample; return all."""
        self._timer.cancel()
        self._take()
        self._timer.cancel()
        return self.samples

    async def close(self) -> None:
        """The scheduler ends."""
        self._timer.cancel()
