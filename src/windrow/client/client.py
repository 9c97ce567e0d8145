"""`Client`: the surface that programs use.

What lives here: the life of a client, and what it knows of itself. Its other methods stand in the classes it inherits
from, by topic. What this file must never know: how clusters are made
(see `set_cluster_factory`), messages on the wire.

On an asynchronous client, and on the IO loop's own thread, methods return awaitables; elsewhere they block.
"""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

from windrow import config, looks, tls
from windrow.client import absent, calls, current, dask_default, options, report
from windrow.client.actors import ActorMethods
from windrow.client.callbacks import CallbackThread
from windrow.client.cluster import ClusterMethods
from windrow.client.connection import Connection, checked_secret, configured_address
from windrow.client.data import DataMethods
from windrow.client.datasets import DatasetMethods
from windrow.client.explain import ExplainMethods
from windrow.client.graphs import GraphMethods
from windrow.client.metadata import MetadataMethods
from windrow.client.options import Duration
from windrow.client.output import OutputMethods
from windrow.client.plugins import PluginMethods
from windrow.client.recorded import RecordedMethods
from windrow.client.reports import ReportMethods
from windrow.client.session import Session
from windrow.client.submit import Submitter
from windrow.client.tasks import TaskMethods
from windrow.client.topics import Subscriptions, TopicMethods
from windrow.client.waiting import DONE, follow
from windrow.preload import Preloads, configured
from windrow.runtime import LoopThread
from windrow.wire import messages as m
from windrow.wire import requests as r

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

TIMEOUT = "distributed.comm.timeouts.connect"

WORKERS_SHOWN = 5
"""So many workers are in the table of a client in a notebook."""

cluster_factory: Callable[..., Any] | None = None
"""Makes the cluster of a `Client()` without an address; ``windrow.deploy`` sets it."""

_alive: weakref.WeakSet[Client] = weakref.WeakSet()


def set_cluster_factory(factory: Callable[..., Any]) -> None:
    """Say what makes the cluster of a client that is given none, such as ``LocalCluster``."""
    global cluster_factory
    cluster_factory = factory


def _make_cluster(asynchronous: bool, kwargs: dict[str, Any]) -> Any:
    if cluster_factory is None:
        raise RuntimeError("no kind of cluster is known here: import windrow.deploy, or give the client an address")
    return cluster_factory(asynchronous=asynchronous, **kwargs)


