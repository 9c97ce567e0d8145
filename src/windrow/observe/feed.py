"""The facts that pages are drawn of: each asked for at most once a second, and only while somebody looks.

What lives here: `Feed`, and by which names facts are known. What this file must never know: what is drawn of them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from math import nan
from typing import Any

import psutil

from windrow import config
from windrow.observe.plots.catalogue import STATUS_LENGTH, TASKS_LENGTH
from windrow.observe.plots.profiles import Profiled, profiled
from windrow.observe.plots.stream import Stream
from windrow.observe.plots.times import MOMENTS_MAX, Beat, Moment, beat, moment
from windrow.observe.source import Shared, Source
from windrow.wire.requests import Profile, RecentEvents, RecentLogs, TaskGraph, TaskGroups, TaskStream

__all__ = ["ASKED", "Feed"]

LOG_RECORDS = 200
EVENTS = 200
RECENT_ROWS = 4_000


SLOW_S = {"profile": 5.0, "profile-server": 5.0}
"""What is asked for more rarely: workers put it together from many parts."""


class Feed:
    """Facts, by name, that all pages share.

    Parameters
    ----------
    source
        The scheduler.
    pid
        The scheduler's process, on this machine.

    Examples
    --------
    >>> feed = Feed(source, pid)  # doctest: +SKIP
    >>> (await feed.facts(["snapshot"]))["snapshot"].identity["type"]  # doctest: +SKIP
    'Scheduler'
    """

    def __init__(self, source: Source, pid: int) -> None:
        self.source = source
        self._process = psutil.Process(pid)
        self._moments: deque[Moment] = deque(maxlen=MOMENTS_MAX)
        self._samples: deque[dict[str, float]] = deque(maxlen=MOMENTS_MAX)
        self._beats: deque[Beat] = deque(maxlen=MOMENTS_MAX)
        self._last: Any = None
        self._recorded = Stream(max(_number(name) for name in (STATUS_LENGTH, TASKS_LENGTH)))
        self._shared: dict[str, Shared[Any]] = {}

    async def facts(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the facts of these names, as they are, or were less than a second ago.

        Raises
        ------
        TimeoutError, ConnectionError
            The scheduler does not answer, or has gone.
        """
        wanted = list(dict.fromkeys(names))
        for name in wanted:
            if name not in self._shared:
                self._shared[name] = Shared(partial(ASKED[name], self), SLOW_S.get(name))
        found = await asyncio.gather(*(self._shared[name].get() for name in wanted))
        return dict(zip(wanted, found, strict=True))

    async def _snapshot(self) -> Any:
        snapshot = await self.source.snapshot()
        if snapshot is not self._last:
            self._last = snapshot
            self._moments.append(moment(snapshot, time.time()))
        return snapshot

    async def _now(self) -> float:
        return time.time()

    async def _history(self) -> list[Moment]:
        await self._snapshot()
        return list(self._moments)

    async def _graph(self) -> Any:
        limit = _number("distributed.dashboard.graph-max-items")
        [found] = await self.source.ask(TaskGraph(limit))
        if found["ids"] is not None:
            return found
        return {**found, "groups": (await self.facts(["groups"]))["groups"]}

    async def _groups(self) -> Any:
        [found] = await self.source.ask(TaskGroups())
        return found

    async def _events(self) -> Any:
        [found] = await self.source.ask(RecentEvents(EVENTS))
        return found

    async def _tallies(self) -> Any:
        return await self.source.tallies()

    async def _pulse(self) -> list[Beat]:
        tallies = await self.source.tallies()
        self._beats.append(beat(tallies, time.time()))
        return list(self._beats)

    async def _stream(self) -> tuple[Stream, int | None]:
        stream = self._recorded
        since = -RECENT_ROWS if stream.next is None else stream.next
        [rows] = await self.source.ask(TaskStream(since))
        if rows["end"] - rows["next"] > RECENT_ROWS:  # somebody else has all noted: more than can be shown
            [rows] = await self.source.ask(TaskStream(-RECENT_ROWS))
        stream.add(rows)
        stream.call((await self.source.snapshot()).identity["workers"])
        return stream, stream.next

    async def _profile(self) -> Profiled:
        return await self.profile(None, None)

    async def _profile_server(self) -> Profiled:
        return profiled(await self.source.profile(Profile(server=True)))

    async def profile(self, start: float | None, stop: float | None) -> Profiled:
        """Return what tasks spent their time on between two times, in seconds since the epoch; or ever."""
        return profiled(await self.source.profile(Profile(None, start, stop)))

    async def _logs(self) -> Any:
        [records] = await self.source.ask(RecentLogs(LOG_RECORDS))
        return records

    async def _system(self) -> list[dict[str, float]]:
        process = self._process
        with process.oneshot():
            times = process.cpu_times()
            sample: dict[str, float] = {
                "time": time.time(),
                "cpu_s": times.user + times.system,
                "memory": process.memory_info().rss,
                "files": process.num_fds(),
                "threads": process.num_threads(),
            }
        before = self._samples[-1] if self._samples else None
        passed_s = 0.0 if before is None else sample["time"] - before["time"]
        sample["cpu"] = (sample["cpu_s"] - before["cpu_s"]) / passed_s if before is not None and passed_s > 0 else nan
        self._samples.append(sample)
        return list(self._samples)


def _number(setting: str) -> int:
    return int(str(config.get(setting)))


ASKED: dict[str, Callable[[Feed], Coroutine[Any, Any, Any]]] = {
    "snapshot": Feed._snapshot,
    "now": Feed._now,
    "history": Feed._history,
    "logs": Feed._logs,
    "system": Feed._system,
    "graph": Feed._graph,
    "groups": Feed._groups,
    "events": Feed._events,
    "tallies": Feed._tallies,
    "pulse": Feed._pulse,
    "stream": Feed._stream,
    "profile": Feed._profile,
    "profile-server": Feed._profile_server,
}
"""All facts that there are, by name."""
