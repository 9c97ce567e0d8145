"""One adapter for each system: the few verbs that the cases are written in.

What lives here: how each system starts with two workers of one thread, submits, waits and fetches. What this module
must never know: what the cases do with it, or what their budgets are.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from benchmarks import work

ROOT = Path(__file__).resolve().parent.parent
"""What must be on the path of the workers, so that they find `benchmarks.work`."""

WORKERS = 2


class System(Protocol):
    """What a case may ask of a system; a future is whatever the system hands out."""

    takes_futures: bool
    """Futures may be arguments of tasks."""
    own_memory: bool
    """What the system keeps for a task is kept in this process (client and scheduler)."""
    takes_collections: bool
    """The system runs the collections of Dask."""
    shuffle: str
    """The best way that the system has of shuffling a dataframe, in the words of Dask's configuration."""

    def map(self, function: Callable[..., Any], items: Iterable[Any]) -> Any: ...
    def submit(self, function: Callable[..., Any], *args: Any, worker: int | None = None) -> Any: ...
    def combine(self, function: Callable[[list[Any]], Any], futures: list[Any]) -> Any: ...
    def result(self, future: Any) -> Any: ...
    def gather(self, futures: Any) -> list[Any]: ...
    def wait(self, futures: Any) -> None: ...
    def scatter(self, value: Any) -> Any: ...
    def compute(self, collection: Any) -> Any: ...
    def persist(self, collection: Any) -> Any: ...
    def known_tasks(self) -> int: ...
    def close(self) -> None: ...


class NoCollections:
    """What a system says that knows nothing of Dask."""

    takes_collections = False
    shuffle = ""

    def compute(self, collection: Any) -> Any:
        raise NotImplementedError("this system does not run Dask's collections")

    def persist(self, collection: Any) -> Any:
        raise NotImplementedError("this system does not run Dask's collections")

    def known_tasks(self) -> int:
        raise NotImplementedError("this system does not run Dask's collections")


ALONE = {"DASK_WINDROW__LOCAL_SOCKETS": "False", "DASK_WINDROW__SHARED_MEMORY__ENABLED": "False"}
"""Settings with which windrow's processes of one host use nothing beside the network."""


class Futures:
    """windrow and dask.distributed: one interface, two modules.

    Parameters
    ----------
    module
        ``"windrow"`` or ``"distributed"``.
    shuffle
        The best way that it has of shuffling a dataframe.
    over
        ``"tcp"`` or ``"tls"``: what its parties talk over, and nothing else; "" leaves that to it.
    options
        Further keywords of its LocalCluster.
    """

    takes_futures = True
    own_memory = True
    takes_collections = True

    def __init__(self, module: str, shuffle: str, over: str = "", **options: Any) -> None:
        if over:
            os.environ |= ALONE
            options |= {"protocol": f"{over}://", **({"security": True} if over == "tls" else {})}
        package = importlib.import_module(module)
        self.shuffle = shuffle
        self._wait = package.wait
        self._cluster = package.LocalCluster(n_workers=WORKERS, threads_per_worker=1, **options)
        self._client = package.Client(self._cluster)
        self._workers: list[str] = []

    def map(self, function: Callable[..., Any], items: Iterable[Any]) -> Any:
        return self._client.map(function, items)

    def submit(self, function: Callable[..., Any], *args: Any, worker: int | None = None) -> Any:
        if worker is None:
            return self._client.submit(function, *args)
        if not self._workers:
            self._workers = sorted(self._client.nthreads())
        return self._client.submit(function, *args, workers=[self._workers[worker]])

    def combine(self, function: Callable[[list[Any]], Any], futures: list[Any]) -> Any:
        return self._client.submit(function, futures)

    def result(self, future: Any) -> Any:
        return future.result()

    def gather(self, futures: Any) -> list[Any]:
        found: list[Any] = self._client.gather(futures)
        return found

    def wait(self, futures: Any) -> None:
        self._wait(futures)

    def scatter(self, value: Any) -> Any:
        return self._client.scatter(value)

    def compute(self, collection: Any) -> Any:
        self._check_default()
        return collection.compute()

    def persist(self, collection: Any) -> Any:
        self._check_default()
        return collection.persist()

    def _check_default(self) -> None:
        """Dask would quietly use its own threads if the client were not its default."""
        from dask.base import get_scheduler

        owner = getattr(get_scheduler(), "__self__", None)
        if getattr(owner, "id", None) != self._client.id:
            raise RuntimeError(f"Dask does not use {self._client!r} by default, so these would be its own threads")

    def known_tasks(self) -> int:
        count: int = self._client.run_on_scheduler(work.known_tasks)
        return count

    def run_everywhere(self, function: Callable[[], Any]) -> dict[str, Any]:
        """Call a function in each worker, outside the task system."""
        found: dict[str, Any] = self._client.run(function)
        return found

    def close(self) -> None:
        self._client.close()
        self._cluster.close()


