"""M28: ``cluster.scale(3)`` on a running `LocalCluster`, then work on all three."""

from __future__ import annotations

import os
from pathlib import Path

from mission_help import until

from windrow import Client, LocalCluster


def meet(n: int, directory: str) -> int:
    """Wait until three are here, each in a process of its own."""
    Path(directory, str(os.getpid())).touch()
    until(lambda: len(os.listdir(directory)) >= 3)
    return os.getpid()


def test_work_on_all_three(tmp_path: Path) -> None:
    with LocalCluster(n_workers=1, threads_per_worker=1) as cluster, Client(cluster) as client:
        futures = client.map(meet, range(3), directory=str(tmp_path))
        cluster.scale(3)
        pids = set(client.gather(futures))
        assert len(pids) == 3
        assert pids == set(client.run(os.getpid).values())
