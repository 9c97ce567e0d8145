"""A cluster by its specification: which scheduler, which workers, of which classes, with which options.

What lives here: `SpecCluster`, and `ProcessInterface` for parties that are processes elsewhere. What this file must
never know: which classes these are, or how one of them starts.

The specification is what is wanted; `SpecCluster.workers` is what is there. What is wanted and not there is started, in
the background; what is there and not wanted any more is retired, so that others take what it holds, and closed.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import logging
from collections.abc import Callable, Coroutine, Generator, Hashable, Iterable, Mapping
from math import inf
from typing import Any, Self

from windrow import config, security, transport
from windrow.deploy.adaptive import Adaptive
from windrow.deploy.cluster import Cluster
from windrow.deploy.policy import bounds
from windrow.errors import WorkerStartTimeoutError
from windrow.node import Server, Status
from windrow.scheduler.server import SchedulerServer
from windrow.transport import Link
from windrow.transport.asker import Asker
from windrow.wire.messages import HelloClient, Retire

logger = logging.getLogger("windrow.deploy")

Spec = dict[str, Any]
"""``{"cls": a class or its dotted name, "options": its keywords}``."""


class ProcessInterface:
    """Base of parties that are processes, jobs or machines elsewhere: a start, an end, an address.

    Parameters
    ----------
    scheduler
        The scheduler's address; None for a scheduler.
    name
        Under which the cluster knows it.
    """

    def __init__(self, scheduler: str | None = None, name: Any = None) -> None:
        self.scheduler = scheduler
        self.name = name
        self.address: str | None = getattr(self, "address", None)
        self.external_address: str | None = None
        self.lock = asyncio.Lock()
        self.status = Status.created
        self._finished = asyncio.Event()

    async def start(self) -> None:
        """Start it."""
        self.status = Status.running

    async def close(self) -> None:
        """End it; again is harmless."""
        self.status = Status.closed
        self._finished.set()

    async def finished(self) -> None:
        """Wait until it has ended."""
        await self._finished.wait()

    async def _started(self) -> Self:
        async with self.lock:
            if self.status is Status.created:
                await self.start()
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self._started().__await__()

    async def __aenter__(self) -> Self:
        return await self._started()

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: status={self.status.name}>"


class SpecCluster(Cluster):
    """A cluster whose parties are made from a specification.

    Parameters
    ----------
    workers
        Those to begin with: ``{name: {"cls": …, "options": {…}}}``. Each ``cls(scheduler_address, name=…, **options)``
        is awaitable, and has an asynchronous ``close()`` and a ``status``.
    scheduler
        One such specification; by default a `Scheduler` in this process.
    worker
        What further workers are made from.
    asynchronous, name
        See `Cluster`.

    Examples
    --------
    >>> from windrow import Scheduler, Worker
    >>> worker = {"cls": Worker, "options": {"nthreads": 1}}
    >>> with SpecCluster({0: worker}, {"cls": Scheduler, "options": {}}, worker) as cluster:
    ...     cluster.scale(2)
    ...     cluster.wait_for_workers(2)
    ...     sorted(cluster.plan)
    [0, 1]
    """

    def __init__(
        self,
        workers: Mapping[Hashable, Spec] | None = None,
        scheduler: Spec | None = None,
        worker: Spec | None = None,
        asynchronous: bool = False,
        name: str | None = None,
    ) -> None:
        self.scheduler_spec: Spec = scheduler or {"cls": "windrow.scheduler.scheduler.Scheduler", "options": {}}
        self.worker_spec: dict[Any, Spec] = dict(workers or {})
        self.new_spec = worker
        self.scheduler: Any = None
        self.scheduler_comm: Any = None
        """Whom to ask: ``await scheduler_comm.ask(request)``."""
        self.workers: dict[Any, Any] = {}
        """What was made of the specification, by name."""
        self._leaving: dict[Any, Any] = {}
        """Those that are wanted no more, while others take what they hold."""
        self._used = set(self.worker_spec)
        """Names that workers have or had; none is given twice."""
        self._numbers = itertools.count()
        self._starting: set[asyncio.Task[None]] = set()
        self._shrinking: asyncio.Lock
        self._events: set[asyncio.Future[None]] = set()
        super().__init__(asynchronous=asynchronous, name=name)

    # ------------------------------------------------------------ life

    async def _open(self) -> None:
        self._shrinking = asyncio.Lock()
        make = resolve(self.scheduler_spec["cls"])
        self.scheduler = make(**self.scheduler_spec.get("options", {}))
        if isinstance(self.scheduler, SchedulerServer):
            self.scheduler.on_shutdown = self._asked_to_close
            self.scheduler.on_change = self._on_change
        await self.scheduler
        self.scheduler_address = getattr(self.scheduler, "external_address", None) or self.scheduler.address
        self.secret = getattr(self.scheduler, "secret", None) or security.secret_for(self.scheduler_address)
        self.scheduler_comm = await self._reach_scheduler()
        await self._until_started(self._grow())

    async def _reach_scheduler(self) -> Any:
        if isinstance(self.scheduler, SchedulerServer):
            return self.scheduler
        link = await transport.connect(self.scheduler_address, secret=self.secret)
        asker = Asker(link)
        asker.say(HelloClient(f"Cluster-{self.name}"))
        return asker

    async def _until_started(self, starting: list[asyncio.Task[None]]) -> None:
        """Wait until the workers have started, and the scheduler has heard of those that are processes of this one."""
        if not starting:
            return
        timeout_s = config.seconds("distributed.comm.timeouts.connect")
        try:
            async with asyncio.timeout(timeout_s) as limit:
                done, _ = await asyncio.wait(starting, return_when=asyncio.FIRST_EXCEPTION)
                for task in done:
                    task.result()
                ours = {name for name, worker in self.workers.items() if isinstance(worker, Server)}
                while not ours <= self.observed:
                    await self._changed(None)
        except TimeoutError:
            if not limit.expired():  # a worker's own limit
                raise
            there = len(self.observed & set(self.workers))
            raise WorkerStartTimeoutError(
                f"{there} of {len(starting)} workers are there after {timeout_s:g} s; their last words, if any, are on "
                "stderr"
            ) from None

    async def _shut(self) -> None:
        for task in list(self._starting):
            task.cancel()
        self.worker_spec.clear()
        parties = [*self.workers.values(), *self._leaving.values()]
        if self.scheduler is not None:
            await self.scheduler.close()
        await asyncio.gather(*(party.close() for party in parties))
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
        return dict(self.scheduler.identity())

    async def connect_inproc(self) -> Link:
        """Return a link to the scheduler, in this process."""
        return await transport.connect(self.scheduler.inproc_address, secret=None)

    @property
    def plan(self) -> set[Any]:
        """Names of the workers that are wanted."""
        return set(self.worker_spec)

    @property
    def requested(self) -> set[Any]:
        """Names of the workers that were started."""
        return set(self.workers)

    @property
    def observed(self) -> set[Any]:
        """Names of the workers that the scheduler knows."""
        return {worker["name"] for worker in self.identity()["workers"].values()}

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

    def new_worker_spec(self) -> dict[Any, Spec]:
        """Return a name and the specification for one more worker."""
        if self.new_spec is None:
            raise ValueError("this cluster was made without worker=, so that it knows no kind of worker to add")
        name = next(name for number in self._numbers if (name := self._new_worker_name(number)) not in self._used)
        self._used.add(name)
        return {name: self.new_spec}

    def _new_worker_name(self, worker_number: int) -> Any:
        """Return the name of the worker with this number; for subclasses to override."""
        return worker_number

    def scale(self, n: int = 0) -> Any:
        """Start workers, or close the newest, until there are ``n``.

        Does not wait for new ones to join (`wait_for_workers`). What a worker alone holds is copied to those that stay
        before it is closed, and what it still runs then runs again there. With nobody to take it (``n`` is 0, or an
        actor lives there) it is lost: results are made again by their tasks, futures on scattered data above 16 KiB
        (``windrow.inline-limit``) are cancelled.
        """
        if not isinstance(n, int) or n < 0:
            raise ValueError(f"n must be a number of workers, not {n!r}")
        return self._either(self._scale(n))

    scale_up = scale

    async def _scale(self, n: int) -> None:
        while len(self.worker_spec) < n:
            self.worker_spec.update(self.new_worker_spec())
        names = list(self.worker_spec)
        absent = [name for name in names if name not in self.workers]
        newest_first = [*reversed(absent), *(name for name in reversed(names) if name in self.workers)]
        for name in newest_first[: len(names) - n]:
            del self.worker_spec[name]
        self._grow()
        await self._shrink()

    def scale_down(self, workers: Iterable[Any]) -> Any:
        """Close the workers of these names; what they alone hold is copied to others first."""
        return self._either(self._scale_down(list(workers)))

    def _either(self, scaling: Coroutine[Any, Any, None]) -> Any:
        """Return an awaitable where the caller is on the event loop, as `Adaptive` is; else wait."""
        on_loop = self.loop_thread is None or self.loop_thread.is_current
        return scaling if on_loop else self._sync(scaling)

    def adapt(
        self,
        Adaptive: Callable[..., Any] = Adaptive,
        minimum: int | None = None,
        maximum: float | None = None,
        minimum_cores: int | None = None,
        maximum_cores: int | None = None,
        minimum_memory: str | float | None = None,
        maximum_memory: str | float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Scale with the load from now on; the limits may be given in workers, cores or memory.

        A second call takes the place of the first; what it does not say stays as it was.

        Parameters
        ----------
        Adaptive
            What does it.
        minimum, minimum_cores, minimum_memory
            The least; what comes to the most workers counts.
        maximum, maximum_cores, maximum_memory
            The most; what comes to the fewest workers counts.
        **kwargs
            Further arguments of ``Adaptive``; see `windrow.Adaptive`.

        Raises
        ------
        ValueError
            The limits contradict each other, or nothing says how many cores or how much memory a worker has.
        """
        if self.new_spec is None:
            raise ValueError("this cluster was made without worker=, so that it knows no kind of worker to add")
        limits = {
            "minimum_cores": minimum_cores,
            "maximum_cores": maximum_cores,
            "minimum_memory": minimum_memory,
            "maximum_memory": maximum_memory,
        }
        if any(limit is not None for limit in limits.values()):
            fewest, most = bounds(
                minimum or 0,
                inf if maximum is None else maximum,
                threads=self._threads_per_worker,
                memory=self._memory_per_worker,
                **limits,  # type: ignore[arg-type]
            )
            if minimum is not None or minimum_cores is not None or minimum_memory is not None:
                minimum = fewest
            if maximum is not None or maximum_cores is not None or maximum_memory is not None:
                maximum = most
        given = {name: value for name, value in (("minimum", minimum), ("maximum", maximum)) if value is not None}
        return super().adapt(Adaptive, **given, **kwargs)

    def _threads_per_worker(self) -> int:
        """Return how many threads a new worker has; ValueError where nothing says so."""
        return int(self._option("threads", ("nthreads", "ncores", "threads", "cores")))

    def _memory_per_worker(self) -> int:
        """Return how much memory a new worker has; ValueError where nothing says so."""
        return config.parse_bytes(self._option("memory", ("memory_limit", "memory")))

    def _option(self, what: str, names: tuple[str, ...]) -> Any:
        options = (self.new_spec or {}).get("options", {})
        for name in names:
            if options.get(name):
                return options[name]
        raise ValueError(f"nothing says how much {what} a worker has: its options have none of {', '.join(names)}")

    async def _scale_down(self, names: list[Any]) -> None:
        for name in names:
            self.worker_spec.pop(name, None)
        await self._shrink()

    def _grow(self) -> list[asyncio.Task[None]]:
        """Start what is wanted and not there."""
        wanted = [name for name in self.worker_spec if name not in self.workers]
        return [self._in_background(self._start_worker(name, self._make_worker(name))) for name in wanted]

    def _in_background(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
        task.add_done_callback(_retrieve)
        return task

    def _make_worker(self, name: Any) -> Any:
        spec = self.worker_spec[name]
        worker = resolve(spec["cls"])(self.scheduler_address, **{"name": name, **spec.get("options", {})})
        self.workers[name] = worker
        if isinstance(worker, Server):
            worker.ended.add_done_callback(lambda ended: self._forget(name, worker))
        return worker

    async def _start_worker(self, name: Any, worker: Any) -> None:
        try:
            await worker
        except Exception as error:
            self._forget(name, worker)
            if self.status == "running":
                logger.error("worker %r of cluster %s could not be started: %s", name, self.name, error)
            raise

    def _forget(self, name: Any, worker: Any) -> None:
        """One that is closed, retired or given up does not count any more where others are to be started."""
        if self.workers.get(name) is worker:
            del self.workers[name]
            self.worker_spec.pop(name, None)

    async def _shrink(self) -> None:
        """Close what is there and not wanted."""
        surplus = {name: self.workers.pop(name) for name in list(self.workers) if name not in self.worker_spec}
        if not surplus:
            return
        self._leaving.update(surplus)
        try:
            await self._empty(surplus)
        finally:
            await asyncio.gather(*(worker.close() for worker in surplus.values()))
            for name in surplus:
                self._leaving.pop(name, None)

    async def _empty(self, surplus: dict[Any, Any]) -> None:
        """Have others hold what these workers alone hold."""
        workers = self.identity()["workers"].items()
        addresses = [address for address, worker in workers if worker["name"] in surplus]
        if addresses:
            await self.scheduler_comm.ask(Retire(addresses, close=False))


def resolve(cls: Any) -> Any:
    """Return a class, or what a dotted name names.

    Examples
    --------
    >>> resolve("windrow.deploy.spec.SpecCluster").__name__
    'SpecCluster'
    """
    if not isinstance(cls, str):
        return cls
    module, _, name = cls.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _retrieve(task: asyncio.Task[None]) -> None:
    """Look at a task's error, which was logged, so that asyncio does not speak of it once more."""
    if not task.cancelled():
        task.exception()
