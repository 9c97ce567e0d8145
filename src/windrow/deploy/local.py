"""A cluster on this machine: the scheduler in this process, each worker a process under a nanny, or threads.

What lives here: `LocalCluster`. What this file must never know: what a scheduler or worker does.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from windrow import config, security, system, transport
from windrow.deploy import arguments
from windrow.deploy.cluster import Cluster
from windrow.deploy.nanny import Nanny
from windrow.errors import WorkerStartTimeoutError
from windrow.plugins.held import TEARDOWN_S
from windrow.scheduler.server import SchedulerServer
from windrow.transport import Link
from windrow.wire.messages import Retire
from windrow.worker.server import WorkerConfig, WorkerServer


class LocalCluster(Cluster):
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
    dashboard_address, silence_logs
        Accepted; there is no dashboard in this version, and a clean run logs nothing.
    **others
        Keywords that programs written for Dask pass along, with values that ask for nothing: ``security=None``,
        ``protocol="tcp"``, ``loop=None``, …; ``ip`` is an old name of ``host``.

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
        dashboard_address: object = ":8787",
        asynchronous: bool = False,
        memory_limit: str | float | None = "auto",
        env: dict[str, str] | None = None,
        resources: dict[str, float] | None = None,
        **others: Any,
    ) -> None:
        arguments.check_others(others, LocalCluster)
        arguments.check_kinds(n_workers, threads_per_worker, processes, scheduler_port, env)
        self.processes = processes is not False
        self._n_workers, self._nthreads = _split(n_workers, threads_per_worker, self.processes)
        self._host = arguments.chosen_host(host, others, self.processes, scheduler_port)
        self._port = scheduler_port
        self._memory_limit = arguments.memory_limit_bytes(memory_limit, self._n_workers, self._nthreads)
        self._env = {key: str(value) for key, value in (env or {}).items()}
        self._resources = arguments.checked_resources(resources)
        self._names = iter(range(2**31))
        self.workers: dict[int, Nanny | WorkerServer] = {}
        """Nannies (or workers of this process) by name."""
        self.scheduler: SchedulerServer
        self._leaving: dict[int, Nanny | WorkerServer] = {}
        """Those that are given up, while others take what they hold."""
        self._events: set[asyncio.Future[None]] = set()
        super().__init__(asynchronous=asynchronous, name=name)

    # ------------------------------------------------------------ life

    async def _open(self) -> None:
        self.secret = security.new_secret()
        self.scheduler = SchedulerServer(self.secret, self._host, self._port, on_shutdown=self._asked_to_close)
        self.scheduler.on_change = self._on_change
        await self.scheduler.start()
        self.scheduler_address = self.scheduler.address
        started = await self._scale_up(self._n_workers)
        if started:
            timeout_s = config.seconds("distributed.comm.timeouts.connect")
            await self._until_started(started, timeout_s)

    async def _scale_up(self, n: int) -> list[Nanny | WorkerServer]:
        """Start workers until there are ``n``; return those that were started."""
        started = []
        while len(self.workers) < n:
            name = next(self._names)
            worker = self.workers[name] = self._new_worker(name)
            worker.finished.add_done_callback(partial(self._forget, name))
            started.append(worker)
            await worker.start()
        return started

    def _forget(self, name: int, finished: asyncio.Future[Any]) -> None:
        """One that is closed, retired or given up does not count any more where others are to be started."""
        self.workers.pop(name, None)

    def _new_worker(self, name: int) -> Nanny | WorkerServer:
        settings = WorkerConfig(
            scheduler=self.scheduler_address,
            name=name,
            nthreads=self._nthreads,
            host=self._host or "127.0.0.1",
            memory_limit=self._memory_limit,
            inline_limit=config.size_bytes("windrow.inline-limit"),
            resources=self._resources,
            echoes=False,  # onto the terminal where clients print already
        )
        if self.processes:
            return Nanny(settings, self.secret, self.scheduler.inproc_address, self._env)
        settings.scheduler = self.scheduler.inproc_address
        return WorkerServer(settings, None)

    async def _until_started(self, started: Sequence[Nanny | WorkerServer], timeout_s: float) -> None:
        """Wait for workers; a nanny that gives its worker up ends the wait."""
        finished = [worker.finished for worker in started if isinstance(worker, Nanny)]
        waiting = asyncio.ensure_future(self._wait_for_workers(len(started), timeout_s))
        either: list[asyncio.Future[Any]] = [waiting, *finished]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        given_up = [error for future in finished if future.done() and (error := future.result()) is not None]
        if given_up:
            waiting.cancel()
            raise given_up[0]
        try:
            await waiting
        except WorkerStartTimeoutError as error:
            raise WorkerStartTimeoutError(f"{error}; their last words, if any, are on stderr") from None

    async def _shut(self) -> None:
        self.workers.update(self._leaving)
        for worker in self.workers.values():
            if isinstance(worker, Nanny):
                worker.expect_end()
        grace_s = 0.0
        if hasattr(self, "scheduler"):
            grace_s = TEARDOWN_S if self.scheduler.core.state.plugins["worker"] else 0.0
            await self.scheduler.close()
        ends = [
            worker.close(grace_s=grace_s) if isinstance(worker, Nanny) else worker.close()
            for worker in self.workers.values()
        ]
        await asyncio.gather(*ends)
        self.workers.clear()

    def _asked_to_close(self) -> None:
        if self.asynchronous:
            self._ending = asyncio.ensure_future(self._close())
        else:
            import threading

            threading.Thread(target=self.close, name="close", daemon=True).start()

    # ------------------------------------------------------------ facts

    def identity(self) -> dict[str, Any]:
        """Return what the scheduler says of itself and its workers."""
        return self.scheduler.identity()

    async def connect_inproc(self) -> Link:
        """Return a link to the scheduler, in this process."""
        return await transport.connect(self.scheduler.inproc_address, secret=None)

    def _on_change(self) -> None:
        for event in self._events:
            if not event.done():
                event.set_result(None)
        self._events.clear()

    async def _changed(self, timeout_s: float | None) -> None:
        event = asyncio.get_running_loop().create_future()
        self._events.add(event)
        await asyncio.wait([event], timeout=timeout_s)
        self._events.discard(event)

    # ------------------------------------------------------------ scaling

    def scale(self, n: int) -> Any:
        """Start workers, or close the newest, until there are ``n``; does not wait for new ones to join.

        What a worker alone holds is copied to those that stay before it is closed, and what it still runs then runs
        again there. With nobody to take it (``n`` is 0, or an actor lives there) it is lost: results are made again
        by their tasks, futures on scattered data above 16 KiB (``windrow.inline-limit``) are cancelled.
        """
        if not isinstance(n, int) or n < 0:
            raise ValueError(f"n must be a number of workers, not {n!r}")
        scaling = self._scale(n)
        return scaling if self.asynchronous else self._sync(scaling)

    async def _scale(self, n: int) -> None:
        await self._scale_up(n)
        surplus = {name: self.workers.pop(name) for name in sorted(self.workers)[n:]}
        self._leaving.update(surplus)
        for worker in surplus.values():
            if isinstance(worker, Nanny):
                worker.expect_end()
        try:
            await self._empty([*surplus.values()])
        finally:
            await asyncio.gather(*(worker.close() for worker in surplus.values()))
            for name in surplus:
                self._leaving.pop(name, None)

    async def _empty(self, surplus: Sequence[Nanny | WorkerServer]) -> None:
        """Have others hold what these workers alone hold."""
        addresses = [worker.worker_address if isinstance(worker, Nanny) else worker.address for worker in surplus]
        joined = [address for address in addresses if address]
        if joined:
            await self.scheduler.ask(Retire(joined, close=False))


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
