"""Many clusters on one host, at once and one after the other: each is its own, and none leaves anything behind."""

from __future__ import annotations

from process_help import run_python

TEN = """
import concurrent.futures, os, warnings
from urllib.request import urlopen
from windrow import Client, LocalCluster

warnings.simplefilter("error")

def one(n):
    with LocalCluster(n_workers=1, threads_per_worker=1, name=f"number-{n}") as cluster:
        with Client(cluster, set_as_default=False) as client:
            meeting.wait(timeout=60)  # all ten are there at once
            with urlopen(cluster.dashboard_link.replace("/status", "/health"), timeout=30) as page:
                assert page.read() == b"ok"
            [pid] = client.run(os.getpid).values()
            [address] = client.nthreads()
            logs = cluster.get_logs()
            assert list(logs) == ["Cluster", "Scheduler", address]
            assert logs["Scheduler"].count("the scheduler is at") == 1
            meeting.wait(timeout=60)
            return pid, cluster.scheduler_address, cluster.dashboard_link, client.submit(abs, -n).result()

import threading
meeting = threading.Barrier(10)
with concurrent.futures.ThreadPoolExecutor(10) as pool:
    found = list(pool.map(one, range(10)))
for column in zip(*found):
    assert len(set(column)) == 10, column
print([row[3] for row in found])
"""


def test_ten_at_once_are_ten_of_their_own_and_silent() -> None:
    assert run_python("-c", TEN) == (f"{list(range(10))}\n", "")