@absent.lacking(absent.CLIENT)
class Client(
    TaskMethods,
    GraphMethods,
    ClusterMethods,
    DataMethods,
    PluginMethods,
    TopicMethods,
    OutputMethods,
    MetadataMethods,
    DatasetMethods,
    ReportMethods,
    RecordedMethods,
    ExplainMethods,
    ActorMethods,
):
    """Connects to a cluster, and runs functions on it.

    Parameters
    ----------
    address
        ``"tcp://host:port"``, ``"tls://host:port"``, or a cluster object; None makes a `LocalCluster` that this client
        owns and closes.
    loop
        A `LoopThread` to share; by default the cluster's, or one of this client's own.
    timeout
        For a scheduler file to come, for connecting, and where a method has no other: seconds, or such as ``"30 s"``;
        by default what ``distributed.comm.timeouts.connect`` says.
    set_as_default
        Be what `default_client` finds.
    scheduler_file
        Wait for this file, and take the address and secret from it.
    asynchronous
        Belong to the running event loop: ``await Client(..., asynchronous=True)``, or ``async with``.
    name
        Part of the client's id.
    secret
        The cluster's secret; by default the one that this user's own schedulers have published.
    extensions
        Classes by name: each is called with this client, and what it makes is found in ``client.extensions``.
    security
        The certificates to reach a ``tls://`` scheduler with: a `Security`; by default what goes with its address, or
        is configured. For an own `LocalCluster`: see there.
    heartbeat_interval, serializers, deserializers, direct_to_workers, connection_limit
        Accepted for the sake of existing programs.
    **kwargs
        For the own `LocalCluster`: ``n_workers=4``, ``processes=False``, …

    Examples
    --------
    >>> client = Client(n_workers=2)  # doctest: +SKIP
    >>> client.submit(sum, [1, 2]).result()  # doctest: +SKIP
    3
    >>> client.close()  # doctest: +SKIP
    """

    shared = False
    """Whether it is a worker's, which all its tasks share: none of them closes it for the others."""

    home = ""
    """The address of that worker."""

    def __init__(
        self,
        address: Any = None,
        loop: LoopThread | None = None,
        timeout: Duration = options.NO_DEFAULT,
        set_as_default: bool = True,
        scheduler_file: str | None = None,
        security: object = None,
        asynchronous: bool = False,
        name: str | None = None,
        heartbeat_interval: object = None,
        serializers: object = None,
        deserializers: object = None,
        extensions: Mapping[str, Callable[[Client], Any]] | None = None,
        direct_to_workers: bool | None = None,
        connection_limit: int = 512,
        *,
        secret: bytes | str | None = None,
        **kwargs: Any,
    ) -> None:
        timeout_s = options.seconds(config.get(TIMEOUT) if timeout is options.NO_DEFAULT else timeout)  # type: ignore[arg-type]
        if timeout_s is None:
            raise ValueError("timeout must be a duration, not None")
        owns = address is None and scheduler_file is None and configured_address() is None
        self.security = None if owns else tls.checked("Client", security)
        """The certificates it was given, or that are configured."""
        if address is None and scheduler_file is None:
            address = configured_address()
        if kwargs and (address is not None or scheduler_file is not None):
            raise ValueError(f"{', '.join(kwargs)}: these are for a new LocalCluster, but an address is given too")
        if asynchronous:
            _check_loop()
        self.id = f"Client-{name}-{os.urandom(8).hex()}" if name else f"Client-{os.urandom(8).hex()}"
        self.name = name
        self.direct_to_workers = bool(direct_to_workers)
        self.scheduler_file = scheduler_file
        self.preloads = Preloads(self, *configured("client", None, None))
        self.session = Session(self.id, name or "", self.home)
        self._process_id = os.getpid()
        self._asynchronous = asynchronous
        self._timeout_s = timeout_s
        self._set_as_default = set_as_default
        self._submitter = Submitter(self.session)
        self._callbacks = CallbackThread(f"callbacks of {self.id}")
        self._subscriptions = Subscriptions(self.session, self._callbacks)
        self._subscriptions.connect()
        self._identity: dict[str, Any] | None = None
        self._connection = Connection(
            address,
            scheduler_file,
            loop if isinstance(loop, LoopThread) else None,
            checked_secret(secret),
            timeout_s,
            asynchronous,
            partial(_make_cluster, asynchronous, kwargs if security is None else {**kwargs, "security": security}),
            self.security,
        )
        finalizer = weakref.finalize(self, _abandon, self._connection, self.session, self._callbacks)
        finalizer.atexit = False  # at exit there is _close_all, which waits
        self.extensions = {word: make(self) for word, make in (extensions or {}).items()}
        if not asynchronous:
            self._connection.open(self.session)
            self._opened()
            if self.preloads:
                self._run_preloads(self.preloads.start)

    def _run_preloads(self, step: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run what preloads do, in a thread without a loop of its own: they may use this client, which blocks."""
        import asyncio
        import threading

        running = threading.Thread(target=lambda: asyncio.run(step()), name=f"preloads of {self.id}")
        running.start()
        running.join()

    def _opened(self) -> None:
        _alive.add(self)
        if self._set_as_default:
            current.add_default(self)
            dask_default.update()

    # ---------------------------------------------------------------- life

    async def _start(self) -> Client:
        if self.session.status == "connecting":
            await self._connection.open_async(self.session)
            self._identity = await follow(calls.ask_value(self.session, r.Identity()), self._timeout_s, "Identity")
            self._opened()
            if self.preloads:
                await self.preloads.start()
        return self

    def __await__(self) -> Iterator[Any]:
        return self._start().__await__()

    def __enter__(self) -> Client:
        if self._asynchronous:
            raise TypeError("this client is asynchronous: use 'async with'")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Client:
        return await self._start()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def close(self, timeout: Duration = None) -> Any:
        """Close this client, and the cluster if it is its own; again is harmless.

        Futures that are not done are cancelled. A worker's own client, as tasks get it, goes on until the worker ends.
        """
        if self.shared:
            return DONE if self.asynchronous else None
        if self._process_id != os.getpid():
            return None
        if self.asynchronous:
            return self._close_async()
        timeout_s = options.seconds(timeout)
        if self.preloads and self in _alive:
            self._run_preloads(self.preloads.teardown)
        self._leave()
        self._connection.close(self.session, "the client was closed", timeout_s or 2 * self._timeout_s)
        self._callbacks.stop()
        return None

    async def _close_async(self) -> None:
        if self.preloads and self in _alive:
            await self.preloads.teardown()
        self._leave()
        await self._connection.close_async(self.session, "the client was closed")
        self._callbacks.stop(0)

    def _leave(self) -> None:
        current.drop_default(self)
        dask_default.update()
        _alive.discard(self)

    def shutdown(self) -> Any:
        """Close the whole cluster (scheduler and workers), then this client."""
        if self.asynchronous:
            return self._shutdown_async()
        if self.cluster is not None:
            self.cluster.close()
        else:
            self.run_steps(calls.ask_value(self.session, r.Shutdown()), self._timeout_s, "shutdown")
        self.close()
        return None

    async def _shutdown_async(self) -> None:
        if self.cluster is not None:
            await self.cluster.close()
        else:
            await follow(calls.ask_value(self.session, r.Shutdown()), self._timeout_s, "shutdown")
        await self._close_async()

    def sync(
        self,
        func: Callable[..., Any],
        *args: Any,
        asynchronous: bool | None = None,
        callback_timeout: Duration = None,
        **kw: Any,
    ) -> Any:
        """Run a coroutine function on the loop, and wait for it (or return its coroutine, if asynchronous)."""
        coroutine = func(*args, **kw)
        if self.asynchronous if asynchronous is None else asynchronous:
            return coroutine
        assert self._connection.loop_thread is not None
        return self._connection.loop_thread.run(coroutine, options.seconds(callback_timeout, "callback_timeout"))

    def start(self, **kwargs: Any) -> Any:
        """Connect, where that has not happened yet: an asynchronous client returns an awaitable."""
        return self._start() if self._asynchronous else None

    # ---------------------------------------------------------------- facts

    @property
    def status(self) -> str:
        """One of connecting (not yet, or again after its connection was cut), running, watching, closed.

        It is watching where its token lets it ask what there is, and nothing else.
        """
        return "connecting" if self.session.is_cut and self.session.is_open else self.session.status

    @property
    def loop(self) -> AbstractEventLoop | None:
        """The event loop that serves this client."""
        return self.session.loop

    @property
    def cluster(self) -> Any:
        """The cluster object, own or given; None for an address."""
        return self._connection.cluster

    @property
    def dashboard_link(self) -> str | None:
        """Where to look at the cluster, if it shows itself."""
        if self.cluster is None:
            if self._identity is None and self.session.is_open and not self.asynchronous:
                self._ask_identity(self._timeout_s)
            link = (self._identity or {}).get("dashboard_link")
        else:
            link = getattr(self.cluster, "dashboard_link", None)
        return link if isinstance(link, str) and link else None

    @property
    def futures(self) -> dict[m.Key, str]:
        """Status by key, of all that this client holds."""
        with self.session.lock:
            return {key: entry.status for key, entry in self.session.entries.items()}

    @property
    def refcount(self) -> dict[m.Key, int]:
        """How many futures this client has, by key."""
        with self.session.lock:
            return {key: entry.refs for key, entry in self.session.entries.items()}

    @property
    def generation(self) -> int:
        """How often this client has seen its cluster restarted."""
        return self.session.restarts

    @property
    def callbacks(self) -> CallbackThread:
        """What runs done-callbacks."""
        self._callbacks.start()
        return self._callbacks

    def __repr__(self) -> str:
        return report.describe_identity(self.status, self._known_identity())

    def _repr_html_(self) -> str:
        cluster, identity = self.cluster, self._known_identity()
        how = "its address" if self.scheduler_file is None else f"the scheduler file {self.scheduler_file}"
        more = looks.scheduler(identity, WORKERS_SHOWN) if identity is not None else ""
        if cluster is not None:
            how = f"the cluster object ({type(cluster).__name__})"
            draw = getattr(cluster, "_repr_html_", None)
            more = looks.folded("Cluster", draw()) if callable(draw) else more
        link = self.dashboard_link if identity is not None else None
        return report.as_html(self.id, self.status, how, link, more)

    def _known_identity(self) -> dict[str, Any] | None:
        """Return what the scheduler says of itself, or said last; None where it is of no interest any more."""
        if self.status not in ("running", "watching"):
            return None
        try:
            return self.scheduler_info() if self.asynchronous else self._ask_identity(1.0)
        except (TimeoutError, OSError, RuntimeError):
            return self._identity  # a repr must not raise because the scheduler is slow or gone

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in absent.CLIENT or hasattr(self, name)]

    @classmethod
    def current(cls, allow_global: bool = True) -> Client:
        """Return the client of this context, or the newest default one; ValueError when there is none."""
        return current.current(allow_global)

    def as_current(self) -> AbstractContextManager[None]:
        """Make this the current client within a ``with`` block."""
        return dask_default.as_current(self)


def _check_loop() -> None:
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "asynchronous=True needs a running event loop: write 'await Client(..., asynchronous=True)' in a coroutine"
        ) from None


def _abandon(connection: Connection, session: Session, callbacks: CallbackThread) -> None:
    """Give back what a collected client owned."""
    callbacks.stop(0)
    connection.abandon(session)


def _after_fork() -> None:
    """Leave connections and clusters to the process that this one is a copy of."""
    for client in list(_alive):
        client.session.forked()
    _alive.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@atexit.register
def _close_all() -> None:
    """Close clients that are still open when the interpreter goes, so that no process of theirs stays behind."""
    for client in list(_alive):
        if not client._asynchronous:
            client.close(timeout=5)


class WorkersClient(Client):
    """A worker's client, which all its tasks share; it runs on the worker's loop."""

    shared = True

    def __init__(self, worker: Any, **more: Any) -> None:
        self.home = worker.address
        super().__init__(
            worker.scheduler_address,
            loop=LoopThread.around(worker.loop, worker.thread_id),
            name=f"worker-{worker.name}",
            secret=worker.secret,
            security=worker.security,
            set_as_default=False,
            **more,
        )
