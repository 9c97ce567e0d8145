"""Snapshots made by hand, and a dashboard of one in this process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from windrow.observe import scenes
from windrow.observe.app import Site, make_app
from windrow.observe.plots.profiles import profiled
from windrow.observe.plots.stream import Stream
from windrow.observe.plots.times import beat, moment
from windrow.observe.source import Snapshot, Source
from windrow.wire.activity import COMPUTE, ERRED, TRANSFER
from windrow.wire.requests import TaskStream

GIB = 2**30


def worker(name: int | str, **metrics: float) -> dict[str, Any]:
    return {
        "name": name,
        "host": "127.0.0.1",
        "pid": 7,
        "status": "running",
        "nthreads": 2,
        "memory_limit": 2 * GIB,
        "last_seen": 1000.0,
        "resources": {},
        "local_directory": "/scratch",
        "dashboard_link": "",
        "metrics": {"memory": 0.25 * GIB, "managed": 0.125 * GIB, "spilled": 0.0, "unmanaged_old": 2.0**26, **metrics},
    }


def snapshot(workers: int = 2, prefixes: dict[str, dict[str, int]] | None = None) -> Snapshot:
    """A cluster of so many workers, with tasks of these prefixes."""
    prefixes = {"inc": {"memory": 30, "processing": 2, "queued": 8}} if prefixes is None else prefixes
    addresses = [f"tcp://127.0.0.1:{4000 + number}" for number in range(workers)]
    return Snapshot(
        identity={
            "type": "Scheduler",
            "id": "Scheduler-1",
            "address": "tcp://127.0.0.1:8786",
            "started": 900.0,
            "total_memory": workers * 2 * GIB,
            "workers": {address: worker(number) for number, address in enumerate(addresses)},
        },
        overview={
            "now": 100.0,
            "counted": 100.0,
            "tasks": sum(sum(found.values()) for found in prefixes.values()),
            "prefixes": prefixes,
            "prefix_bytes": dict.fromkeys(prefixes, 2**20),
            "bytes": 2**20 * len(prefixes),
            "erred": [["bad", "bad", "Traceback: <b>boom</b>"]],
            "clients": 1,
            "unrunnable": 0,
            "workers": {
                address: {
                    "processing": number % 5,
                    "stored": number,
                    "stored_bytes": number * 2**20,
                    "occupancy": 0.5 * number,
                    "idle": False,
                    "saturated": True,
                }
                for number, address in enumerate(addresses)
            },
        },
        cpu={address: 0.01 * number for number, address in enumerate(addresses)},
    )


class FakeSource:
    """A source that answers from memory, and counts what it is asked."""

    def __init__(self, found: Snapshot) -> None:
        self.found = found
        self.asked = 0
        self.profiles: list[Any] = []

    async def snapshot(self) -> Snapshot:
        self.asked += 1
        return self.found

    async def ask(self, *requests: Any) -> list[Any]:
        return [answer(request) for request in requests]

    async def profile(self, request: Any) -> list[Any]:
        self.profiles.append(request)
        return [PROFILE]

    async def tallies(self) -> Any:
        return some_facts()["tallies"]


PULSE: Any = {"ticks": 0, "tick_max_s": 0.25, "gc_s": 0.25}
TALLIES: Any = {
    "functions": {"inc": {"seconds": 3.0, "count": 6, "erred": 0}},
    "pulse": PULSE,
    "recalled": [4, 2.0],
}
PROFILE: Any = [[10, [["f", "a.py", 1, [10, [["g", "b.py", 3, [6, []]]]]]]], [[1000.0, {"inc": 6, "sum": 4}]], 0.01]


def rows(first: int, count: int, end: int | None = None) -> dict[str, Any]:
    """What was recorded: a transfer, one that raised, and then such as went well."""
    kinds = [TRANSFER, ERRED, *[COMPUTE] * count][:count]
    return {
        "first": 0,
        "since": first,
        "next": first + count,
        "end": first + count if end is None else end,
        "noted": first + count,
        "left_out": 0,
        "addresses": ["tcp://127.0.0.1:4000", "tcp://127.0.0.1:4001"],
        "keys": [f"inc-{number}" for number in range(first, first + count)],
        "functions": ["inc"] * count,
        "words": ["tcp://127.0.0.1:4001" if kind == TRANSFER else "int" for kind in kinds],
        "workers": [0] * count,
        "kinds": kinds,
        "threads": [11 + number % 2 for number in range(count)],
        "starts": [1000.0 + number for number in range(first, first + count)],
        "seconds": [0.5] * count,
        "nbytes": [1024] * count,
    }


def recorded(*counts: int) -> Stream:
    """A stream of answers with so many rows each."""
    stream, first = Stream(), 0
    for count in counts:
        stream.add(rows(first, count))
        first += count
    return stream


def answer(request: Any) -> Any:
    """What a scheduler says to a request."""
    if isinstance(request, TaskStream):
        return rows(max(0, request.since), 3)
    names = {"RecentLogs": "logs", "TaskGraph": "graph", "TaskGroups": "groups", "RecentEvents": "events"}
    return some_facts()[names[type(request).__name__]]


@asynccontextmanager
async def serving(source: FakeSource, prefix: str = "", token: str = "") -> AsyncIterator[tuple[str, Site]]:
    """Serve the pages of a source; the address, up to where the paths begin."""
    sock, port = bind_unused_port()
    site = Site(cast(Source, source), prefix, token, port)
    scenes.furnish(site, cast(Source, source), os.getpid())
    server = HTTPServer(make_app(site))
    server.add_sockets([sock])
    try:
        yield f"http://127.0.0.1:{port}{prefix}", site
    finally:
        if site.stage is not None:
            await site.stage.close()
        server.stop()
        await server.close_all_connections()


def some_facts(found: Snapshot | None = None) -> dict[str, Any]:
    """Facts of every name."""
    found = snapshot() if found is None else found
    return {
        "snapshot": found,
        "now": 1001.0,
        "history": [moment(found, 1000.0), moment(found, 1001.0)],
        "logs": [["WARNING", "a worker has left"]],
        "graph": {
            "tasks": 3,
            "names": ["released", "waiting", "queued", "processing", "memory", "erred", "forgotten"],
            "ids": [1, 2, 3],
            "keys": ["load-1", "load-2", "sum-1"],
            "prefixes": ["load", "load", "sum"],
            "states": [4, 3, 1],
            "edges": [0, 2, 1, 2],
        },
        "groups": {
            "now": 1.0,
            "surveyed": 0.5,
            "groups": [["load", "load", {"memory": 5}, 4096], ["sum", "sum", {"waiting": 1}, 0]],
            "edges": [0, 1],
        },
        "events": [[1000.0, {"action": "retired", "worker": "w"}, ["scheduler", "w"]], [1001.0, "x" * 1000, ["x"]]],
        "tallies": TALLIES,
        "pulse": [beat(TALLIES, 1000.0), beat({**TALLIES, "pulse": {**PULSE, "ticks": 8, "gc_s": 0.5}}, 1001.0)],
        "stream": (recorded(5, 4), 9),
        "profile": profiled([PROFILE]),
        "profile-server": profiled([PROFILE]),
        "system": [{"time": 1000.0, "cpu": 0.5, "memory": 1e8, "files": 30, "threads": 4}],
    }
