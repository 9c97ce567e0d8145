"""Memory that is short: values on disk, workers that pause, tasks that fit nowhere."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from memory_tasks import MB, facts, lose_files, make, take_on, throw_off, total
from process_help import until
from process_tasks import LIMIT_S

from windrow import Client, LocalCluster, Scheduler, Worker, wait

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of a process's memory are measured as on Linux")

LIMIT = 128 * MB


@contextmanager
def small_cluster(n_workers: int = 1, limit: int = LIMIT, **settings: Any) -> Iterator[Client]:
    """Workers of one thread and little memory; settings are below ``distributed.worker.memory``."""
    settings = {"spill_compression": False, **settings}
    env = {f"DASK_DISTRIBUTED__WORKER__MEMORY__{name.upper()}": str(value) for name, value in settings.items()}
    with (
        LocalCluster(n_workers=n_workers, threads_per_worker=1, memory_limit=limit, env=env) as cluster,
        Client(cluster) as client,
    ):
        yield client


def one(client: Client, function: Callable[..., Any] = facts) -> Any:
    """What the one worker answers."""
    [answer] = client.run(function).values()
    return answer


def status(client: Client) -> str:
    [worker] = client.scheduler_info()["workers"].values()
    return str(worker["status"])


def test_five_times_the_limit_is_kept_and_the_sums_are_right() -> None:
    with small_cluster() as client:
        client.run(make, 1)  # numpy is there
        count = 5 * LIMIT // (4 * MB)
        arrays = client.map(make, range(count), pure=False)
        totals = client.map(total, arrays, pure=False)
        assert client.gather(totals) == [number * MB // 2 for number in range(count)]
        seen = one(client)
        assert seen["on disk"] + seen["in memory"] >= count
        assert seen["on disk"] * 4 * MB > 4 * LIMIT
        assert seen["peak"] < 0.95 * LIMIT
        assert client.submit(total, *arrays[::20]).result() == sum(number * MB // 2 for number in range(0, count, 20))
        del arrays, totals
        until(lambda: one(client)["files"] == 0, "files go with their values")
        assert one(client)["used"] == 0


def test_a_quota_is_kept_and_what_does_not_fit_stays_in_memory() -> None:
    with small_cluster(limit=2 * LIMIT, target=0.2, spill=False, max_spill="20 MiB") as client:
        arrays = client.map(make, range(30), pure=False)
        wait(arrays)
        until(lambda: one(client)["on disk"] == 4, "as many are on disk as fit")
        assert one(client)["files"] <= 20 * MB
        assert client.gather(client.map(total, arrays, pure=False)) == [number * MB // 2 for number in range(30)]
        assert one(client)["files"] <= 20 * MB


def test_a_value_on_disk_is_fetched_by_another_worker() -> None:
    with small_cluster(n_workers=2, target=0.1, spill=False) as client:
        first, second = client.scheduler_info()["workers"]
        arrays = client.map(make, range(10), workers=[first], pure=False)
        wait(arrays)
        until(lambda: client.run(facts, workers=[first])[first]["on disk"] >= 6, "most are on disk")
        futures = client.map(total, arrays, workers=[second], pure=False)
        assert client.gather(futures) == [number * MB // 2 for number in range(10)]
        assert client.run(facts, workers=[first])[first]["on disk"] >= 6, "they were not read into memory for that"
        assert [int(array[0]) for array in client.gather(arrays)] == list(range(10))


def test_a_value_whose_file_is_gone_is_made_again() -> None:
    with small_cluster(target=0.1, spill=False) as client:
        arrays = client.map(make, range(8), pure=False)
        wait(arrays)
        until(lambda: one(client)["on disk"] >= 4)
        assert one(client, lose_files) >= 4
        assert client.gather(client.map(total, arrays, pure=False)) == [number * MB // 2 for number in range(8)]


def test_a_worker_under_ballast_pauses_and_goes_on_when_it_is_thrown_off() -> None:
    with small_cluster() as client:
        client.run(take_on, LIMIT * 86 // 100)
        until(lambda: status(client) == "paused")
        assert one(client)["status"] == "paused"
        future = client.submit(abs, -7)
        assert client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.running)) == 0
        assert not future.done()
        client.run(throw_off)
        assert future.result(timeout=10) == 7
        assert status(client) == "running"


def test_tasks_run_where_there_is_memory() -> None:
    with small_cluster(n_workers=2) as client:
        first, second = client.scheduler_info()["workers"]
        client.run(take_on, LIMIT * 86 // 100, workers=[first])
        until(lambda: client.scheduler_info()["workers"][first]["status"] == "paused")
        futures = client.map(abs, range(-20, 0), pure=False)
        assert sum(client.gather(futures)) == 210
        assert {holder for holders in client.who_has(futures).values() for holder in holders} == {second}


def test_inputs_that_fit_nowhere_are_a_memory_error() -> None:
    with small_cluster(pause=False) as client:
        arrays = client.map(make, range(40), pure=False)
        wait(arrays)
        with pytest.raises(MemoryError, match=r"(?s)Task 'total-.*160.0 MiB together.*128.0 MiB.*memory_limit="):
            client.submit(total, *arrays).result()
        assert client.submit(total, *arrays[:4]).result() == 6 * MB // 2


def test_nothing_is_left_of_a_worker_that_was_killed() -> None:
    with small_cluster(target=0.1, spill=False) as client:
        arrays = client.map(make, range(8), pure=False)
        wait(arrays)
        until(lambda: one(client)["on disk"] >= 4)
        directory = Path(one(client)["directory"])
        assert list((directory / "spilled").iterdir())
        pid = one(client, os.getpid)
        os.kill(pid, signal.SIGKILL)
        until(lambda: not directory.exists(), "its nanny tidies up")
        assert client.gather(client.map(total, arrays, pure=False)) == [number * MB // 2 for number in range(8)]


def test_the_scheduler_sees_what_memory_is_taken_by() -> None:
    with small_cluster(target=0.2, spill=False) as client:
        arrays = client.map(make, range(12), pure=False)
        wait(arrays)

        def seen(dask_scheduler: Any) -> Any:
            [worker] = dask_scheduler.workers.values()
            memory = worker.memory
            return memory.managed_total, memory.spilled, memory.managed, memory.process, memory.unmanaged_old

        until(lambda: client.run_on_scheduler(seen)[1] >= 20 * MB, "a heartbeat tells of what is on disk")
        managed_total, spilled, managed, process, old = client.run_on_scheduler(seen)
        assert managed_total == 48 * MB
        assert spilled + managed == managed_total
        assert 0 < old < process < LIMIT


# ---------------------------------------------------------------- mappings of the user's own


class Chest(dict[Any, Any]):
    """A mapping that remembers where it may put things."""

    def __init__(self, size: int = 0, worker_local_directory: str = "") -> None:
        super().__init__()
        self.size = size
        self.directory = worker_local_directory


def test_values_are_kept_in_a_mapping_that_is_given() -> None:
    asyncio.run(_keep_values())


async def _keep_values() -> None:
    async with Scheduler() as scheduler:
        worker = Worker(scheduler.address, data=(Chest, {"size": 3}), nthreads=1, memory_limit=0)
        async with worker, Client(scheduler.address, asynchronous=True) as client:
            data: Any = worker.data
            assert (data.size, data.directory) == (3, worker.local_directory)
            [scattered] = await client.scatter([make(1)])
            async with asyncio.timeout(LIMIT_S):
                while scattered.key not in data:
                    await client.run(int)
            futures = client.map(make, range(3), [MB] * 3, pure=False)
            sums = await client.gather(client.map(total, [*futures, scattered], pure=False))
            assert sums == [0, MB // 8, MB // 4, MB // 2]
            keys = [future.key for future in futures]
            assert [int(data[key][0]) for key in keys] == [0, 1, 2]
            assert [int(array[0]) for array in await client.gather(futures)] == [0, 1, 2]
            assert not hasattr(data, "disk")
            del futures
            async with asyncio.timeout(LIMIT_S):
                while keys[0] in data:
                    await client.run(int)


def test_a_mapping_that_holds_something_is_refused() -> None:
    async def refuse() -> None:
        async with Scheduler() as scheduler:
            with pytest.raises(ValueError, match="must be empty"):
                Worker(scheduler.address, data={"x": 1})

    asyncio.run(refuse())
