"""What is `LocalCluster`'s own: how it grows, who may call it, and how it looks."""

from __future__ import annotations

import concurrent.futures
import os
import threading
from pathlib import Path

import pytest

from windrow import Client, LocalCluster, Nanny

LIMIT_S = 20.0


def small(**arguments: object) -> LocalCluster:
    return LocalCluster(**{"n_workers": 1, "threads_per_worker": 1, "processes": False, **arguments})  # type: ignore[arg-type]


def test_it_knows_how_to_make_one_more() -> None:
    with small(memory_limit="1 GiB") as cluster:
        [(name, spec)] = cluster.new_worker_spec().items()
        assert name == 1
        assert spec["options"]["nthreads"] == 1
        assert spec["options"]["memory_limit"] == 2**30
        cluster.scale_up(2)
        cluster.wait_for_workers(2, timeout=LIMIT_S)
        assert len(cluster.plan) == 2


def test_what_it_cannot_do() -> None:
    with small() as cluster:
        with pytest.raises(NotImplementedError, match=r"cluster\.scale\(n\)"):
            cluster.start_worker()
    with pytest.raises(NotImplementedError, match="LocalCluster cannot find a cluster by its name"):
        LocalCluster.from_name("mine")
    with pytest.raises(TypeError, match="workers must be a list of names"):
        cluster.scale_down("0")


def test_the_names_of_workers_are_numbers() -> None:
    with small(n_workers=3) as cluster:
        assert cluster.plan == {0, 1, 2}
        cluster.scale_down([1])
        cluster.scale(3)
        assert cluster.plan == {0, 2, 3}


def test_threads_may_share_a_cluster() -> None:
    """Made by one, scaled by many at once, closed by another."""

    def scaled(n: int) -> None:
        cluster.scale(n % 4 + 1)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        cluster = pool.submit(small).result(LIMIT_S)
        list(pool.map(scaled, range(24)))
        cluster.scale(2)
        cluster.wait_for_workers(2, timeout=LIMIT_S)
        with Client(cluster, set_as_default=False) as client:
            assert client.submit(abs, -1).result(timeout=LIMIT_S) == 1
        assert len(cluster.plan) == len(cluster.requested) == 2
        pool.submit(cluster.close).result(LIMIT_S)
    assert cluster.status == "closed"


def test_closing_from_everywhere_at_once_closes_once() -> None:
    cluster = small(name="closed by all")
    assert "IO loop of closed by all" in {thread.name for thread in threading.enumerate()}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: cluster.close(), range(8)))
    assert cluster.status == "closed"
    assert "IO loop of closed by all" not in {thread.name for thread in threading.enumerate()}


def test_a_fork_leaves_the_cluster_alone(tmp_path: Path) -> None:
    with small(processes=True) as cluster:
        child = os.fork()
        if child == 0:
            os._exit(0 if not cluster.loop_thread.is_running else 1)  # type: ignore[union-attr]
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        with Client(cluster, set_as_default=False) as client:
            assert client.submit(abs, -1).result(timeout=LIMIT_S) == 1


def test_workers_share_a_description_and_no_more() -> None:
    with small(n_workers=2, processes=True) as cluster:
        assert all(isinstance(worker, Nanny) for worker in cluster.workers.values())
        assert [worker.name for worker in cluster.workers.values()] == [0, 1]
        assert cluster.worker_spec[0] == cluster.worker_spec[1] == cluster.new_spec


def test_the_table_says_what_workers_are() -> None:
    with small() as cluster:
        assert "threads of this process" in cluster._repr_html_()


def test_workers_join_by_the_address_that_the_scheduler_tells() -> None:
    with small(processes=True, scheduler_kwargs={"contact_address": "localhost"}) as cluster:
        assert cluster.scheduler_address.startswith("tcp://")
        assert len(cluster.scheduler_info["workers"]) == 1
