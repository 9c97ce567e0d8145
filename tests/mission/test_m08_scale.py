"""M8: ``cluster.scale(10)`` sets the number of workers; what those that go hold is moved first."""

from __future__ import annotations

import os
from pathlib import Path

from mission_help import until

from windrow import Client, LocalCluster, wait


def counted(n: int, directory: str) -> bytes:
    descriptor = os.open(f"{directory}/runs", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, b".")
    os.close(descriptor)
    return bytes([n % 256]) * 20_000  # too large to travel with the report


def total(values: list[bytes], before: int = 0) -> int:
    return before + sum(value[0] for value in values)


def test_ten_workers_and_fewer_again() -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False) as cluster:
        cluster.scale(10)
        cluster.wait_for_workers(10, timeout=20)
        assert cluster.plan == cluster.requested == set(range(10))
        cluster.scale(2)
        assert cluster.plan == {0, 1}
        until(lambda: cluster.observed == {0, 1})


def test_a_running_sum_survives_with_nothing_computed_again(tmp_path: Path) -> None:
    with LocalCluster(n_workers=3, threads_per_worker=1) as cluster, Client(cluster) as client:
        kept = client.map(counted, range(1000), directory=str(tmp_path))
        wait(kept, timeout=60)
        assert len({holder for holders in client.who_has(kept).values() for holder in holders}) == 3
        sums = [client.submit(total, kept[:500])]
        cluster.scale(1)
        sums.append(client.submit(total, kept[500:], before=sums[0]))
        assert sums[-1].result(timeout=60) == sum(n % 256 for n in range(1000))
        assert len(client.nthreads()) == 1
        assert all(client.who_has(kept).values())
    assert (tmp_path / "runs").stat().st_size == 1000


def test_by_cores_and_memory() -> None:
    with LocalCluster(n_workers=0, threads_per_worker=2, processes=False, memory_limit="1 GiB") as cluster:
        cluster.scale(cores=5)
        assert len(cluster.plan) == 3
        cluster.scale(memory="4 GiB")
        assert len(cluster.plan) == 4
        cluster.scale(1, cores=2, memory="1 GiB")
        assert len(cluster.plan) == 1
