"""M12: ``memory_limit`` of each worker, in each form."""

from __future__ import annotations

from typing import Any

import pytest
from mission_help import workers_of

from windrow import LocalCluster, system

ALL = system.memory_limit_bytes()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ALL // 2),
        ({"memory_limit": "auto"}, ALL // 2),
        ({"memory_limit": None}, 0),
        ({"memory_limit": 0}, 0),
        ({"memory_limit": 0.25}, int(0.25 * ALL)),
        ({"memory_limit": "1GiB"}, 2**30),
        ({"memory_limit": 2**29}, 2**29),
    ],
    ids=repr,
)
def test_each_form(given: dict[str, Any], expected: int) -> None:
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, **given) as cluster:
        assert [worker["memory_limit"] for worker in workers_of(cluster)] == [expected, expected]


def test_processes_know_theirs() -> None:
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, memory_limit="512 MiB") as cluster,
        cluster.get_client() as client,
    ):
        assert [worker["memory_limit"] for worker in workers_of(cluster)] == [2**29]
        found = client.run(lambda dask_worker: dask_worker.memory_manager.memory_limit)
        assert list(found.values()) == [2**29]


@pytest.mark.parametrize("wrong", ["lots", -1])
def test_what_is_no_limit(wrong: Any) -> None:
    with pytest.raises(ValueError, match="memory_limit"):
        LocalCluster(n_workers=1, memory_limit=wrong)
