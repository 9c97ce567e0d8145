"""prefect-dask: a flow whose tasks run on a temporary cluster, and on one that is there already."""

import dask.array as da
from dask.distributed import LocalCluster
from prefect import flow, task
from prefect_dask import DaskTaskRunner, get_dask_client


@task
def inc(x):
    return x + 1


@task
def total(numbers):
    return sum(numbers)


@task
def on_workers():
    with get_dask_client() as client:
        return int(client.compute(da.ones(10, chunks=5).sum()).result())


@flow(task_runner=DaskTaskRunner(cluster_kwargs={"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}))
def counting():
    return total.submit(inc.map(range(5))).result(), on_workers.submit().result()


if __name__ == "__main__":
    assert counting() == (15, 10)
    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster:
        there = counting.with_options(task_runner=DaskTaskRunner(address=cluster.scheduler_address))
        assert there() == (15, 10)
    print("done")
