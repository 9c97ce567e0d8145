"""The asynchronous form of what clients do rarely: each is awaited, and does what the other form does."""

from __future__ import annotations

import asyncio
import json
import operator
from collections.abc import Awaitable, Callable
from pathlib import Path

import process_tasks as tasks
import pytest

from windrow import Client, LocalCluster, SchedulerPlugin


class Noted(SchedulerPlugin):
    """A plugin with a name."""

    name = "noted"


def mark(dask_worker: object) -> None:
    """Note that a worker was here."""
    dask_worker.marked = True  # type: ignore[attr-defined]


def is_marked(dask_worker: object) -> bool:
    """Whether `mark` has run there."""
    return bool(getattr(dask_worker, "marked", False))


def workers_of(dask_scheduler: object) -> int:
    """Count workers."""
    return len(dask_scheduler.workers)  # type: ignore[attr-defined]


async def on_the_scheduler(client: Client, path: Path) -> None:
    assert await client.run_on_scheduler(workers_of) == 2
    await client.register_plugin(Noted())
    assert await client.run_on_scheduler(lambda dask_scheduler: "noted" in dask_scheduler.plugins)
    await client.unregister_scheduler_plugin("noted")
    assert not await client.run_on_scheduler(lambda dask_scheduler: "noted" in dask_scheduler.plugins)


async def on_workers(client: Client, path: Path) -> None:
    await client.register_worker_callbacks(mark)
    assert list((await client.run(is_marked)).values()) == [True, True]


async def copies(client: Client, path: Path) -> None:
    [held] = await client.scatter([bytes(100_000)])
    await client.replicate([held])
    assert len((await client.who_has([held]))[held.key]) == 2
    await client.rebalance([held])
    assert await held == bytes(100_000)


async def again_here(client: Client, path: Path) -> None:
    future = client.submit(operator.truediv, 1, 0)
    with pytest.raises(ZeroDivisionError):
        await future
    with pytest.raises(ZeroDivisionError):
        await client.recreate_error_locally(future)
    assert await client.recreate_task_locally(client.submit(tasks.identity, 3)) == 3


async def afresh(client: Client, path: Path) -> None:
    future = client.submit(tasks.identity, 1)
    await future
    before = await client.nthreads()
    first, second = before
    assert await client.restart_workers([first]) == {first: "OK"}
    between = await client.nthreads()
    assert second in between
    assert first not in between
    await client.restart()
    assert future.cancelled()
    assert not between.keys() & (await client.nthreads()).keys()


async def written(client: Client, path: Path) -> None:
    await client.dump_cluster_state(str(path / "state"), format="yaml")
    assert list(path.glob("state*"))
    client.write_scheduler_file(str(path / "file.json"))
    assert json.loads((path / "file.json").read_text())["address"] == client.scheduler.address


async def the_end(client: Client, path: Path) -> None:
    await client.shutdown()
    assert client.status == "closed"


@pytest.mark.parametrize("use", [on_the_scheduler, on_workers, copies, again_here, afresh, written, the_end])
def test_it_is_awaited(use: Callable[[Client, Path], Awaitable[None]], tmp_path: Path) -> None:
    async def inside() -> None:
        async with LocalCluster(n_workers=2, threads_per_worker=1, asynchronous=True) as cluster:
            async with Client(cluster, asynchronous=True) as client:
                await use(client, tmp_path)

    asyncio.run(inside())
