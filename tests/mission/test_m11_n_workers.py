"""M11: ``n_workers`` says how many workers to start, ``threads_per_worker`` how many threads each has."""

from __future__ import annotations

import threading

import pytest
from mission_help import workers_of

from windrow import Client, LocalCluster, system

BARRIER = threading.Barrier(2)


def both_here(n: int) -> int:
    BARRIER.wait(timeout=20)
    return n


def test_so_many_processes_of_so_many_threads() -> None:
    with LocalCluster(n_workers=2, threads_per_worker=3) as cluster:
        assert [worker["nthreads"] for worker in workers_of(cluster)] == [3, 3]
        assert len({worker["pid"] for worker in workers_of(cluster)}) == 2
        assert cluster.plan == {0, 1}


def test_that_many_tasks_run_at_the_same_time() -> None:
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False) as cluster, Client(cluster) as client:
        assert client.gather(client.map(both_here, range(2))) == [0, 1]


@pytest.mark.parametrize(
    ("given", "workers", "threads"),
    [
        ({"n_workers": 2}, 2, -(-system.cpu_count() // 2)),
        ({"threads_per_worker": 3}, 1, 3),
        ({}, 1, system.cpu_count()),
        ({"n_workers": 0}, 0, 0),
    ],
)
def test_what_is_not_said_follows_from_the_cores(given: dict[str, int], workers: int, threads: int) -> None:
    with LocalCluster(processes=False, **given) as cluster:  # type: ignore[arg-type]
        assert [worker["nthreads"] for worker in workers_of(cluster)] == [threads] * workers
