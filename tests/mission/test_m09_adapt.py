"""M9: ``cluster.adapt(minimum=1, maximum=10)`` scales by itself with the load."""

from __future__ import annotations

import time

from windrow import Client, LocalCluster

LIMIT_S = 20.0


def test_a_cluster_follows_the_load_within_its_limits() -> None:
    with LocalCluster(n_workers=0, threads_per_worker=1, processes=False) as cluster:
        adaptive = cluster.adapt(minimum=1, maximum=3, interval="50ms", target_duration="100ms")
        cluster.wait_for_workers(1, timeout=LIMIT_S)
        with Client(cluster, set_as_default=False) as client:
            futures = client.map(time.sleep, [0.05] * 40, pure=False)
            cluster.wait_for_workers(3, timeout=LIMIT_S)
            client.gather(futures)
            end = time.monotonic() + LIMIT_S
            while len(cluster.scheduler_info["workers"]) > 1:
                assert time.monotonic() < end, "it has not become smaller"
                time.sleep(0.01)
        grown = [change["n"] for _, change in adaptive.log if change["status"] == "up"]
        assert min(grown) >= 1
        assert max(grown) == 3
