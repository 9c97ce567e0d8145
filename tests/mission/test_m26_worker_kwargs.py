"""M26: any further keyword reaches the class of the workers; one that it does not know is an error at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from mission_help import family, workers_of

from windrow import Client, LocalCluster


def test_keywords_reach_the_workers(tmp_path: Path) -> None:
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        resources={"GPU": 2},
        env={"FLAVOUR": "sour"},
        local_directory=str(tmp_path),
        memory_limit="1 GiB",
    ) as cluster:
        [worker] = workers_of(cluster)
        assert worker["resources"] == {"GPU": 2}
        assert worker["memory_limit"] == 2**30
        assert str(worker["local_directory"]).startswith(str(tmp_path))
        with Client(cluster) as client:
            assert client.submit(os.getenv, "FLAVOUR").result() == "sour"
            assert client.submit(abs, -1, resources={"GPU": 1}).result() == 1


def test_those_that_come_later_have_them_too() -> None:
    with LocalCluster(n_workers=0, processes=False, resources={"GPU": 2}) as cluster:
        cluster.scale(1)
        cluster.wait_for_workers(1, timeout=20)
        assert [worker["resources"] for worker in workers_of(cluster)] == [{"GPU": 2}]


def test_an_unknown_keyword_is_an_error_before_anything_starts() -> None:
    before = family()
    with pytest.raises(TypeError, match=r"no argument 'resource' \(did you mean 'resources'\?\)"):
        LocalCluster(resource={"GPU": 2})
    with pytest.raises(ValueError, match="lifetime='abc' will not do: 'abc' is no time"):
        LocalCluster(n_workers=0, lifetime="abc")
    with pytest.raises(TypeError, match="threads_per_worker=1 and nthreads=2 say different things"):
        LocalCluster(threads_per_worker=1, nthreads=2)
    assert family() == before


def test_threads_may_be_said_by_the_workers_own_word_for_them() -> None:
    with LocalCluster(n_workers=1, nthreads=3, processes=False, dashboard_address=None) as cluster:
        assert [worker["nthreads"] for worker in workers_of(cluster)] == [3]
