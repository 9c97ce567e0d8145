"""A cluster on this machine: the scheduler in this process, each worker a process under a nanny, or threads.

What lives here: `LocalCluster`. What this file must never know: what a scheduler or worker does.
"""

from __future__ import annotations

import math
from typing import Any

from windrow import system
from windrow.deploy import arguments
from windrow.deploy.nanny import Nanny
from windrow.deploy.spec import SpecCluster
from windrow.plugins.held import TEARDOWN_S
from windrow.scheduler.scheduler import Scheduler
from windrow.worker.worker import Worker


class LocalCluster(SpecCluster):
    """Scheduler and workers on this machine.

    Parameters
    ----------
    name
        The cluster's name.
    n_workers, threads_per_worker
        How many workers, and threads in each; by default they share the machine's cores.
    processes
        Workers as processes (default), or in this process.
    host, scheduler_port
        Where the scheduler listens for other processes: loopback and any free port. With ``processes=False`` it listens
        for none, unless a port is given. Any other host draws a warning, as traffic is not encrypted in this version.
    memory_limit
        Bytes a worker (or "4 GiB", or a fraction of the machine's memory); "auto" shares the memory out; None: no
        limit.
    env
        Environment variables for worker processes.
    resources
        What each worker offers beside its threads, such as ``{"GPU": 1}``; tasks take of it (``submit(resources=)``).
    asynchronous
        See `Cluster`.
    dashboard_address
        Where the dashboard listens: ``":8787"``, ``"localhost:8787"``, ``"0.0.0.0:8787"`` (then its link has a token),
        ``":0"`` for any free port; None: there is none. A bare port is on ``host``. Where the port is taken, it is on a
        free one. See `dashboard_link`.
    silence_logs
        Accepted; a clean run logs nothing.
    **others
        Keywords that programs written for Dask pass along, with values that ask for nothing: ``security=None``,
        ``protocol="tcp"``, ``loop=None``, …; ``ip`` is an old name of ``host``, ``diagnostics_port`` of
        ``dashboard_address``. ``worker_dashboard_address`` has each worker show itself, as ``":0"`` on a free port.
        ``service_kwargs={"dashboard": {"prefix": "/foo"}}`` is put before the dashboard's paths.

    Raises
    ------
    NotImplementedError
        One of ``others`` asks for something that is not in this version.
    WorkerStartError
        A worker did not come up.

    Examples
    --------
    >>> with LocalCluster(n_workers=1, threads_per_worker=2, processes=False) as cluster:
    ...     print(len(cluster.scheduler_info["workers"]))
    1
    """

    def __init__(
        self,
        name: str | None = None,
        n_workers: int | None = None,
        threads_per_worker: int | None = None,
        processes: bool | None = None,
        *,
        host: str | None = None,
        scheduler_port: int = 0,
        silence_logs: object = None,
        dashboard_address: str | int | None = ":8787",
        asynchronous: bool = False,
        memory_limit: str | float | None = "auto",
        env: dict[str, str] | None = None,
        resources: dict[str, float] | None = None,
        **others: Any,
    ) -> None:
        arguments.check_others(others, LocalCluster)
        arguments.check_kinds(n_workers, threads_per_worker, processes, scheduler_port, env)
        self.processes = processes is not False
        n, threads = _split(n_workers, threads_per_worker, self.processes)
        chosen = arguments.chosen_host(host, others, self.processes, scheduler_port)
        options: dict[str, Any] = {
            "nthreads": threads,
            "host": chosen or "127.0.0.1",
            "memory_limit": arguments.memory_limit_bytes(memory_limit, n, threads),
            "resources": arguments.checked_resources(resources),
            **arguments.worker_dashboard(others),
        }
        if self.processes:
            options["env"] = {key: str(value) for key, value in (env or {}).items()}
        worker = {"cls": Nanny if self.processes else Worker, "options": options}
        scheduler = {
            "host": chosen,
            "port": scheduler_port,
            "protocol": None if chosen else "inproc",
            **arguments.chosen_dashboard(dashboard_address, others),
        }
        super().__init__(
            workers=dict.fromkeys(range(n), worker),
            scheduler={"cls": Scheduler, "options": scheduler},
            worker=worker,
            asynchronous=asynchronous,
            name=name,
        )

    async def _shut(self) -> None:
        grace_s = 0.0
        for worker in [*self.workers.values(), *self._leaving.values()]:
            if isinstance(worker, Nanny):
                worker.expect_end()
        if self.scheduler is not None and self.scheduler.core.state.plugins["worker"]:
            grace_s = TEARDOWN_S
        for worker in self.workers.values():
            if isinstance(worker, Nanny):
                worker.grace_s = grace_s
        await super()._shut()


def _split(n_workers: int | None, threads: int | None, processes: bool) -> tuple[int, int]:
    """Return how many workers of how many threads share the machine's cores."""
    cores = system.cpu_count()
    if n_workers is None and threads is None:
        return system.nprocesses_nthreads(cores) if processes else (1, cores)
    if n_workers is None:
        assert threads is not None
        return (max(1, cores // threads) if processes else 1), threads
    if threads is None:
        return n_workers, max(1, math.ceil(cores / n_workers)) if n_workers else cores
    return n_workers, threads
