"""`Scheduler`, as programs make it: the constructor that users know, gathered into what the shell needs.

What lives here: the public class: its parameters, scheduler file, preloads, and the end of an idle one. What this file
must never know: how a scheduler works.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from windrow import config, keywords, listening, scheduler_file, tls
from windrow.dashboard import address
from windrow.plugins.base import SchedulerPlugin, name_of
from windrow.preload import Preloads, configured
from windrow.scheduler import blocking
from windrow.scheduler.server import SchedulerServer, read_config
from windrow.scheduler.state import SchedulerConfig
from windrow.security import new_secret

DEFAULT_PORT = 8786

IDLE_CHECKS = 4
"""So often in an idle timeout it is looked whether the time is up."""

_KNOWN_TOO = ("connection_limit", "deserialize", "loop", "io_loop")

_NO_EFFECT = {
    "connection_limit": "each party has one connection, which carries everything",
    "deserialize": "the scheduler never loads what users send",
    "extensions": "write a SchedulerPlugin, and pass it in plugins=",
    "io_loop": "a scheduler runs on the event loop that is running",
    "loop": "a scheduler runs on the event loop that is running",
    "services": "what is served over HTTP is the dashboard's",
    "transition_counter_max": "an endless loop of transitions cannot happen; validate=True checks the state",
}


class Scheduler(SchedulerServer):
    """A scheduler, on the running event loop.

    What plugins and functions on the scheduler see of it (``tasks``, ``workers``, ``clients``, …) are its attributes
    too; they are views on its present state.

    Parameters
    ----------
    allowed_failures
        Deaths of workers that a task may survive.
    validate
        Have it check its state at each step; slow.
    scheduler_file
        Where to write address and secret, for those who can read the file; removed when it closes.
    security
        Whether connections are encrypted, with which certificates: a `Security`; True for temporary certificates, which
        others find with the secret; False (or ``Security(require_encryption=False)``) for no encryption. By default as
        configured, else encrypted, with temporary certificates, where other machines can come.
    worker_ttl
        Silence that ends a worker without a nanny, in seconds or as "5 minutes"; None: as configured.
    idle_timeout
        Close when nothing was done for so long.
    interface, host, port, protocol
        Where to listen for other processes: an interface such as "eth0" or a host (loopback by default, "" for all of
        them), a port (0: any that is free; None: 8786), "tcp", "tls" or "inproc" (for this process alone). With lists,
        side by side, it listens at several.
    dashboard_address
        Where the dashboard listens: ``":8787"`` (on ``host``), ``"localhost:8787"``, ``":0"`` for any free port; None:
        there is none. Where the port is taken, a free one.
    dashboard
        False: there is no dashboard, whatever its address; True: there is one, at ``":8787"`` unless the address says.
    http_prefix, service_kwargs
        What is before all paths of the dashboard: ``"/foo"``, or ``{"dashboard": {"prefix": "/foo"}}``.
    preload, preload_argv
        Modules, files, web addresses or source text with a ``dask_setup(scheduler)``; and its arguments.
    plugins
        Plugins of the scheduler to begin with.
    contact_address
        The address to tell to others, in place of the one that it listens at.
    jupyter
        Not here: start Jupyter in a process of its own, with a client of this scheduler.
    secret
        The cluster's; by default a new one, which this user's other processes find in the runtime directory.
    on_shutdown
        Called when a client asks for the end of the cluster, or it has idled for too long; by default it closes.
    services, extensions, transition_counter_max
        Accepted with a warning: they have no meaning here.
    blocked_handlers
        Names of requests to refuse, such as "run_function"; by default as configured.
    local_directory
        Where to make its own directory.

    Examples
    --------
    >>> async with Scheduler() as scheduler:  # doctest: +SKIP
    ...     print(scheduler.address)
    """

    @keywords.named_only
    def __init__(
        self,
        *,
        services: Mapping[Any, Any] | None = None,
        service_kwargs: Mapping[str, Any] | None = None,
        allowed_failures: int | None = None,
        extensions: Mapping[str, Any] | None = None,
        validate: bool | None = None,
        scheduler_file: str | os.PathLike[str] | None = None,
        security: object = None,
        worker_ttl: str | float | None = None,
        idle_timeout: str | float | None = None,
        interface: str | Sequence[str] | None = None,
        host: str | Sequence[str] | None = None,
        port: int | str | Sequence[int] | None = 0,
        protocol: str | Sequence[str] | None = None,
        dashboard_address: str | int | None = None,
        dashboard: bool | None = None,
        http_prefix: str | None = "/",
        preload: str | Sequence[str] | None = None,
        preload_argv: Sequence[Any] | None = None,
        plugins: Iterable[SchedulerPlugin] = (),
        contact_address: str | None = None,
        transition_counter_max: int | bool = False,
        jupyter: bool = False,
        secret: bytes | None = None,
        on_shutdown: Callable[[], None] | None = None,
        blocked_handlers: Sequence[str] | None = None,
        local_directory: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        keywords.refuse_unknown("Scheduler", kwargs, [*keywords.parameters(Scheduler), *_KNOWN_TOO])
        known = tls.checked("Scheduler", security)
        if jupyter:
            raise NotImplementedError(
                "Scheduler(jupyter=True) is not in windrow, whose scheduler runs nothing else: start Jupyter in a "
                "process of its own, and connect a Client to this scheduler there"
            )
        asked = {"services": services, "extensions": extensions, "transition_counter_max": transition_counter_max}
        keywords.remark("Scheduler", {**asked, **kwargs}, _NO_EFFECT)
        self.scheduler_file = None if scheduler_file is None else os.fspath(scheduler_file)
        self.idle_timeout = _duration("idle_timeout", idle_timeout, "distributed.scheduler.idle-timeout")
        contact = config.get("distributed.scheduler.contact-address") if contact_address is None else contact_address
        super().__init__(
            secret or new_secret(),
            _listens(host, port, interface, protocol, known),
            str(contact or ""),
            on_shutdown,
            _settings(allowed_failures, worker_ttl),
            os.fspath(local_directory or ""),
            address.chosen(dashboard_address, dashboard),
            address.prefix_from(service_kwargs, http_prefix),
            known,
        )
        self.contact_address = str(contact) if contact else None
        self.validates = bool(config.get("distributed.scheduler.validate") if validate is None else validate)
        configured_names: Any = config.get("distributed.scheduler.blocked-handlers")
        self.blocked_handlers = list(configured_names if blocked_handlers is None else blocked_handlers)
        self.answers.blocked = blocking.blocked(self.blocked_handlers)
        self.preloads = Preloads(self, *configured("scheduler", preload, preload_argv))
        self._first_plugins = list(plugins)
        self._idle_check: asyncio.TimerHandle | None = None
        self._idle_end: asyncio.Task[None] | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "view":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.view, name)

    # ------------------------------------------------------------ life

    async def _open(self) -> None:
        await super()._open()
        for plugin in self._first_plugins:
            await self.plugins.register(name_of(plugin), plugin)
        if self.preloads:
            await self.preloads.start()
        if self.scheduler_file is not None:  # who finds it finds all that is said above
            facts = {"id": self.id, "started": self.started, "workers": {}, "services": {}}
            scheduler_file.write(self.scheduler_file, self.address, self.secret, self.security, **facts)
        if self.idle_timeout is not None:
            self._look_for_idleness()

    async def _prepare_end(self) -> None:
        if self._idle_check is not None:
            self._idle_check.cancel()
        if self.scheduler_file is not None:
            scheduler_file.remove(self.scheduler_file, self.address)
        if self.preloads:
            await self.preloads.teardown()

    def _look_for_idleness(self) -> None:
        assert self.idle_timeout is not None
        since_s = self.core.idle_since_s
        if since_s is not None and self.loop.time() - since_s >= self.idle_timeout:
            if self.on_shutdown is not None:
                self.on_shutdown()
            else:
                self._idle_end = self.loop.create_task(self.close(reason="nothing was done for its idle-timeout"))
            return
        self._idle_check = self.loop.call_later(self.idle_timeout / IDLE_CHECKS, self._look_for_idleness)

    # ------------------------------------------------------------ facts

    def _repr_html_(self) -> str:
        from windrow import looks

        return looks.scheduler(self.identity())

    @property
    def allowed_failures(self) -> int:
        """Deaths of workers that a task may survive."""
        return self.core.state.config.allowed_failures

    @property
    def worker_ttl(self) -> float | None:
        """Silence that ends a worker without a nanny, in seconds; None: any."""
        ttl_s = self.core.state.config.worker_ttl_s
        return None if ttl_s == math.inf else ttl_s

    @property
    def local_directory(self) -> str:
        """A directory of its own, on the path of modules; made now, and removed when it closes."""
        return self.scratch.path

    def identity(self, n_workers: int = -1) -> dict[str, Any]:
        """Return the description of itself and its workers (the first ``n_workers``; -1: all), as plain data."""
        described = super().identity()
        if n_workers >= 0:
            described["workers"] = dict(list(described["workers"].items())[:n_workers])
        return described


def _listens(
    host: object, port: object, interface: object, protocol: object, security: tls.Security | None
) -> list[str]:
    chosen = listening.choose_all(host, port, interface, protocol, DEFAULT_PORT, security)
    return [address for address in chosen if not address.startswith("inproc")]


def _settings(allowed_failures: int | None, worker_ttl: str | float | None) -> SchedulerConfig:
    changes: dict[str, Any] = {}
    if allowed_failures is not None:
        if not isinstance(allowed_failures, int) or allowed_failures < 0:
            raise ValueError(f"allowed_failures counts deaths of workers, and is not {allowed_failures!r}")
        changes["allowed_failures"] = allowed_failures
    if worker_ttl is not None:
        changes["worker_ttl_s"] = config.parse_timedelta(worker_ttl)
    settings = read_config()
    return msgspec.structs.replace(settings, **changes) if changes else settings


def _duration(name: str, given: str | float | None, key: str) -> float | None:
    """Return a time in seconds: what is given, else what is configured; None for no limit."""
    value: Any = config.get(key) if given is None else given
    if value is None:
        return None
    seconds = config.parse_timedelta(value)
    if seconds <= 0:
        raise ValueError(f"{name} must be a time above 0, not {value!r}")
    return seconds
