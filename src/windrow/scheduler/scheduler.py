"""`Scheduler`, as programs make it: the constructor that users know, gathered into what the shell needs.

What lives here: the public class. What this file must never know: how a scheduler works.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from windrow import security
from windrow.dashboard import address
from windrow.scheduler.server import SchedulerServer

DEFAULT_PORT = 8786


class Scheduler(SchedulerServer):
    """A scheduler, on the running event loop.

    What plugins and functions on the scheduler see of it (``tasks``, ``workers``, ``clients``, …) are its attributes
    too; they are views on its present state.

    Parameters
    ----------
    host, port
        Where to listen for other processes; ``port=0`` takes any that is free, None takes 8786.
    protocol
        ``"inproc"``: listen for this process alone.
    secret
        The cluster's; by default a new one, which this user's other processes find in the runtime directory.
    on_shutdown
        Called when a client asks for the end of the cluster.
    dashboard_address
        Where the dashboard listens: ``":8787"`` (on ``host``), ``"localhost:8787"``, ``":0"`` for any free port; None:
        there is none. Where the port is taken, a free one.
    dashboard
        False: there is no dashboard, whatever its address; True: there is one, at ``":8787"`` unless the address says.
    http_prefix, service_kwargs
        What is before all paths of the dashboard: ``"/foo"``, or ``{"dashboard": {"prefix": "/foo"}}``.

    Examples
    --------
    >>> async with Scheduler() as scheduler:  # doctest: +SKIP
    ...     print(scheduler.address)
    """

    def __init__(
        self,
        *,
        host: str | None = None,
        port: int | None = 0,
        protocol: str | None = None,
        secret: bytes | None = None,
        on_shutdown: Callable[[], None] | None = None,
        dashboard_address: str | int | None = None,
        dashboard: bool | None = None,
        http_prefix: str | None = "/",
        service_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        listens = protocol is None or not protocol.startswith("inproc")
        super().__init__(
            secret or security.new_secret(),
            (host or "127.0.0.1") if listens else None,
            DEFAULT_PORT if port is None else port,
            on_shutdown,
            address.chosen(dashboard_address, dashboard),
            address.prefix_from(service_kwargs, http_prefix),
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "view":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.view, name)
