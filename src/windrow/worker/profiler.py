"""What a worker's tasks spend their time on: samples of their stacks, kept over time.

What lives here: `Profiler`. What this file must never know: who asks, how profiles of several workers are merged.

It is on by default, as what was slow is usually asked for afterwards: a look every 10 ms at the threads that run tasks
costs them less than 3 % (docs/decisions/0024-what-is-recorded-of-runs.md).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING

import msgspec

from windrow import config, sampling
from windrow.keys import prefix
from windrow.sampler import Loop, Sampler
from windrow.sampling import History
from windrow.wire.requests import Profile
from windrow.worker.executor import Executor
from windrow.worker.state import RUNNING

if TYPE_CHECKING:
    from windrow.worker.server import WorkerServer

__all__ = ["Profiler"]

logger = logging.getLogger("windrow.worker")

_BASE = Executor._run.__code__


class Profiler:
    """Samples of one worker.

    Parameters
    ----------
    worker
        Whose tasks, and whose loop.
    cycle_s
        How long a stretch is of which times are told; None: as configured (``distributed.worker.profile.cycle``).
    """

    def __init__(self, worker: WorkerServer, cycle_s: float | None = None) -> None:
        self._executor = worker.executor
        self._functions = worker.core.functions
        cycle_s = config.seconds("distributed.worker.profile.cycle") if cycle_s is None else cycle_s
        self.tasks = History(cycle_s)
        self.loop = Loop(worker.loop, cycle_s)
        self._lock = threading.Lock()  # between the thread that looks and those that answer
        self.sampler = Sampler(self._look, config.seconds("distributed.worker.profile.interval"))

    def start(self) -> None:
        """Begin to look, if that is configured (``distributed.worker.profile.enabled``)."""
        if config.get("distributed.worker.profile.low-level", False):
            logger.warning(
                "distributed.worker.profile.low-level has no effect: profiles are of functions of Python. What C code "
                "does counts for the function that has called it"
            )
        if config.get("distributed.worker.profile.enabled"):
            self.sampler.start()

    def stop(self) -> None:
        """Look no more."""
        self.sampler.stop()

    def _look(self, frames: Mapping[int, FrameType]) -> bool:
        now_s = time.time()
        seen = False
        with self._lock:
            weight = self.sampler.weight
            for thread, seat in list(self._executor.seats.items()):
                attempt = seat.attempt
                if attempt is None or attempt.state is not RUNNING:
                    continue
                seen = True
                stack = sampling.stack(frames.get(thread), _BASE)
                if stack:
                    function = self._functions.get(attempt.function)
                    kind = prefix(attempt.key, "" if function is None else function.name)
                    self.tasks.add(kind, stack, now_s, weight)
            self.loop.look(frames, now_s, weight)
        return seen

    def answer(self, request: Profile) -> bytes:
        """Return what was seen, as `wire.requests.Profile` says."""
        history = self.loop.history if request.server else self.tasks
        with self._lock:
            tree, counts = history.between(request.start, request.stop, request.key)
        return msgspec.msgpack.encode([sampling.to_plain(tree), counts, self.sampler.interval_s])