class Ray(NoCollections):
    """Ray, on this machine alone."""

    takes_futures = True
    own_memory = False

    def __init__(self) -> None:
        import logging

        import ray

        self._ray = ray
        self._remotes: dict[Any, Any] = {}
        ray.init(num_cpus=WORKERS, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)

    def _remote(self, function: Callable[..., Any]) -> Any:
        remote = self._remotes.get(function)
        if remote is None:
            remote = self._remotes[function] = self._ray.remote(function)
        return remote

    def map(self, function: Callable[..., Any], items: Iterable[Any]) -> Any:
        call = self._remote(function).remote
        return [call(item) for item in items]

    def submit(self, function: Callable[..., Any], *args: Any, worker: int | None = None) -> Any:
        return self._remote(function).remote(*args)

    def combine(self, function: Callable[[list[Any]], Any], futures: list[Any]) -> Any:
        remote = self._remotes.get((function, "spread"))
        if remote is None:  # Ray replaces references only where they are arguments themselves

            def spread(*values: Any) -> Any:
                return function(list(values))

            remote = self._remotes[function, "spread"] = self._ray.remote(spread)
        return remote.remote(*futures)

    def result(self, future: Any) -> Any:
        return self._ray.get(future)

    def gather(self, futures: Any) -> list[Any]:
        found: list[Any] = self._ray.get(futures)
        return found

    def wait(self, futures: Any) -> None:
        self._ray.wait(futures, num_returns=len(futures), fetch_local=False)

    def scatter(self, value: Any) -> Any:
        return self._ray.put(value)

    def close(self) -> None:
        self._ray.shutdown()


class Pool(NoCollections):
    """concurrent.futures.ProcessPoolExecutor: no dependencies, no data that stays; chunks of one, as in the others."""

    takes_futures = False
    own_memory = True

    def __init__(self) -> None:
        from concurrent.futures import ProcessPoolExecutor

        self._pool = ProcessPoolExecutor(max_workers=WORKERS)

    def map(self, function: Callable[..., Any], items: Iterable[Any]) -> Any:
        return self._pool.map(function, items)

    def submit(self, function: Callable[..., Any], *args: Any, worker: int | None = None) -> Any:
        return self._pool.submit(function, *args)

    def combine(self, function: Callable[[list[Any]], Any], futures: list[Any]) -> Any:
        raise NotImplementedError("a process pool takes no futures as arguments")

    def result(self, future: Any) -> Any:
        return future.result()

    def gather(self, futures: Any) -> list[Any]:
        return [future.result() for future in futures] if isinstance(futures, list) else list(futures)

    def wait(self, futures: Any) -> None:
        from concurrent.futures import wait

        wait(futures)

    def scatter(self, value: Any) -> Any:
        return value

    def close(self) -> None:
        self._pool.shutdown()


SYSTEMS: dict[str, Callable[[str], System]] = {
    "windrow": lambda over: Futures("windrow", "tasks", over),
    "distributed": lambda over: Futures("distributed", "p2p", over, dashboard_address=":0"),
    "ray": lambda over: Ray(),
    "pool": lambda over: Pool(),
}
"""What starts each, by what its workers are to talk over."""

MODULES = {"windrow": "windrow", "distributed": "distributed", "ray": "ray", "pool": "concurrent.futures"}

TITLES = {
    "windrow": "windrow",
    "distributed": "dask.distributed",
    "ray": "Ray",
    "pool": "ProcessPoolExecutor",
}


def is_installed(system: str) -> bool:
    """Whether this interpreter can run the system."""
    return importlib.util.find_spec(MODULES[system].partition(".")[0]) is not None


def version(system: str) -> str:
    """The installed version, or an empty string for what comes with Python."""
    try:
        return importlib.metadata.version(MODULES[system])
    except importlib.metadata.PackageNotFoundError:
        return ""
