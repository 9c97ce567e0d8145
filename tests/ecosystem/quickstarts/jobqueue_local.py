"""dask-jobqueue: jobs that are scripts, here run on this machine; and the script that a batch system would get."""

from dask.distributed import Client
from dask_jobqueue import SLURMCluster
from dask_jobqueue.local import LocalCluster

if __name__ == "__main__":
    with SLURMCluster(
        cores=4, processes=2, memory="4GB", queue="regular", scheduler_options={"dashboard": False}
    ) as slurm:
        script = slurm.job_script()
        assert "#SBATCH" in script
        assert "-m distributed.cli.dask_worker" in script
    with LocalCluster(cores=1, memory="1GB", processes=1, scheduler_options={"dashboard": False}) as cluster:
        cluster.scale(2)
        with Client(cluster) as client:
            client.wait_for_workers(2, timeout=60)
            assert client.gather(client.map(lambda x: x + 1, range(10))) == list(range(1, 11))
            cluster.scale(1)
    print("done")
