"""Adaptive scaling of real clusters: it grows with a backlog, shrinks without losing a result, and does not flap."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path
from typing import Any

from process_help import until
from process_tasks import LIMIT_S

from windrow import Client, LocalCluster

QUICK: dict[str, Any] = {"interval": "50ms", "wait_count": 3, "target_duration": "200ms"}
"""Rounds as a test has time for."""


def slowly(number: int, directory: str, nbytes: int = 100_000) -> bytes:
    """Leave a mark of having run, take a while, and return something too large to ride along."""
    import os
    import uuid

    Path(directory, f"{number}-{uuid.uuid4().hex}").touch()
    time.sleep(0.05)
    return bytes([number % 256]) * (nbytes + 0 * os.getpid())


def ran(directory: Path) -> dict[int, int]:
    """How often each has run."""
    counts: dict[int, int] = {}
    for mark in directory.iterdir():
        number = int(mark.name.partition("-")[0])
        counts[number] = counts.get(number, 0) + 1
    return counts


def workers(cluster: LocalCluster) -> int:
    return len(cluster.scheduler_info["workers"])


def turns(changes: list[dict[str, Any]]) -> int:
    """How often growing turned into shrinking, or the other way round."""
    ways = [change["status"] for change in changes]
    return sum(before != after for before, after in itertools.pairwise(ways))


def test_a_backlog_makes_it_grow_within_two_seconds_and_quiet_makes_it_shrink(tmp_path: Path) -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1) as cluster, Client(cluster) as client:
        adaptive = cluster.adapt(minimum=1, maximum=3, wait_count=2, target_duration="1s")  # a round a second
        until(lambda: adaptive.state == "running")
        began = time.monotonic()
        futures = client.map(slowly, range(100), directory=str(tmp_path))
        while not adaptive.log:
            assert time.monotonic() - began < 2.0, "it has not grown"
            time.sleep(0.01)
        assert adaptive.log[0][1]["status"] == "up"
        cluster.wait_for_workers(2, timeout=LIMIT_S)
        adaptive.update(wait_count=1)
        before = client.gather(futures)
        until(lambda: workers(cluster) == 1 and len(cluster.plan) == 1)
        assert client.gather(futures) == before == [bytes([number]) * 100_000 for number in range(100)]
        assert ran(tmp_path) == dict.fromkeys(range(100), 1)
        assert turns([change for _, change in adaptive.log]) == 1


def test_from_nothing_and_back_while_small_results_stay() -> None:
    with LocalCluster(n_workers=0, threads_per_worker=1) as cluster, Client(cluster) as client:
        adaptive = cluster.adapt(minimum=0, maximum=2, **QUICK)
        total = client.submit(sum, client.map(lambda x: x**2, range(100)))
        assert total.result(timeout=LIMIT_S) == 328_350
        until(lambda: workers(cluster) == 0)
        assert cluster.plan == set()
        assert total.result() == 328_350
        assert client.submit(lambda x: x + 1, total).result(timeout=LIMIT_S) == 328_351
        assert adaptive.state == "running"


def test_a_load_that_comes_and_goes_quickly_does_not_make_it_flap(tmp_path: Path) -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False) as cluster, Client(cluster) as client:
        adaptive = cluster.adapt(minimum=1, maximum=3, interval="50ms", wait_count=20, target_duration="100ms")
        for wave in range(10):
            futures = client.map(slowly, range(wave * 6, wave * 6 + 6), directory=str(tmp_path), nbytes=10)
            client.gather(futures)
        changes = [change for _, change in adaptive.log]
        assert turns(changes) == 0, changes
        assert workers(cluster) == 3
        assert ran(tmp_path) == dict.fromkeys(range(60), 1)


def test_a_worker_that_works_is_never_closed() -> None:
    with LocalCluster(n_workers=3, threads_per_worker=1, processes=False) as cluster, Client(cluster) as client:
        cluster.adapt(minimum=0, maximum=3, **QUICK)
        long = client.submit(time.sleep, 1.0)
        until(lambda: len(cluster.plan) == 1)
        [processing] = client.processing().values()
        assert list(processing) == [long.key]
        long.result(timeout=LIMIT_S)
        until(lambda: len(cluster.plan) == 0)


def test_limits_are_changed_by_a_second_call() -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False) as cluster:
        first = cluster.adapt(minimum=2, maximum=3, **QUICK)
        cluster.wait_for_workers(2, timeout=LIMIT_S)
        second = cluster.adapt(minimum=3)
        cluster.wait_for_workers(3, timeout=LIMIT_S)
        cluster.adapt(minimum=0, maximum=1)
        until(lambda: workers(cluster) <= 1)
        assert first.state == second.state == "stopped"


def test_it_is_stopped_and_scaled_by_hand() -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False) as cluster:
        adaptive = cluster.adapt(minimum=2, maximum=2, **QUICK)
        cluster.wait_for_workers(2, timeout=LIMIT_S)
        adaptive.stop()
        until(lambda: not adaptive.periodic_callback.is_running())
        cluster.scale(1)
        until(lambda: workers(cluster) == 1)
        assert adaptive.state == "stopped"


def test_an_asynchronous_cluster_adapts(runtime_directory: object) -> None:
    async def play() -> None:
        options: dict[str, Any] = {"n_workers": 0, "threads_per_worker": 1, "processes": False, "asynchronous": True}
        async with LocalCluster(**options) as cluster, Client(cluster, asynchronous=True) as client:
            adaptive = cluster.adapt(minimum=0, maximum=2, **QUICK)
            futures = client.map(lambda x: x + 1, range(50))
            assert await client.gather(futures) == list(range(1, 51))
            while cluster.plan:
                await asyncio.sleep(0.01)
            assert await adaptive.safe_target() == 0
            assert await client.gather(futures) == list(range(1, 51))
        assert adaptive.state == "stopped"

    async def limited() -> None:
        async with asyncio.timeout(LIMIT_S):
            await play()

    asyncio.run(limited())


def test_the_scheduler_answers_code_in_its_process(runtime_directory: object) -> None:
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False) as cluster, Client(cluster) as client:

        def look(dask_scheduler: Any) -> tuple[Any, ...]:
            by_host = dask_scheduler.workers_to_close(n=2, key="host", attribute="name")
            return dask_scheduler.adaptive_target("5s"), sorted(by_host), dask_scheduler.is_idle

        assert client.run_on_scheduler(look) == (0, [0, 1], True)
        since = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.check_idle())
        assert 0 <= time.time() - since < LIMIT_S
        client.submit(sum, [1, 2]).result()
        later = client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.idle_since)
        assert since < later <= time.time()
        waits = client.submit(sum, [1, 2], workers=["nowhere"], pure=False)
        until(lambda: client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.check_idle()) is None)
        del waits
