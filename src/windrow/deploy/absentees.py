"""Workers whose end nobody here sees, but for the scheduler: those that stay away too long are given up.

What lives here: `Absentees`. What this file must never know: clusters, or what becomes of those that are given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Hashable, Mapping

from windrow import config

__all__ = ["Absentees"]


class Absentees:
    """Watches who is seen, and who is not any more.

    Parameters
    ----------
    give_up
        Called (on the loop) with the name of one that was seen once, and then not for
        ``distributed.deploy.lost-worker-timeout``.
    """

    def __init__(self, give_up: Callable[[Hashable], None]) -> None:
        self._give_up = give_up
        self._came: set[Hashable] = set()
        self._timers: dict[Hashable, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        """How many are away."""
        return len(self._timers)

    def look(self, there: Collection[Hashable], members: Mapping[Hashable, Collection[Hashable]]) -> None:
        """Compare those that are seen now with those that are watched.

        Parameters
        ----------
        there
            Names of workers.
        members
            Those that are watched: what stands for several workers is there while one of them is.
        """
        for name, workers in members.items():
            if any(worker in there for worker in workers):
                self._came.add(name)
                self._stop(name)
            elif name in self._came and name not in self._timers:
                delay_s = config.seconds("distributed.deploy.lost-worker-timeout")
                self._timers[name] = asyncio.get_running_loop().call_later(delay_s, self._time_is_up, name)

    def forget(self, name: Hashable) -> None:
        """Watch one no more."""
        self._came.discard(name)
        self._stop(name)

    def close(self) -> None:
        """Watch nobody any more."""
        for name in list(self._timers):
            self._stop(name)

    def _stop(self, name: Hashable) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()

    def _time_is_up(self, name: Hashable) -> None:
        self.forget(name)
        self._give_up(name)
