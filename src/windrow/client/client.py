"""`Client`: the surface that programs use. Each method is a line or two that calls the module that does the work.

What lives here: signatures, defaults, and the life of a client. What this file must never know: how clusters are made
(see `set_cluster_factory`), messages on the wire.

On an asynchronous client, and on the IO loop's own thread, methods return awaitables; elsewhere they block.
"""

from __future__ import annotations

import atexit
import os
import queue
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVar

from windrow.client import absent, calls, current, gather, options, scatter
from windrow.client.callbacks import CallbackThread
from windrow.client.connection import Connection, checked_secret, checked_security, configured_address
from windrow.client.future import Future, futures_of, given_futures
from windrow.client.options import FIFO_TIMEOUT, Duration, Workers
from windrow.client.report import describe_identity
from windrow.client.session import Session
from windrow.client.submit import Submitter
from windrow.client.waiting import DONE, Steps, What, block, entries_of, follow
from windrow.runtime import LoopThread
from windrow.wire import messages as m

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

T = TypeVar("T")

TIMEOUT_S = 30.0

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
class Client:
    """Connects to a cluster, and runs functions on it.

    Parameters
    ----------
    address
        ``"tcp://host:port"``, or a cluster object; None makes a `LocalCluster` that this client owns and closes.
    loop
        A `LoopThread` to share; by default the cluster's, or one of this client's own.
    timeout
        For connecting, and where a method has no other: seconds, or such as ``"30 s"``.
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
    security, heartbeat_interval, serializers, deserializers, extensions, direct_to_workers, connection_limit
        Accepted for the sake of existing programs; ``security`` must be None or False.
    **kwargs
        For the own `LocalCluster`: ``n_workers=4``, ``processes=False``, …

    Examples
    --------
    >>> client = Client(n_workers=2)  # doctest: +SKIP
    >>> client.submit(sum, [1, 2]).result()  # doctest: +SKIP
    3
    >>> client.close()  # doctest: +SKIP
    """

    def __init__(
        self,
        address: Any = None,
        loop: LoopThread | None = None,
        timeout: Duration = TIMEOUT_S,
        set_as_default: bool = True,
        scheduler_file: str | None = None,
        security: object = None,
        asynchronous: bool = False,
        name: str | None = None,
        heartbeat_interval: object = None,
        serializers: object = None,
        deserializers: object = None,
        extensions: object = None,
        direct_to_workers: bool | None = None,
        connection_limit: int = 512,
        *,
        secret: bytes | str | None = None,
        **kwargs: Any,
    ) -> None:
        timeout_s = options.seconds(timeout)
        if timeout_s is None:
            raise ValueError("timeout must be a duration, not None")
        checked_security(security)
        if address is None and scheduler_file is None:
            address = configured_address()
        if kwargs and (address is not None or scheduler_file is not None):
            raise ValueError(f"{', '.join(kwargs)}: these are for a new LocalCluster, but an address is given too")
        if asynchronous:
            _check_loop()
        self.id = f"Client-{name}-{os.urandom(8).hex()}" if name else f"Client-{os.urandom(8).hex()}"
        self.name = name
        self.session = Session(self.id, name or "")
        self._asynchronous = asynchronous
        self._timeout_s = timeout_s
        self._set_as_default = set_as_default
        self._submitter = Submitter(self.session)
        self._callbacks = CallbackThread(f"callbacks of {self.id}")
        self._identity: dict[str, Any] | None = None
        self._connection = Connection(
            address,
            scheduler_file,
            loop if isinstance(loop, LoopThread) else None,
            checked_secret(secret),
            timeout_s,
            asynchronous,
            partial(_make_cluster, asynchronous, kwargs),
        )
        finalizer = weakref.finalize(self, _abandon, self._connection, self.session, self._callbacks)
        finalizer.atexit = False  # at exit there is _close_all, which waits
        if not asynchronous:
            self._connection.open(self.session)
            self._opened()

    def _opened(self) -> None:
        _alive.add(self)
        if self._set_as_default:
            current.add_default(self)

    # ---------------------------------------------------------------- life

    async def _start(self) -> Client:
        if self.session.status == "connecting":
            await self._connection.open_async(self.session)
            self._identity = await follow(calls.ask_value(self.session, m.Identity()), self._timeout_s, "Identity")
            self._opened()
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
        await self._close_async()

    def close(self, timeout: Duration = None) -> Any:
        """Close this client, and the cluster if it is its own; again is harmless.

        Futures that are not done are cancelled.
        """
        if self.asynchronous:
            return self._close_async()
        timeout_s = options.seconds(timeout)
        self._leave()
        self._connection.close(self.session, "the client was closed", timeout_s or 2 * self._timeout_s)
        self._callbacks.stop()
        return None

    async def _close_async(self) -> None:
        self._leave()
        await self._connection.close_async(self.session, "the client was closed")
        self._callbacks.stop(0)

    def _leave(self) -> None:
        current.drop_default(self)
        _alive.discard(self)

    def shutdown(self) -> Any:
        """Close the whole cluster (scheduler and workers), then this client."""
        if self.asynchronous:
            return self._shutdown_async()
        if self.cluster is not None:
            self.cluster.close()
        else:
            self.run_steps(calls.ask_value(self.session, m.Shutdown()), self._timeout_s, "shutdown")
        self.close()
        return None

    async def _shutdown_async(self) -> None:
        if self.cluster is not None:
            await self.cluster.close()
        else:
            await follow(calls.ask_value(self.session, m.Shutdown()), self._timeout_s, "shutdown")
        await self._close_async()

    def run_steps(self, steps: Steps[T], timeout_s: float | None, what: What) -> Any:
        """Run what waits: blocking, or as an awaitable on an asynchronous client."""
        return follow(steps, timeout_s, what) if self.asynchronous else block(steps, timeout_s, what)

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

    # ---------------------------------------------------------------- facts

    @property
    def asynchronous(self) -> bool:
        """Whether methods return awaitables here."""
        return self._asynchronous or get_ident() == self.session.thread_id

    @property
    def status(self) -> str:
        """One of connecting, running, closed."""
        return self.session.status

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
        link = getattr(self.cluster, "dashboard_link", None)
        return link if isinstance(link, str) and link else None

    @property
    def futures(self) -> dict[str, str]:
        """Status by key, of all that this client holds."""
        with self.session.lock:
            return {key: entry.status for key, entry in self.session.entries.items()}

    @property
    def callbacks(self) -> CallbackThread:
        """What runs done-callbacks."""
        self._callbacks.start()
        return self._callbacks

    def __repr__(self) -> str:
        identity = None
        if self.status == "running":
            try:
                identity = self.scheduler_info() if self.asynchronous else self._ask_identity(1.0)
            except (TimeoutError, OSError, RuntimeError):
                identity = self._identity  # a repr must not raise because the scheduler is slow or gone
        return describe_identity(self.status, identity)

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in absent.CLIENT or hasattr(self, name)]

    @classmethod
    def current(cls, allow_global: bool = True) -> Client:
        """Return the client of this context, or the newest default one; ValueError when there is none."""
        return current.current(allow_global)

    def as_current(self) -> AbstractContextManager[None]:
        """Make this the current client within a ``with`` block."""
        return current.as_current(self)

    # ---------------------------------------------------------------- tasks

    def submit(
        self,
        func: Callable[..., Any],
        *args: Any,
        key: str | None = None,
        workers: Workers = None,
        resources: object = None,
        retries: int | None = None,
        priority: float = 0,
        fifo_timeout: Duration = FIFO_TIMEOUT,
        allow_other_workers: bool | None = False,
        actor: bool = False,
        actors: bool = False,
        pure: bool = True,
        **kwargs: Any,
    ) -> Future:
        """Run ``func(*args, **kwargs)`` on a worker; returns at once.

        Parameters
        ----------
        func, *args, **kwargs
            Futures in the arguments, however deep, are replaced by their results.
        key
            The task's name; by default made from function and arguments. A key that is held is not run again.
        workers, allow_other_workers
            Where it may run: addresses, names or hosts; and whether elsewhere if none of those is there.
        retries
            How many times to run it again if it raises.
        priority
            Larger goes first.
        pure
            Whether equal arguments give equal results, so that the same call is done once.
        resources, actor, actors
            Not in this version.
        fifo_timeout
            Accepted for the sake of existing programs, and not used.

        Returns
        -------
        Future

        Raises
        ------
        PickleError
            An argument cannot travel; the message names the part of it that cannot.
        ClosedClientError
            This client is closed.
        """
        wanted = options.checked(
            priority, retries, workers, allow_other_workers, resources, actor or actors, pure, fifo_timeout
        )
        return Future(self, self._submitter.submit(func, args, kwargs, key, pure, wanted))

    def map(
        self,
        func: Callable[..., Any],
        *iterables: Any,
        key: str | Collection[str] | None = None,
        workers: Workers = None,
        retries: int | None = None,
        resources: object = None,
        priority: float = 0,
        allow_other_workers: bool | None = False,
        fifo_timeout: Duration = FIFO_TIMEOUT,
        actor: bool = False,
        actors: bool = False,
        pure: bool = True,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[Future]:
        """Run ``func`` for each row of arguments, as the builtin ``map`` does; returns the futures at once.

        Parameters
        ----------
        func, *iterables
            At least one of the iterables has a length; the shortest ends it.
        key
            A prefix for the tasks' names, or a list of names, one for each.
        batch_size
            At most so many tasks a message.
        workers, retries, resources, priority, allow_other_workers, fifo_timeout, actor, actors, pure
            As for `submit`.
        **kwargs
            Given to each call.
        """
        wanted = options.checked(
            priority, retries, workers, allow_other_workers, resources, actor or actors, pure, fifo_timeout
        )
        return self._submitter.map(partial(Future, self), func, iterables, kwargs, key, pure, batch_size, wanted)

    def gather(
        self, futures: Any, errors: str = "raise", direct: bool | None = None, asynchronous: bool | None = None
    ) -> Any:
        """Wait for futures and return their results, in the same lists, tuples, sets and dicts.

        Parameters
        ----------
        futures
            A future, or a structure of them. An iterator gives an iterator.
        errors
            ``"raise"`` what the first bad one raised, without waiting for the others; or ``"skip"``: bad ones are
            left out of a list, and are None elsewhere.
        direct, asynchronous
            Accepted for the sake of existing programs, and not used.
        """
        if errors not in ("raise", "skip"):
            raise ValueError(f"errors must be 'raise' or 'skip', not {errors!r}")
        if isinstance(futures, queue.Queue):
            raise TypeError("gather takes futures, not a Queue: empty it into a list")
        skip = errors == "skip"
        if isinstance(futures, Iterator):
            return gather.one_by_one(self.session, futures, skip)
        return self.run_steps(gather.structure(self.session, futures, skip), None, "gather")

    def scatter(
        self,
        data: Any,
        workers: Workers = None,
        broadcast: bool | int = False,
        direct: bool | None = None,
        hash: bool = True,
        timeout: Duration = None,
        asynchronous: bool | None = None,
    ) -> Any:
        """Put values on workers; lists, tuples, sets and dicts of values give the same of futures.

        Parameters
        ----------
        data
            A dict's keys become the names of its values on the cluster.
        workers
            Where to put them: addresses, names or hosts.
        broadcast
            True for a copy on each worker, or a number of copies.
        hash
            Name equal values the same, and send them once.
        timeout
            For it to be placed; by default the client's.
        """
        names = None if workers is None else options.worker_names(workers)
        copies = scatter.checked_copies(broadcast)
        wrap, unique = partial(Future, self), self._submitter.unique
        steps = scatter.scatter(self.session, wrap, unique, data, names, copies, hash)
        limit_s = options.seconds(timeout)
        return self.run_steps(steps, self._timeout_s if limit_s is None else limit_s, "scatter")

    def cancel(
        self,
        futures: Any,
        asynchronous: bool | None = None,
        force: bool = False,
        reason: str | None = None,
        msg: str | None = None,
    ) -> Any:
        """Cancel tasks: what has not started is dropped, what runs is let run and its result dropped.

        With ``force`` also if other clients want the results.
        """
        entries = entries_of(self.session, given_futures(futures, "futures"))
        words = " ".join(filter(None, (reason or "it was cancelled by its client", msg)))
        self.session.cancel(entries, force, words)
        return DONE if self.asynchronous else None

    def retry(self, futures: Any, asynchronous: bool | None = None) -> Any:
        """Run tasks that raised once more, from the root of their error on."""
        self.session.retry(entries_of(self.session, given_futures(futures, "futures")))
        return DONE if self.asynchronous else None

    def futures_of(self, futures: Any) -> list[Future]:
        """Find the futures in lists, tuples, sets and dicts; raises for cancelled ones."""
        found = futures_of(futures, client=self)
        for future in found:
            if future.cancelled() and (error := gather.error_of(future.entry)) is not None:
                raise error
        return found

    # ---------------------------------------------------------------- the cluster

    def _ask(self, steps: Steps[Any], what: str) -> Any:
        return self.run_steps(steps, self._timeout_s, what)

    def _ask_identity(self, timeout_s: float) -> dict[str, Any]:
        identity: dict[str, Any] = block(calls.ask_value(self.session, m.Identity()), timeout_s, "scheduler_info")
        self._identity = identity
        return identity

    def scheduler_info(self, n_workers: int = -1, **kwargs: Any) -> dict[str, Any]:
        """Describe the scheduler and its workers (the first ``n_workers``; -1: all).

        An asynchronous client returns what it learnt last, and asks anew in the background.
        """
        if self.asynchronous:
            question = self.session.ask(m.Identity())
            question.attach(lambda: self._learn(question.reply))
            identity = self._identity or {"type": "Scheduler", "workers": {}}
        else:
            identity = self._ask_identity(self._timeout_s)
        if n_workers >= 0:
            identity = {**identity, "workers": dict(list(identity["workers"].items())[:n_workers])}
        return identity

    def _learn(self, reply: m.Reply | None) -> None:
        if reply is not None and reply.error is None:
            self._identity = reply.value

    def nthreads(self, workers: Workers = None) -> Any:
        """Threads by worker address."""
        names = None if workers is None else options.worker_names(workers)
        return self._ask(calls.nthreads(self.session, names), "nthreads")

    ncores = nthreads

    def who_has(self, futures: Any = None, **kwargs: Any) -> Any:
        """Addresses of the workers that hold each key; all keys when none are given."""
        keys = None if futures is None else [future.key for future in given_futures(futures, "futures")]
        return self._ask(calls.ask_value(self.session, m.WhoHas(keys)), "who_has")

    def has_what(self, workers: Workers = None, **kwargs: Any) -> Any:
        """Keys that each worker holds."""
        names = None if workers is None else options.worker_names(workers)
        return self._ask(calls.ask_value(self.session, m.HasWhat(names)), "has_what")

    def processing(self, workers: Workers = None) -> Any:
        """Keys of the tasks assigned to each worker and not done."""
        names = None if workers is None else options.worker_names(workers)
        return self._ask(calls.ask_value(self.session, m.Processing(names)), "processing")

    def wait_for_workers(self, n_workers: int, timeout: Duration = None) -> Any:
        """Wait until so many workers run; WorkerStartTimeoutError when the time is over."""
        if isinstance(n_workers, bool) or not isinstance(n_workers, int) or n_workers < 1:
            raise ValueError(f"n_workers must be a whole number above 0, not {n_workers!r}")
        steps = calls.wait_for_workers(self.session, n_workers)
        return self.run_steps(steps, options.seconds(timeout), f"{n_workers} workers")

    def run(
        self,
        function: Callable[..., Any],
        *args: Any,
        workers: Workers = None,
        wait: bool = True,
        nanny: bool = False,
        on_error: str = "raise",
        **kwargs: Any,
    ) -> Any:
        """Run a function on workers, outside the task system; {address: result}.

        With ``wait=False`` it is only started, and None returned; what it raises is not heard of. A parameter named
        ``dask_worker`` receives the worker. ``on_error``: ``"raise"``, ``"return"`` (exceptions as results) or
        ``"ignore"`` (leave them out).
        """
        on_error = calls.checked_on_error(on_error, nanny)
        names = None if workers is None else options.worker_names(workers)
        call = calls.call_blob(function, args, kwargs)
        return self.run_steps(calls.run(self.session, call, names, wait, nanny, on_error), None, "run")

    def run_on_scheduler(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a function in the scheduler's process; a parameter named ``dask_scheduler`` receives the scheduler."""
        call = calls.call_blob(function, args, kwargs)
        return self.run_steps(calls.run_on_scheduler(self.session, call), None, "run_on_scheduler")

    def restart(self, timeout: Duration = None, wait_for_workers: bool = True) -> Any:
        """Forget all tasks of all clients, and start all workers afresh; TimeoutError unless they are back in time."""
        limit_s = options.seconds(timeout)
        steps = calls.restart(self.session, wait_for_workers)
        return self.run_steps(steps, 4 * self._timeout_s if limit_s is None else limit_s, "restart")

    def retire_workers(self, workers: Workers = None, close_workers: bool = True, **kwargs: Any) -> Any:
        """Close workers; {address: what was known of it}.

        What only they hold is made again elsewhere; scattered values above the inline limit are lost with them.
        """
        if workers is None:
            raise NotImplementedError(f"retire_workers without workers= {options.ABSENT}; name the workers to retire")
        return self.run_steps(calls.retire(self.session, options.worker_names(workers)), None, "retire_workers")


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


@atexit.register
def _close_all() -> None:
    """Close clients that are still open when the interpreter goes, so that no process of theirs stays behind."""
    for client in list(_alive):
        if not client._asynchronous:
            client.close(timeout=5)
