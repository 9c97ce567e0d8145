"""`Worker`, as programs make it: the constructor that users know, gathered into what the shell needs.

What lives here: the public class. What this file must never know: how a worker works.
"""

from __future__ import annotations

from typing import Any

from windrow import addressing, config, security, system
from windrow.dashboard import address
from windrow.worker import inherited
from windrow.worker.server import WorkerConfig, WorkerServer


class Worker(WorkerServer):
    """A worker, on the running event loop.

    Parameters
    ----------
    scheduler_ip, scheduler_port
        The scheduler's address; or its host, and its port.
    nthreads
        Threads for tasks; by default as many as there are cores.
    name
        Under which it is known; by default its address.
    memory_limit
        Bytes, or "4 GiB", or a fraction of the machine's memory; "auto": a share that goes with the threads; None or
        0: no limit.
    resources
        What it offers beside its threads, such as ``{"GPU": 1}``.
    local_directory
        Where to make its own directory.
    host
        Where it listens.
    death_timeout
        How long its start may take, in seconds or as "30s".
    dashboard_address, http_prefix
        Where the worker shows itself (``":0"``: on any free port of ``host``; None: nowhere), and what is before the
        paths.
    dashboard
        True: it shows itself, on any free port unless the address says.
    secret
        The cluster's; by default what this user's runtime directory says of the scheduler.
    data
        Where values are kept: an empty mapping, what makes one when it is called (with ``worker_local_directory=``, if
        it takes that), or a pair of that and its keyword arguments; None: in memory, and on disk when that is short.

    Examples
    --------
    >>> async with Worker("tcp://127.0.0.1:8786") as worker:  # doctest: +SKIP
    ...     await worker.finished()
    """

    def __init__(
        self,
        scheduler_ip: str | None = None,
        scheduler_port: int | None = None,
        *,
        nthreads: int | None = None,
        name: str | int | None = None,
        memory_limit: str | float | None = "auto",
        resources: dict[str, float] | None = None,
        local_directory: str | None = None,
        host: str | None = None,
        death_timeout: str | float | None = None,
        dashboard_address: str | int | None = None,
        dashboard: bool = False,
        http_prefix: str = "/",
        secret: bytes | None = None,
        data: Any = None,
    ) -> None:
        given = inherited.take()
        scheduler = addressing.normalize(str(scheduler_ip))
        is_near = scheduler.startswith("inproc://")
        threads = nthreads or system.cpu_count()
        settings = WorkerConfig(
            scheduler=scheduler,
            name="" if name is None else name,
            nthreads=threads,
            host=host or "127.0.0.1",
            memory_limit=system.parse_memory_limit(memory_limit, threads) or 0,
            inline_limit=config.size_bytes("windrow.inline-limit"),
            resources=dict(resources or {}),
            nanny=given.nanny,
            local_directory=given.directory or local_directory or "",
            echoes=given.echoes and not is_near,
            dashboard_address=address.chosen(dashboard_address, True if dashboard else None, default_port=0),
            http_prefix=http_prefix,
        )
        if secret is None and not is_near:
            secret = security.secret_for(scheduler)
        super().__init__(settings, secret, given.recorder, data)
        if death_timeout is not None:
            self.death_timeout_s = config.parse_timedelta(death_timeout)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.address} threads={self.nthreads} {self.core!r}>"


def options_of(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a worker without those that are not given."""
    return {name: value for name, value in kwargs.items() if value is not None}
