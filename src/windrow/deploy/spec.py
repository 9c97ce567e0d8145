"""A cluster by its specification: which scheduler, which workers, of which classes, with which options.

What lives here: `SpecCluster`. What this file must never know: which classes these are, or how one of them starts.

The specification is what is wanted; `SpecCluster.workers` is what is there. What is wanted and not there is started, in
the background; what is there and not wanted any more is retired, so that others take what it holds, and closed.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
import threading
import weakref
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from functools import partial
from math import inf
from typing import Any, ClassVar, Self

from windrow import config, logs, security, tls, transport
from windrow.client.options import Duration
from windrow.client.waiting import DONE
from windrow.deploy import forward, specification
from windrow.deploy.absentees import Absentees
from windrow.deploy.adaptive import Adaptive
from windrow.deploy.cluster import Cluster
from windrow.deploy.policy import bounds
from windrow.deploy.process_interface import ProcessInterface
from windrow.deploy.specification import Spec, names_of, resolve
from windrow.errors import WorkerStartTimeoutError
from windrow.node import Server, Status
from windrow.scheduler.scheduler import Scheduler
from windrow.scheduler.server import SchedulerServer
from windrow.transport import Link
from windrow.wire.requests import Retire

__all__ = ["ProcessInterface", "Spec", "SpecCluster", "resolve"]

logger = logging.getLogger("windrow.deploy")


class SpecCluster(Cluster):
    """A cluster whose parties are made from a specification.

    Parameters
    ----------
    workers
        Those to begin with: ``{name: {"cls": …, "options": {…}}}``. Each ``cls(scheduler_address, name=…, **options)``
        is awaitable, and has an asynchronous ``close()`` and a ``status``. ``cls`` may be a dotted name. With
        ``"group": ["-0", "-1"]`` one is several workers, whose names are its own and these suffixes.
    scheduler
        One such specification; by default a `Scheduler` in this process.
    worker
        What further workers are made from.
    asynchronous, loop, name, scheduler_sync_interval
        See `Cluster`.
    security
        A `Security` for the cluster's own connections to the scheduler; by default what goes with its address. True is
        temporary certificates, for a scheduler of this process too whose specification says nothing of it.
    silence_logs
        Let only such logs (``logging.ERROR``, ``"error"``) reach the terminal while the cluster lives; False: change
        nothing.
    shutdown_on_close
        Whether the end of the program closes it.
    shutdown_scheduler
        Whether its close closes the scheduler too.

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

    _instances: ClassVar[weakref.WeakSet[SpecCluster]] = weakref.WeakSet()

    def __init__(
        self,
        workers: Mapping[Hashable, Spec] | None = None,
        scheduler: Spec | None = None,
        worker: Spec | None = None,
        asynchronous: bool = False,
        loop: Any = None,
        security: Any = None,
        silence_logs: Any = False,
        name: str | None = None,
        shutdown_on_close: bool = True,
        scheduler_sync_interval: Duration = 1,
        shutdown_scheduler: bool = True,
    ) -> None:
        self.security = tls.checked(type(self).__name__, security)
        self.silence_logs = logs.checked_level(silence_logs)
        self.shutdown_on_close = shutdown_on_close
        self.shutdown_scheduler = shutdown_scheduler
        self.scheduler_spec: Spec = dict(scheduler or {"cls": "windrow.Scheduler", "options": {}})
        self.worker_spec: dict[Any, Spec] = dict(workers or {})
        self.new_spec = worker
        self.scheduler: Any = None
        self.workers: dict[Any, Any] = {}
        """What was made of the specification, by name."""
        self._members: dict[Any, list[Any]] = {}
        """Names of the workers that each of them stands for."""
        self._leaving: dict[Any, Any] = {}
        """Those that are wanted no more, while others take what they hold."""
        self._used = set(self.worker_spec)
        """Names that workers have or had; none is given twice."""
        self._numbers = itertools.count()
        self._starting: dict[Any, asyncio.Task[None]] = {}
        self._absentees = Absentees(self._give_up)
        self._unsilence: Callable[[], None] | None = None
        super().__init__(asynchronous, loop, name=name, scheduler_sync_interval=scheduler_sync_interval)
        SpecCluster._instances.add(self)
        self._begin()

    @classmethod
    def from_name(cls, name: str) -> Self:
        """Return the manager of a cluster that runs already; for kinds of clusters that can find it by its name."""
        raise NotImplementedError(f"{cls.__name__} cannot find a cluster by its name; a Client connects by its address")

    # ------------------------------------------------------------ life

    async def _open(self) -> None:
        if self.silence_logs is not None:
            self._unsilence = logs.silence(self.silence_logs)
        cls, options = resolve(self.scheduler_spec["cls"]), dict(self.scheduler_spec.get("options") or {})
        if self.security is not None and isinstance(cls, type) and issubclass(cls, Scheduler):
            options.setdefault("security", self.security)
        self.scheduler = cls(**options)
        if isinstance(self.scheduler, SchedulerServer):
            self.scheduler.on_shutdown = self._asked_to_close
            if self._supports_scaling:
                self.scheduler.on_scale = self._scale
            self.scheduler.on_change = self._on_change
            self.scheduler.tell = forward.stderr.log
        await self.scheduler
        if not self._is_near and hasattr(self.scheduler, "finished"):
            self._in_background(self._until_scheduler_finished())
        self.scheduler_address = getattr(self.scheduler, "external_address", None) or self.scheduler.address
        self.secret = getattr(self.scheduler, "secret", None) or security.secret_for(self.scheduler_address)
        self.security = getattr(self.scheduler, "security", None) or self.security
        self.scheduler_comm = await self._reach_scheduler()
        await self._until_started(self._grow())

    async def _until_scheduler_finished(self) -> None:
        await self.scheduler.finished()
        if self.status in (Status.starting, Status.running):
            logger.warning("cluster %s closes, as its scheduler has ended", self.name)
            if getattr(self.scheduler, "died", False):
                self._failure = f"the scheduler has died: {self._scheduler_epitaph()}"
                self._note(self._failure)
            self._asked_to_close()

    async def _reach_scheduler(self) -> Any:
        return self.scheduler if self._is_near else await super()._reach_scheduler()

    async def _start(self) -> Self:
        ran = self.status is Status.running
        await super()._start()
        if ran:
            await self._correct_state()
        return self

    async def _until_started(self, starting: list[Any]) -> None:
        """Wait until workers have started, and the scheduler has heard of those that nannies or this process run."""
        tasks = [self._starting[name] for name in starting if name in self._starting]
        ours = {name for name in starting if isinstance(self.workers.get(name), Server)}
        timeout_s = config.seconds("distributed.comm.timeouts.connect")
        try:
            async with asyncio.timeout(timeout_s if ours else None) as limit:
                if tasks:
                    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
                    for task in done:
                        task.result()
                if ours:
                    limit.reschedule(asyncio.get_running_loop().time() + timeout_s)
                while not {name for name in ours if name in self.workers} <= self.observed:
                    await self._changed(None)
        except TimeoutError:
            if not limit.expired():  # a worker's own limit
                raise
            there = len(self.observed & ours)
            raise WorkerStartTimeoutError(
                f"{there} of {len(ours)} workers are there after {timeout_s:g} s; their last words, if any, are on "
                "stderr"
            ) from None

    async def _shut(self) -> None:
        for task in self._starting.values():
            task.cancel()
        self._absentees.close()
        self.worker_spec.clear()
        workers = [*self.workers.values(), *self._leaving.values()]
        scheduler = [self.scheduler] if self.scheduler is not None and self.shutdown_scheduler else []
        # Workers that hear from their scheduler that it closes end by themselves, and at once; those elsewhere might
        # speak of its end first.
        for parties in [scheduler, workers] if self._is_near else [workers, scheduler]:
            await asyncio.gather(*map(self._close_party, parties))
        if self._failure:
            for name, worker in self.workers.items():
                self._keep_epitaph(name, worker)
        self.workers.clear()
        if self._unsilence is not None:
            self._unsilence()

    async def _close_party(self, party: Any) -> bool:
        """Close it; whether that went well."""
        try:
            closing = party.close()
            if inspect.isawaitable(closing):
                await closing
        except Exception:
            logger.warning("cluster %s: %r could not be closed", self.name, party, exc_info=True)
            return False
        return True

    def _asked_to_close(self) -> None:
        if self._asynchronous:
            self._in_background(self._close())
        else:
            threading.Thread(target=self.close, name="close", daemon=True).start()

    # ------------------------------------------------------------ facts

    @property
    def _is_near(self) -> bool:
        return isinstance(self.scheduler, SchedulerServer)

    def _present(self) -> dict[str, dict[str, Any]]:
        return dict(self.scheduler.identity()["workers"]) if self._is_near else super()._present()

    async def _look(self) -> None:
        if not self._is_near:
            await super()._look()

    @property
    def scheduler_info(self) -> dict[str, Any]:
        """The scheduler's description of itself and its workers."""
        near = self._is_near and self.status is Status.running
        return dict(self.scheduler.identity()) if near else super().scheduler_info

    async def _scheduler_logs(self) -> list[tuple[str, str]]:
        if self._is_near:
            return logs.recent("scheduler", None, self.scheduler.id)
        return await super()._scheduler_logs()

    def _scheduler_epitaph(self) -> str:
        return str(getattr(self.scheduler, "epitaph", ""))

    async def connect_inproc(self) -> Link:
        """Return a new link to the scheduler (on the loop): within this process where it is there."""
        if self._is_near:
            return await transport.connect(self.scheduler.inproc_address, secret=None)
        return await super().connect_inproc()

    @property
    def plan(self) -> set[Any]:
        """Names of the workers that are wanted."""
        return {name for entry, spec in list(self.worker_spec.items()) for name in names_of(entry, spec)}

    @property
    def requested(self) -> set[Any]:
        """Names of the workers that were started."""
        return {name for entry in list(self.workers) for name in self._members.get(entry, ())}

    @property
    def observed(self) -> set[Any]:
        """Names of the workers that the scheduler knows."""
        if not self._is_near:
            return super().observed
        return {each.name for each in list(self.scheduler.core.state.workers.values()) if each.status != "lost"}

    @property
    def _supports_scaling(self) -> bool:
        return bool(self.new_spec)

    # ------------------------------------------------------------ scaling

    def new_worker_spec(self) -> dict[Any, Spec]:
        """Return a name and the specification for one more worker."""
        if self.new_spec is None:
            raise ValueError("this cluster was made without worker=, so that it knows no kind of worker to add")
        name = next(name for number in self._numbers if (name := self._new_worker_name(number)) not in self._used)
        return {name: self.new_spec}

    def _new_worker_name(self, worker_number: int) -> Any:
        """Return the name of the worker with this number; for subclasses to override."""
        return worker_number

    def _threads_per_worker(self) -> int:
        """Return how many threads a new worker has; ValueError where nothing says so."""
        return specification.threads_of(self.new_spec)

    def _memory_per_worker(self) -> int:
        """Return how much memory a new worker has, in bytes; ValueError where nothing says so."""
        return specification.memory_of(self.new_spec)

    def scale(self, n: int = 0, memory: str | float | None = None, cores: int | None = None) -> Any:
        """Start workers, or close the newest, until there are ``n``.

        Does not wait for new ones to join (`wait_for_workers`). What a worker alone holds is copied to those that stay
        before it is closed, and what it still runs then runs again there. With nobody to take it (``n`` is 0, or an
        actor lives there) it is lost: results are made again by their tasks, futures on scattered data above 16 KiB
        (``windrow.inline-limit``) are cancelled.

        Parameters
        ----------
        n
            How many; entries of the specification, of which one with a ``group`` is several workers.
        memory, cores
            Rather so many that they have that much together ("100 GiB", 64), if that is more.
        """
        wanted = specification.count(n, memory, cores, self.new_spec)
        return self._now(self._plan, wanted)

    def scale_up(self, n: int = 0, memory: str | float | None = None, cores: int | None = None) -> Any:
        """The same as `scale`."""
        return self.scale(n, memory, cores)

    async def _scale(self, n: int) -> None:
        await self._follow(self._plan, n)

    def _now(self, plan: Callable[[Any], None], wanted: Any) -> Any:
        """Change what is wanted, and what is there; on the event loop whether or not the result is awaited."""
        if self.status is Status.created:  # its start brings what is wanted by then
            plan(wanted)
            return DONE
        if not self.called_from_running_loop:
            return self._either(self._follow(plan, wanted))
        self._check_running()
        plan(wanted)
        return self._in_background(self._adjust())

    async def _follow(self, plan: Callable[[Any], None], wanted: Any) -> None:
        self._check_running()
        plan(wanted)
        await self._adjust()

    def _plan(self, n: int) -> None:
        while len(self.worker_spec) < n:
            self.worker_spec.update(self.new_worker_spec())
            self._used.update(self.worker_spec)
        surplus = len(self.worker_spec) - n
        if surplus > 0:
            there = self.observed
            entries = list(reversed(self.worker_spec.items()))
            entries.sort(key=lambda item: not there.isdisjoint(names_of(*item)))  # those that have not come go first
            for name, _ in entries[:surplus]:
                del self.worker_spec[name]

    def scale_down(self, workers: Iterable[Any]) -> Any:
        """Close the workers of these names; what they alone hold is copied to others first."""
        if isinstance(workers, str):
            raise TypeError(f"workers must be a list of names, not the text {workers!r}")
        return self._now(self._unplan, list(workers))

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
        fewest, most = bounds(
            minimum or 0,
            inf if maximum is None else maximum,
            minimum_cores=minimum_cores,
            maximum_cores=maximum_cores,
            minimum_memory=minimum_memory,
            maximum_memory=maximum_memory,
            threads=self._threads_per_worker,
            memory=self._memory_per_worker,
        )
        if minimum_cores is not None or minimum_memory is not None:
            minimum = fewest
        if maximum_cores is not None or maximum_memory is not None:
            maximum = most
        given = {name: value for name, value in (("minimum", minimum), ("maximum", maximum)) if value is not None}
        return super().adapt(Adaptive, **given, **kwargs)

    def _unplan(self, names: list[Any]) -> None:
        for entry in specification.entries_of(names, self.worker_spec):
            del self.worker_spec[entry]

    def _check_running(self) -> None:
        if self.status is not Status.running:
            raise RuntimeError(f"cluster {self.name} is {self.status}: only one that runs can be scaled")

    async def _adjust(self) -> list[Any]:
        """Start what is wanted and not there, close what is there and not wanted; return what was started."""
        self._check_running()
        started = self._grow()
        await self._shrink()
        return started

    async def _correct_state(self) -> None:
        """Bring what is there in line with `worker_spec`, which may have been edited, and wait until it is."""
        await self._until_started(await self._adjust())

    def _grow(self) -> list[Any]:
        """Start what is wanted and not there; return their names."""
        wanted = [name for name in self.worker_spec if name not in self.workers]
        self._used.update(wanted)
        for name in wanted:
            self._starting[name] = task = self._in_background(self._start_worker(name, self._make_worker(name)))
            task.add_done_callback(partial(self._has_started, name))
        return wanted

    def _has_started(self, name: Any, task: asyncio.Task[None]) -> None:
        if self._starting.get(name) is task:
            del self._starting[name]

    def _make_worker(self, name: Any) -> Any:
        spec = self.worker_spec[name]
        told = None if self._is_near else getattr(self.scheduler, "contact_address", None)
        address = told or self.scheduler.address
        worker = resolve(spec["cls"])(address, **{"name": name, **(spec.get("options") or {})})
        self.workers[name] = worker
        self._members[name] = names_of(name, spec)
        if isinstance(worker, Server):
            worker.ended.add_done_callback(lambda ended: self._forget(name, worker))
        elif hasattr(worker, "finished"):
            self._in_background(self._until_finished(name, worker))
        return worker

    async def _until_finished(self, name: Any, worker: Any) -> None:
        await worker.finished()
        ours = self.workers.get(name) is worker
        if ours and (self._failure or getattr(worker, "died", False)):
            self._keep_epitaph(name, worker)
        if ours and not self._failure and getattr(worker, "died", False):
            text = f"worker {name!r} has ended"
            if self._adaptive is None:
                text += ", and no other is started in its place: scale(n) starts one"
            logger.warning("cluster %s: %s", self.name, text)
            self._note(f"{text} ({worker.epitaph})")
        self._forget(name, worker)

    def _keep_epitaph(self, name: Any, worker: Any) -> None:
        words = getattr(worker, "epitaph", "")
        if words:
            self._epitaphs[worker.address or str(name)] = f"worker {name!r} has ended: {words}"

    async def _start_worker(self, name: Any, worker: Any) -> None:
        try:
            await worker
        except Exception as error:
            self._forget(name, worker)
            if self.status is Status.running:
                logger.error("worker %r of cluster %s could not be started: %s", name, self.name, error)
            raise

    def _forget(self, name: Any, worker: Any) -> None:
        """One that is closed, retired or given up does not count any more where others are to be started."""
        if self.workers.get(name) is worker:
            del self.workers[name]
            self.worker_spec.pop(name, None)
            self._drop_traces(name)

    def _drop_traces(self, name: Any) -> None:
        self._members.pop(name, None)
        self._absentees.forget(name)

    async def _shrink(self) -> None:
        """Close what is there and not wanted."""
        surplus = {name: self.workers.pop(name) for name in list(self.workers) if name not in self.worker_spec}
        if not surplus:
            return
        self._leaving.update(surplus)
        members = [member for name in surplus for member in self._members.get(name, ())]
        starting = [task for name in surplus if (task := self._starting.get(name)) is not None]
        try:
            await self._empty(members)  # one whose start is under way may have joined, and hold something
        finally:
            for task in starting:
                task.cancel()
            if starting:
                await asyncio.wait(starting)
            closed = await asyncio.gather(*map(self._close_party, surplus.values()))
            failed = [name for name, well in zip(surplus, closed, strict=True) if not well]
            await self._dismiss({member for name in failed for member in self._members.get(name, ())})
            for name in surplus:
                self._leaving.pop(name, None)
                self._drop_traces(name)

    async def _empty(self, names: Collection[Any]) -> None:
        """Have others hold what these workers alone hold."""
        try:
            await self._retire(names, close=False)
        except ConnectionError as error:
            logger.warning("cluster %s: workers close without others holding what they hold: %s", self.name, error)

    async def _dismiss(self, names: Collection[Any]) -> None:
        """Have the scheduler end workers that their own parties could not close: jobs whose number nobody knows yet."""
        try:
            await self._retire(names, close=True)
        except ConnectionError as error:
            logger.warning("cluster %s: workers %s could not be told to end: %s", self.name, list(names), error)

    async def _retire(self, names: Collection[Any], close: bool) -> None:
        if not names:
            return
        await self._look()
        addresses = [address for address, worker in self._present().items() if worker["name"] in names]
        if addresses:
            await self._ask(Retire(addresses, close=close))

    # ------------------------------------------------------------ those that only the scheduler sees

    def _on_change(self) -> None:
        super()._on_change()
        watched = {name: self._members[name] for name, each in self.workers.items() if not isinstance(each, Server)}
        if watched and self.status in (Status.starting, Status.running):
            self._absentees.look(self.observed, watched)

    def _give_up(self, name: Any) -> None:
        worker = self.workers.get(name)
        if worker is not None:
            logger.warning("cluster %s gives worker %r up: it has left, and not come back", self.name, name)
            self._forget(name, worker)
            self._in_background(self._close_party(worker))
