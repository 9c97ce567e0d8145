"""M4: ``cluster = LocalCluster(); client = Client(cluster)`` is the same, spelled out."""

from __future__ import annotations

from mission_help import run_program

from windrow import system

SPELLED_OUT = """
from windrow import Client, LocalCluster
cluster = LocalCluster()
client = Client(cluster)
print(client.cluster is cluster, client.submit(abs, -1).result())
print(*sorted(client.nthreads().values()))
"""


def test_a_cluster_and_a_client_of_it() -> None:
    workers, threads = system.nprocesses_nthreads(system.cpu_count())
    out, err = run_program(SPELLED_OUT)
    assert out.splitlines() == ["True 1", " ".join([str(threads)] * workers)]
    assert err == ""
