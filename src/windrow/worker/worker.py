"""`Worker`, as programs make it: the constructor that users know, gathered into what the shell needs.

What lives here: the public class: its parameters, preloads and plugins of its own, what it measures, and when its life
is over. What this file must never know: how a worker works.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from windrow import config, keywords, logs, system, tls
from windrow.dashboard import address
from windrow.plugins.base import WorkerPlugin, name_of
from windrow.preload import Preloads, configured
from windrow.primitives import plain
from windrow.transport import Link
from windrow.wire import failure
from windrow.wire.messages import Heartbeat, Supply
from windrow.worker import arguments, inherited, leaving
from windrow.worker.server import WorkerConfig, WorkerServer

__all__ = ["DEFAULT_METRICS", "DEFAULT_STARTUP_INFORMATION", "Worker"]

logger = logging.getLogger("windrow.worker")

Measure = Callable[[Any], Any]

DEFAULT_METRICS: dict[str, Measure] = {}
"""What every worker of this process measures beside the usual: functions of the worker, by name."""

DEFAULT_STARTUP_INFORMATION: dict[str, Measure] = {}
"""What every worker of this process tells when it joins: functions of the worker, by name."""

_KNOWN_TOO = ("io_loop", "loop", "reconnect")

_NO_EFFECT = {
    "extensions": "write a WorkerPlugin, and pass it in plugins=",
    "io_loop": "a worker runs on the event loop that is running",
    "loop": "a worker runs on the event loop that is running",
    "low_level_profiler": "the profiler sees functions of Python",
    "reconnect": "what becomes of a lost connection is configured ('windrow.worker.reconnect-timeout')",
    "scheduler_sni": "names of hosts are not checked",
    "services": "what is served over HTTP is the cluster's dashboard",
    "transition_counter_max": "an endless loop of transitions cannot happen; validate=True checks the state",
}


class Worker(WorkerServer):
    """A worker, on the running event loop.

    Where its scheduler is not there yet, its start waits for it.

    Parameters
    ----------
    scheduler_ip, scheduler_port
        The scheduler's address; or its host, and its port. By default what ``scheduler-address`` is configured to be.
    scheduler_file
        Wait for this file, and take the address and the secret from it.
    nthreads
        Threads for tasks; by default as many as there are cores.
    local_directory
        Where to make its own directory.
    name
        A str or int under which it is known; by default its address.
    executor
        None: tasks run in the worker's own threads, which is all there is in this version.
    resources
        What it offers beside its threads, such as ``{"GPU": 1}``; see `set_resources`.
    silence_logs
        The level below which no logs of a worker process reach the terminal (``logging.ERROR``, ``"error"``).
    death_timeout
        How long its start may take, in seconds or as "30s".
    preload, preload_argv
        Modules, files, web addresses or source text with a ``dask_setup(worker)``; and its arguments.
    security
        The certificates with which it reaches a ``tls://`` scheduler, and its peers reach it: a `Security`; by default
        what goes with the scheduler's address, or is configured. It listens as its scheduler does.
    contact_address
        The address to tell to others, in place of the one that it listens at.
    heartbeat_interval
        How often it tells the scheduler its metrics.
    metrics, startup_information
        Functions of the worker, or coroutine functions, by name: what they return (plain data) goes along with
        heartbeats, or with the worker's joining.
    interface, host, port, protocol
        Where it listens: an interface such as "eth0", or a host (by default what the scheduler reaches it by); a port,
        a range "8000:8010", or several ports, of which it takes the first that is free.
    nanny
        The id of its nanny.
    plugins
        Plugins of this worker alone.
    validate
        Have it check its state at each step; slow.
    lifetime, lifetime_stagger, lifetime_restart
        After so long, give or take the stagger, it leaves in good order; with ``lifetime_restart`` its nanny then
        starts another.
    memory_limit
        Bytes, or "4 GiB", or a fraction of the machine's memory; "auto": a share that goes with the threads; None or
        0: no limit.
    dashboard_address, http_prefix
        Where the worker shows itself (``":0"``: on any free port of ``host``; None: nowhere), and what is before the
        paths.
    dashboard
        True: it shows itself, on any free port unless the address says.
    data
        Where values are kept: an empty mapping, what makes one when it is called (with ``worker_local_directory=``, if
        it takes that), or a pair of that and its keyword arguments; None: in memory, and on disk when that is short.
    secret
        The cluster's; by default what this user's runtime directory says of the scheduler.
    profile_cycle_interval
        How long the stretches are of which a profile tells times; by default as configured
        (``distributed.worker.profile.cycle``).
    services, extensions, low_level_profiler, transition_counter_max, scheduler_sni
        Accepted; they have no meaning here.
    listen_address
        Host and port in one, in place of these.

    Examples
    --------
    >>> async with Worker("tcp://127.0.0.1:8786") as worker:  # doctest: +SKIP
    ...     await worker.finished()
    """

    @keywords.named_only
    def __init__(
        self,
        scheduler_ip: str | None = None,
        scheduler_port: int | None = None,
        *,
        scheduler_file: str | os.PathLike[str] | None = None,
        nthreads: int | None = None,
        local_directory: str | os.PathLike[str] | None = None,
        services: Mapping[Any, Any] | None = None,
        name: str | int | None = None,
        executor: Any = None,
        resources: Mapping[str, float] | None = None,
        silence_logs: int | str | None = None,
        death_timeout: str | float | None = None,
        preload: str | Sequence[str] | None = None,
        preload_argv: Sequence[Any] | None = None,
        security: object = None,
        contact_address: str | None = None,
        heartbeat_interval: str | float = "1s",
        extensions: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Measure] | None = None,
        startup_information: Mapping[str, Measure] | None = None,
        interface: str | None = None,
        host: str | None = None,
        port: int | str | Iterable[int] | None = None,
        protocol: str | None = None,
        dashboard_address: str | int | None = None,
        dashboard: bool = False,
        http_prefix: str | None = "/",
        nanny: str | None = None,
        plugins: Iterable[WorkerPlugin] = (),
        low_level_profiler: bool | None = None,
        validate: bool | None = None,
        profile_cycle_interval: str | float | None = None,
        lifetime: str | float | None = None,
        lifetime_stagger: str | float | None = None,
        lifetime_restart: bool | None = None,
        transition_counter_max: int | bool = False,
        memory_limit: str | float | None = "auto",
        data: Any = None,
        scheduler_sni: str | None = None,
        secret: bytes | None = None,
        listen_address: str | None = None,
        **kwargs: Any,
    ) -> None:
        given = inherited.take()
        keywords.refuse_unknown(type(self).__name__, kwargs, [*keywords.parameters(Worker), *_KNOWN_TOO])
        certificates = tls.checked("Worker", security)
        asked = {
            "services": services,
            "extensions": extensions,
            "low_level_profiler": low_level_profiler,
            "transition_counter_max": transition_counter_max,
            "scheduler_sni": scheduler_sni,
        }
        keywords.remark("Worker", {**asked, **kwargs}, _NO_EFFECT)
        arguments.refuse_executor(executor)
        scheduler = arguments.scheduler_address(scheduler_ip, scheduler_port, scheduler_file)
        threads = arguments.thread_count(nthreads)
        listens = arguments.listens(listen_address, host, port, interface, protocol, scheduler, certificates)
        settings = WorkerConfig(
            scheduler=scheduler,
            secret=secret,
            certificates=certificates,
            scheduler_file="" if scheduler_file is None else os.fspath(scheduler_file),
            name=arguments.checked_name(name),
            nthreads=threads,
            listens=listens,
            host=arguments.shown_host(listens),
            contact=contact_address or "",
            heartbeat_s=config.parse_timedelta(heartbeat_interval),
            memory_limit=system.parse_memory_limit(memory_limit, threads) or 0,
            inline_limit=config.size_bytes("windrow.inline-limit"),
            resources=arguments.checked_resources(resources),
            nanny=given.nanny or nanny or "",
            local_directory=given.directory or arguments.own_directory(local_directory),
            echoes=given.echoes and not scheduler.startswith("inproc://"),
            dashboard_address=address.chosen(dashboard_address, True if dashboard else None, default_port=0),
            http_prefix=http_prefix or "",
            profile_cycle_s=None if profile_cycle_interval is None else config.parse_timedelta(profile_cycle_interval),
        )
        super().__init__(settings, given.recorder, data)
        if death_timeout is not None:
            self.death_timeout_s = config.parse_timedelta(death_timeout)
        level = logs.checked_level(silence_logs)
        if level is not None and given.nanny:  # a process of its own, to its end
            logs.silence(level)
        self.validates = bool(config.get("distributed.worker.validate") if validate is None else validate)
        self.metrics = {**DEFAULT_METRICS, **(metrics or {})}
        self.startup_information = {**DEFAULT_STARTUP_INFORMATION, **(startup_information or {})}
        self.preloads = Preloads(self, *configured("worker", preload, preload_argv))
        self._first_plugins = list(plugins)
        self.lifetime = arguments.life_s(lifetime, lifetime_stagger)
        restart = config.get("distributed.worker.lifetime.restart") if lifetime_restart is None else lifetime_restart
        self.lifetime_restart = bool(restart)
        self._end_of_life: asyncio.TimerHandle | None = None
        self._departure: asyncio.Task[None] | None = None
        self._unmeasured: set[str] = set()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.address} threads={self.nthreads} {self.core!r}>"

    def _repr_html_(self) -> str:
        from windrow import looks

        rows = {
            "Address": self.address,
            "Status": self.status.name,
            "Scheduler": self.scheduler_address,
            "Threads": self.nthreads,
            "Memory": looks.bytes_in_words(self.config.memory_limit) if self.config.memory_limit else "no limit",
            "Results held": len(self.core.data),
        }
        link = self.observed.dashboard.link
        return looks.card("Worker", self.name, {**rows, "Dashboard": looks.anchor(link)} if link else rows)

    # ------------------------------------------------------------ life

    async def _open(self) -> None:
        await super()._open()
        if self.lifetime is not None:
            self._end_of_life = self.loop.call_later(self.lifetime, self._lifetime_over)

    async def _set_up_plugins(self, link: Link) -> None:
        """Run preloads, set up all plugins, and take the measures that the scheduler is told first."""
        if self.preloads and not self.joined.done():
            await self.preloads.start()
        await super()._set_up_plugins(link)
        for plugin in self._first_plugins:
            _, error = await failure.caught(self.held.add(name_of(plugin), plugin))
            if error is not None:
                raise RuntimeError(f"its plugin {name_of(plugin)!r} could not be set up: {failure.words(error)}")
        self.watch()
        if self.startup_information:
            self.extra = await self._measured(self.startup_information)
        if self.metrics:
            self.more_metrics = await self._measured(self.metrics)

    def _lifetime_over(self) -> None:
        self.background(self.close_gracefully(reason="its lifetime is over"))

    async def close(
        self, timeout: float | None = None, executor_wait: bool = True, nanny: bool = True, reason: str = "it closed"
    ) -> None:
        """Leave at once; again is harmless.

        Parameters
        ----------
        timeout, executor_wait
            Accepted: nothing of what still runs is waited for (`close_gracefully` does).
        nanny
            Have its nanny start no other in its place.
        reason
            What to tell the scheduler.
        """
        if self._end_of_life is not None:
            self._end_of_life.cancel()
        if self.preloads and not self.ended.done():
            await self.preloads.teardown()
        await super().close(timeout, executor_wait, nanny, reason)

    async def close_gracefully(self, restart: bool | None = None, reason: str = "it closes gracefully") -> None:
        """Take no new task, end those that run, have others hold what it holds, and close.

        Tasks and data have ``windrow.drain-timeout`` each.

        Parameters
        ----------
        restart
            Have its nanny start another in its place; by default as ``lifetime_restart`` says.
        reason
            What to tell the scheduler.
        """
        self.wants_successor = self.lifetime_restart if restart is None else restart
        if self._departure is None:
            limit_s = config.seconds("windrow.drain-timeout")
            self._departure = self.loop.create_task(leaving.drain(self, reason, limit_s))
        await asyncio.shield(self._departure)

    async def leave(self) -> None:
        """Close gracefully; no other is started in its place."""
        await self.close_gracefully(restart=False, reason="it was asked to leave")

    # ------------------------------------------------------------ what it tells of itself

    def set_resources(self, **resources: float) -> None:
        """Offer so much of these resources from now on; what is not named stays as it was."""
        self.config.resources = {**self.config.resources, **arguments.checked_resources(resources)}
        if self._link is not None:
            self._link.send([Supply(self.config.resources)])

    async def get_metrics(self) -> dict[str, Any]:
        """Return what a heartbeat tells, measured now."""
        self.more_metrics = await self._measured(self.metrics)
        return {**self.metrics_now(), **self.more_metrics}

    async def get_startup_information(self) -> dict[str, Any]:
        """Return what it tells when it joins, measured now."""
        return await self._measured(self.startup_information)

    async def heartbeat(self) -> None:
        """Tell the scheduler the metrics now."""
        metrics = await self.get_metrics()
        if self._link is not None:
            self._link.send([Heartbeat(metrics)])

    def _beat(self) -> None:
        super()._beat()
        if self.metrics:  # for the next time: no measure holds a heartbeat up
            self.background(self.get_metrics())

    async def _measured(self, measures: Mapping[str, Measure]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, measure in measures.items():
            try:
                value = measure(self)
                if inspect.isawaitable(value):
                    value = await value
                found[name] = plain.checked(value)
            except Exception:
                if name not in self._unmeasured:  # once, and not each second
                    self._unmeasured.add(name)
                    logger.exception("worker %r cannot measure %r; it is left out", self.name, name)
        return found
