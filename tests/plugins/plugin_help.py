"""Plugins that note what they are told, and how tests wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from windrow import NannyPlugin, SchedulerPlugin, WorkerPlugin

LIMIT_S = 20.0


def until(happens: Callable[[], object], what: str = "", limit_s: float = LIMIT_S) -> None:
    """Wait for a condition that nothing announces."""
    end = time.monotonic() + limit_s
    while not happens():
        assert time.monotonic() < end, f"not within {limit_s:g} s: {what or happens}"
        time.sleep(0.005)


HEARD: list[tuple[Any, ...]] = []
"""What plugins in this process were told; they are copies, and this they share."""


class Listener(SchedulerPlugin):
    """Notes every hook's call."""

    name = "listener"

    async def start(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        HEARD.append(("start", scheduler.address))

    async def before_close(self) -> None:
        HEARD.append(("before_close", self.scheduler.status, len(self.scheduler.workers)))

    async def close(self) -> None:
        HEARD.append(("close", self.scheduler.status))

    def update_graph(self, scheduler: Any, **facts: Any) -> None:
        HEARD.append(("update_graph", facts))

    def restart(self, scheduler: Any) -> None:
        HEARD.append(("restart", scheduler is self.scheduler))

    def transition(self, key: Any, start: str, finish: str, *args: Any, stimulus_id: str, **facts: Any) -> None:
        HEARD.append(("transition", key, start, finish, {"stimulus_id": stimulus_id, **facts}))

    async def add_worker(self, scheduler: Any, worker: str) -> None:
        HEARD.append(("add_worker", worker, worker in scheduler.workers))

    def remove_worker(self, scheduler: Any, worker: str, *, stimulus_id: str, **facts: Any) -> None:
        HEARD.append(("remove_worker", worker, worker in scheduler.workers))

    def add_client(self, scheduler: Any, client: str) -> None:
        HEARD.append(("add_client", client))

    def remove_client(self, scheduler: Any, client: str) -> None:
        HEARD.append(("remove_client", client))

    def valid_workers_downscaling(self, scheduler: Any, workers: list[Any]) -> list[Any]:
        HEARD.append(("valid_workers_downscaling", len(workers)))
        return workers[:-1]

    def log_event(self, topic: str, msg: Any) -> None:
        HEARD.append(("log_event", topic, msg))


class Looker(SchedulerPlugin):
    """Looks each task up that it is told of."""

    async def start(self, scheduler: Any) -> None:
        self.scheduler = scheduler

    def transition(self, key: Any, start: str, finish: str, *args: Any, stimulus_id: str, **facts: Any) -> None:
        HEARD.append(("found", finish, self.scheduler.tasks[key].key))


def heard(*kinds: str) -> list[tuple[Any, ...]]:
    """What was told, of these kinds."""
    return [call for call in HEARD if call[0] in kinds]


class Marker(WorkerPlugin):
    """Notes what it is told, with the name of its worker."""

    def __init__(self, mark: object = "set up", name: str = "marker") -> None:
        self.name = name
        self.mark = mark
        self.moves: list[tuple[Any, str, str]] = []

    def setup(self, worker: Any) -> None:
        worker.mark = self.mark
        HEARD.append(("setup", self.mark, worker.name))

    def teardown(self, worker: Any) -> None:
        del worker.mark
        HEARD.append(("teardown", self.mark, worker.name))

    def transition(self, key: Any, start: str, finish: str, **facts: Any) -> None:
        HEARD.append(("worker transition", key, start, finish))


class Slow(Marker):
    """Its hooks are coroutines."""

    async def setup(self, worker: Any) -> None:  # type: ignore[override]
        Marker.setup(self, worker)

    async def teardown(self, worker: Any) -> None:  # type: ignore[override]
        Marker.teardown(self, worker)


class Broken(WorkerPlugin):
    """Cannot be set up on workers of these names; None: on any."""

    name = "broken"

    def __init__(self, names: tuple[object, ...] | None = None) -> None:
        self.names = names

    def setup(self, worker: Any) -> None:
        if self.names is None or worker.name in self.names:
            raise ArithmeticError(f"no luck on {worker.name}")


class Nurse(NannyPlugin):
    """Notes what it is told."""

    name = "nurse"

    def __init__(self, restart: bool = False) -> None:
        self.restart = restart

    def setup(self, nanny: Any) -> None:
        nanny.env["NURSED"] = "yes"
        HEARD.append(("nanny setup", nanny.name, nanny.pid))

    def teardown(self, nanny: Any) -> None:
        HEARD.append(("nanny teardown", nanny.name))


def mark_of(dask_worker: Any) -> object:
    """The mark that a `Marker` has set."""
    return getattr(dask_worker, "mark", None)


def inc(x: int) -> int:
    return x + 1


def fail() -> None:
    raise ArithmeticError("it does not add up")
