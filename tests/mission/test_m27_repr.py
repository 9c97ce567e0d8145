"""M27: ``repr(cluster)`` names the address, the number of workers and of threads, and the memory."""

from __future__ import annotations

from windrow import LocalCluster


def test_what_a_cluster_is(cluster: LocalCluster) -> None:
    memory = sum(worker["memory_limit"] for worker in cluster.scheduler_info["workers"].values())
    expected = f"workers=2, threads=2, memory={memory / 2**30:.2f} GiB)"
    assert repr(cluster) == f"LocalCluster(shared, {cluster.scheduler_address!r}, {expected}"


def test_memory_is_left_out_where_there_is_no_limit() -> None:
    with LocalCluster(n_workers=2, threads_per_worker=3, processes=False, memory_limit=None, name="free") as cluster:
        assert repr(cluster) == f"LocalCluster(free, {cluster.scheduler_address!r}, workers=2, threads=6)"
        address = cluster.scheduler_address
    assert repr(cluster) == f"LocalCluster(free, {address!r}, closed)"


def test_a_table_in_notebooks(cluster: LocalCluster) -> None:
    html = cluster._repr_html_()
    for text in ("LocalCluster", "shared", cluster.scheduler_address, "processes", *cluster.scheduler_info["workers"]):
        assert text in html
    assert f'<a href="{cluster.dashboard_link}"' in html
