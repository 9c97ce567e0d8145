"""M25: ``worker_class``: the class to make workers from."""

from __future__ import annotations

import os
from typing import Any

from windrow import Client, LocalCluster, Nanny, Worker


def test_a_kind_of_worker_as_threads() -> None:
    class Own(Worker):
        flavour = "own"

    with LocalCluster(n_workers=1, worker_class=Own) as cluster, Client(cluster) as client:
        assert type(cluster.workers[0]) is Own
        assert list(client.run(lambda dask_worker: dask_worker.flavour).values()) == ["own"]


def test_a_kind_of_worker_in_a_process_of_its_own() -> None:
    class Own(Worker):
        def __init__(self, *args: Any, flavour: str = "plain", **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.flavour = flavour

    with LocalCluster(n_workers=1, threads_per_worker=1, processes=True, worker_class=Own, flavour="sour") as cluster:
        with Client(cluster) as client:
            [found] = client.run(lambda dask_worker: (os.getpid(), dask_worker.flavour)).values()
            assert found[0] != os.getpid()
            assert found[1] == "sour"


def test_a_kind_of_nanny() -> None:
    class Own(Nanny):
        pass

    with LocalCluster(n_workers=1, threads_per_worker=1, worker_class=Own) as cluster:
        assert type(cluster.workers[0]) is Own
        assert cluster.processes


def test_by_name() -> None:
    with LocalCluster(n_workers=1, worker_class="windrow.Worker") as cluster:
        assert type(cluster.workers[0]) is Worker
