"""M13: ``processes``: processes or threads; processes, unless ``worker_class`` is ``Worker``."""

from __future__ import annotations

import os
from typing import Any

import pytest
from mission_help import workers_of

from windrow import LocalCluster, Nanny, Worker


@pytest.mark.parametrize(
    ("given", "processes"),
    [({}, True), ({"processes": True}, True), ({"processes": False}, False), ({"worker_class": Worker}, False)],
    ids=repr,
)
def test_processes_or_threads(given: dict[str, Any], processes: bool) -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1, **given) as cluster:
        assert cluster.processes is processes
        [worker] = workers_of(cluster)
        assert (worker["pid"] != os.getpid()) is processes
        assert isinstance(cluster.workers[0], Nanny if processes else Worker)


def test_threads_under_a_nanny_make_no_sense() -> None:
    with pytest.raises(ValueError, match=r"processes=False and worker_class=.*Nanny.* do not go together"):
        LocalCluster(processes=False, worker_class=Nanny)
