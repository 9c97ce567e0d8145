"""A cluster on this machine: the scheduler in this process, each worker a process under a nanny, or threads.

What lives here: `LocalCluster`. What this file must never know: what a scheduler or worker does.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Mapping
from typing import Any

from windrow import keywords, logs, tls
from windrow.client.options import Duration
from windrow.deploy import arguments
from windrow.deploy.nanny import Nanny
from windrow.deploy.spec import SpecCluster
from windrow.plugins.held import TEARDOWN_S
from windrow.scheduler.scheduler import Scheduler
from windrow.worker.arguments import check_times
from windrow.worker.worker import Worker

DASHBOARD = ":8787"

OURS = {"nanny", "nthreads", "scheduler_file", "scheduler_ip", "secret"}
"""Keywords of workers that the cluster itself gives, or that would have them join another."""


class LocalCluster(SpecCluster):
    """Scheduler and workers on this machine.

    Parameters
    ----------
    name
        The cluster's name; by default eight random hexadecimal digits.
    n_workers, threads_per_worker
        How many workers, and threads in each; by default they share the machine's cores.
    processes
        Workers as processes, or as threads of this process; by default processes, unless ``worker_class`` is no
        `Nanny`.
    loop, asynchronous, scheduler_sync_interval
        See `Cluster`.
    start
        Without an effect; an argument of old.
    host
        Where scheduler and workers listen, perhaps with its protocol (``tcp://10.0.0.7``): loopback by default. Any
        other host has them encrypt what they say. ``ip`` is its old name.
    scheduler_port
        Where the scheduler listens; 0: any port that is free. With ``processes=False`` it listens for this process
        alone, unless a port or ``protocol="tcp"`` is given.
    silence_logs
        Let only such logs (``logging.WARNING``, ``"error"``) reach the terminal while the cluster lives, those of its
        workers too; False or None: change nothing.
    dashboard_address
        Where the dashboard listens: ``":8787"``, ``"localhost:8787"``, ``"0.0.0.0:8787"`` (then its link has a token),
        ``":0"`` for any free port; None: there is none. A bare port is on ``host``. Where the port is taken, it is on a
        free one. See `dashboard_link`. ``diagnostics_port`` is its old name.
    worker_dashboard_address
        Has each worker show itself, as ``":0"`` on a free port; by default none does.
    service_kwargs
        ``{"dashboard": {"prefix": "/foo"}}`` is put before the dashboard's paths.
    services, worker_services
        None or empty: such servers are not in this version.
    security
        True: connections are encrypted, with temporary certificates; a `Security`: as that says. False (or
        ``Security(require_encryption=False)``): they are not, on whatever host. By default as configured, else they are
        where other machines can come.
    protocol
        ``"tcp://"``, ``"tls://"`` or ``"inproc://"``; by default what ``host`` says, else what ``security``,
        ``processes`` and ``scheduler_port`` need.
    blocked_handlers
        Names of requests that the scheduler refuses, such as ``["run_function"]``.
    interface
        A network interface such as ``"eth0"`` to listen on, in place of ``host``.
    worker_class
        A class for workers, or its dotted name: a kind of `Worker` (which a `Nanny` makes in a process of its own with
        ``processes=True``) or of `Nanny`.
    scheduler_kwargs
        Further keywords for `Scheduler`, before which those that follow from the rest give way.
    **worker_kwargs
        Keywords for the worker's class: ``memory_limit`` (bytes, "4 GiB", a fraction of the machine's memory; "auto"
        shares it out; None: no limit), ``resources`` (``{"GPU": 1}``), ``env`` (environment variables for processes),
        ``local_directory``, …

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        An argument will not do, or two do not go together; nothing was started.
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
        loop: Any = None,
        start: Any = None,
        host: str | None = None,
        ip: str | None = None,
        scheduler_port: int = 0,
        silence_logs: Any = logging.WARNING,
        dashboard_address: Any = DASHBOARD,
        worker_dashboard_address: Any = None,
        services: Any = None,
        worker_services: Any = None,
        service_kwargs: Any = None,
        asynchronous: bool = False,
        security: Any = None,
        protocol: str | None = None,
        blocked_handlers: Collection[str] | None = None,
        interface: str | None = None,
        worker_class: Any = None,
        scheduler_kwargs: Mapping[str, Any] | None = None,
        scheduler_sync_interval: Duration = 1,
        *,
        diagnostics_port: Any = None,
        **worker_kwargs: Any,
    ) -> None:
        if start is not None:
            warnings.warn("start= has no effect: a cluster starts when it is made", DeprecationWarning, stacklevel=2)
        certificates = tls.checked("LocalCluster", security)
        threads_per_worker = _threads(threads_per_worker, worker_kwargs)
        arguments.check_counts(n_workers, threads_per_worker, scheduler_port)
        arguments.check_empty(services=services, worker_services=worker_services)
        self.dashboard_address = arguments.old_name(
            "diagnostics_port", diagnostics_port, "dashboard_address", dashboard_address, DASHBOARD
        )
        kind = arguments.chosen_kind(processes, worker_class, Nanny, Worker)
        self.processes = kind.processes
        host = arguments.old_name("ip", ip, "host", host, None)
        place = arguments.chosen_place(host, protocol, interface, kind.processes, scheduler_port, certificates)
        if place.protocol == "tls":  # made here, where it is said what is missing, if anything is
            certificates = tls.with_certificates(certificates)
        count, threads = arguments.split(n_workers, threads_per_worker, kind.processes)
        level = logs.checked_level(silence_logs)
        worker_kwargs.update(arguments.worker_dashboard(worker_dashboard_address))
        known = arguments.worker_keywords(kind, Nanny, Worker)
        _check_worker_kwargs(worker_kwargs, kind, known)
        options = _worker_options(worker_kwargs, known, place, count, threads, kind.processes)
        if level is not None and _takes_level(kind):
            options["silence_logs"] = level
        if kind.inner is not None:
            options["worker_class"] = kind.inner
        scheduler = {
            "host": place.host,
            "port": scheduler_port,
            "protocol": place.protocol,
            "security": certificates,
            **arguments.chosen_dashboard(self.dashboard_address, service_kwargs),
            **_scheduler_options(scheduler_kwargs, blocked_handlers),
        }
        worker = {"cls": kind.cls, "options": options}
        super().__init__(
            workers=dict.fromkeys(range(count), worker),
            scheduler={"cls": Scheduler, "options": scheduler},
            worker=worker,
            asynchronous=asynchronous,
            loop=loop,
            security=certificates,
            silence_logs=level or False,
            name=name,
            scheduler_sync_interval=scheduler_sync_interval,
        )

    def start_worker(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: workers are started by `scale`."""
        raise NotImplementedError("LocalCluster starts workers by scale: cluster.scale(n), or cluster.adapt(maximum=n)")

    def _more_rows(self) -> dict[str, str]:
        return {"Workers are": "processes" if self.processes else "threads of this process"}

    async def _shut(self) -> None:
        grace_s = 0.0
        nannies = [each for each in (*self.workers.values(), *self._leaving.values()) if isinstance(each, Nanny)]
        if self._is_near and self.scheduler.core.state.plugins["worker"]:
            grace_s = TEARDOWN_S
        for nanny in nannies:
            nanny.expect_end()
            nanny.grace_s = grace_s
        await super()._shut()


def _takes_level(kind: arguments.Kind) -> bool:
    """Whether workers are processes, with a terminal's worth of logs of their own, whose class takes a level."""
    known = arguments.keywords_of(kind.inner or Worker, Worker)
    return issubclass(kind.cls, Nanny) and known is not None and "silence_logs" in known


def _threads(threads_per_worker: int | None, worker_kwargs: dict[str, Any]) -> int | None:
    """Return how many threads each worker is to have, where some say it by the name that it has for a worker."""
    nthreads: int | None = worker_kwargs.pop("nthreads", None)
    if nthreads is None or nthreads == threads_per_worker:
        return threads_per_worker
    if threads_per_worker is not None:
        raise TypeError(
            f"threads_per_worker={threads_per_worker} and nthreads={nthreads} say different things about the threads "
            "of each worker: leave one of them out"
        )
    return nthreads


def _check_worker_kwargs(given: Mapping[str, Any], kind: arguments.Kind, known: set[str] | None) -> None:
    env = given.get("env")
    if env is not None and not isinstance(env, Mapping):
        raise TypeError(f"env must be a dict of environment variables, not {env!r}")
    if env and not kind.processes:
        raise arguments.apart("env", env, "processes", False, "threads have the environment of this process")
    check_times(given)
    own = [name for name in LocalCluster.__init__.__annotations__ if name not in ("worker_kwargs", "return")]
    if known is not None:
        keywords.refuse_unknown("LocalCluster", given, {*own, *known} - OURS)


def _worker_options(
    given: Mapping[str, Any],
    known: set[str] | None,
    place: arguments.Place,
    count: int,
    threads: int,
    are_processes: bool,
) -> dict[str, Any]:
    """Return the keywords for a worker's class: what is given, and what follows from the rest where it takes that."""
    limit = given.get("memory_limit", "auto")
    follows: dict[str, Any] = {
        "nthreads": threads,
        "host": place.host,
        "memory_limit": arguments.memory_limit_bytes(limit, count, threads, are_processes),
        "resources": arguments.checked_resources(given.get("resources")),
    }
    return {**given, **{name: value for name, value in follows.items() if known is None or name in known}}


def _scheduler_options(given: Mapping[str, Any] | None, blocked_handlers: Collection[str] | None) -> dict[str, Any]:
    """Return the scheduler's keywords that are given in so many words."""
    if given is not None and not isinstance(given, Mapping):
        raise TypeError(f"scheduler_kwargs must be a dict of keywords for Scheduler, not {given!r}")
    if given:
        known = arguments.keywords_of(Scheduler, Scheduler) or ()
        keywords.refuse_unknown("Scheduler (scheduler_kwargs of LocalCluster)", given, known)
    if isinstance(blocked_handlers, str):
        raise TypeError(f"blocked_handlers must be a list of names, not the text {blocked_handlers!r}")
    blocked = {} if blocked_handlers is None else {"blocked_handlers": list(blocked_handlers)}
    return {**blocked, **(given or {})}
