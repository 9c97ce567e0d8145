"""The scheduler as code in its process sees it: plugins, and functions of ``Client.run_on_scheduler``.

What lives here: `SchedulerView`, under the names that programs for Dask use. What this file must never know: how
anything is decided; what a task, worker or client looks like (`views`).

It holds nothing of its own, as the views that it gives: what is seen is always now, and for the scheduler's own thread.
"""

from __future__ import annotations

import time
from collections import ChainMap
from collections.abc import Callable, Hashable, Iterable, Mapping, MutableMapping
from math import isfinite
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from windrow import config
from windrow.addressing import split_address, split_host_port
from windrow.keys import Key
from windrow.plugins.base import Kind, name_of
from windrow.plugins.held import outcomes
from windrow.primitives import plain
from windrow.primitives.topics import names_of
from windrow.scheduler import groups, scaling
from windrow.scheduler.asking import Asking
from windrow.scheduler.memory_state import MemoryState, total
from windrow.scheduler.state import ERRED, QUEUED, ClientRecord, Keeper, Task
from windrow.scheduler.views import ClientView, Tasks, TaskView, Views, WorkerView, is_stranded
from windrow.schemes import has_ports
from windrow.wire import messages as m
from windrow.wire import payload
from windrow.wire import requests as r
from windrow.wire.blobs import Blob

if TYPE_CHECKING:
    import asyncio

    from windrow.scheduler.core import SchedulerCore
    from windrow.scheduler.server import SchedulerServer

_LOG = (
    "no log of transitions is kept; client.explain(key) says what befell a task, and SchedulerPlugin.transition is "
    "told of each"
)
_ABSENT = {"story": _LOG, "transition_log": _LOG}


class SchedulerView(Asking):
    """The scheduler, to look at, and to ask of what the core answers.

    Attributes
    ----------
    workers, tasks, clients : Mapping
        Views by address, key and id.
    extensions : MutableMapping
        The scheduler's services by name, and what programs put there.
    handlers : dict
        Functions by name, which programs put there: ``client.scheduler.NAME(...)`` calls them, in this process.
    core : SchedulerCore
        What is looked at. It is windrow's own, and may change from version to version.

    Examples
    --------
    >>> client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))  # doctest: +SKIP
    3
    """

    def __init__(self, server: SchedulerServer) -> None:
        self._server = server
        self._reader = ClientRecord(f"code in {server.id}", "")
        state = server.core.state
        self.workers: Views[str, WorkerView] = Views(lambda: state.workers, lambda worker: WorkerView(worker, self))
        self.tasks: Views[Key, TaskView] = Tasks(self)
        self.clients: Views[str, ClientView] = Views(self._real_clients, lambda client: ClientView(client, self))
        self.extensions: MutableMapping[str, Any] = ChainMap({}, server.core.desk.services)
        self.handlers: dict[str, Callable[..., Any]] = {}

    def __repr__(self) -> str:
        counts = f"workers: {len(self.workers)}, cores: {self.total_nthreads}, tasks: {len(self.tasks)}"
        return f"<Scheduler {self.address!r}, {counts}>"

    def __getattr__(self, name: str) -> Any:
        advice = _ABSENT.get(name)
        raise AttributeError(f"the scheduler has no {name!r}{f': {advice}' if advice else ''}", name=name, obj=self)

    def _real_clients(self) -> dict[str, ClientRecord]:
        everybody = self.core.state.clients
        return {id: client for id, client in everybody.items() if not isinstance(client, Keeper)}

    # ------------------------------------------------------------ who it is

    @property
    def core(self) -> SchedulerCore:
        """What decides."""
        return self._server.core

    @property
    def id(self) -> str:
        """Its id."""
        return self._server.id

    @property
    def address(self) -> str:
        """Where others reach it."""
        return self._server.address

    @property
    def ip(self) -> str:
        """The host of its address; loopback for one within a process."""
        return self._place[0]

    @property
    def port(self) -> int:
        """The port of its address; 0 for one within a process."""
        return self._place[1]

    @property
    def _place(self) -> tuple[str, int]:
        scheme, location = split_address(self.address)
        return split_host_port(location) if has_ports(scheme) else ("127.0.0.1", 0)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Its event loop."""
        return self._server.loop

    @property
    def status(self) -> str:
        """``"running"`` or ``"closed"``."""
        return self._server.status

    @property
    def local_directory(self) -> str:
        """A directory of its own, on the path of modules; made now, and removed when it closes."""
        return self._server.scratch.path

    @property
    def epoch_s(self) -> float:
        """What to add to the core's times for seconds since the epoch."""
        return time.time() - self.loop.time()

    def identity(self, n_workers: int = -1) -> dict[str, Any]:
        """Return the description of itself and its workers (the first ``n_workers``; -1: all), as plain data."""
        described = self._server.identity()
        if n_workers >= 0:
            described["workers"] = dict(list(described["workers"].items())[:n_workers])
        return described

    # ------------------------------------------------------------ what it knows

    @property
    def aliases(self) -> dict[str | int, str]:
        """Addresses of workers by name."""
        return {worker.name: worker.address for worker in self.workers.values()}

    @property
    def running(self) -> set[WorkerView]:
        """The workers that take tasks."""
        return {worker for worker in self.workers.values() if worker.status == "running"}

    @property
    def idle(self) -> dict[str, WorkerView]:
        """The workers with a free thread, by address."""
        return {worker.address: WorkerView(worker, self) for worker in self.core.state.idle}

    @property
    def queued(self) -> list[TaskView]:
        """The tasks that could run, and wait for a thread."""
        return [task for task in self.tasks.values() if task.state == QUEUED]

    @property
    def unrunnable(self) -> dict[TaskView, None]:
        """The tasks that could run, and none of the workers may run them."""
        state = self.core.state
        return {TaskView(task, self): None for task in state.tasks.values() if is_stranded(state, task)}

    @property
    def erred_tasks(self) -> set[TaskView]:
        """The tasks that have erred."""
        return {task for task in self.tasks.values() if task.state == ERRED}

    @property
    def saturated(self) -> set[WorkerView]:
        """The workers that were sent as much as their threads and their way ahead take."""
        state = self.core.state
        return {
            worker for worker in self.running if worker._record not in state.idle and worker._record not in state.open
        }

    @property
    def idle_task_count(self) -> set[WorkerView]:
        """The workers with fewer tasks than threads."""
        return {worker for worker in self.running if len(worker.processing) < worker.nthreads}

    @property
    def host_info(self) -> dict[str, dict[str, Any]]:
        """What is on each host: ``addresses`` of its workers, and their ``nthreads``."""
        found: dict[str, dict[str, Any]] = {}
        for worker in self.workers.values():
            host = found.setdefault(worker.host, {"addresses": set(), "nthreads": 0, "last-seen": 0.0})
            host["addresses"].add(worker.address)
            host["nthreads"] += worker.nthreads
            host["last-seen"] = max(host["last-seen"], worker.last_seen)
        return found

    @property
    def resources(self) -> dict[str, dict[str, float]]:
        """How much the workers have of each resource: by its name, and their address."""
        found: dict[str, dict[str, float]] = {}
        for worker in self.workers.values():
            for name, quantity in worker.resources.items():
                found.setdefault(name, {})[worker.address] = quantity
        return found

    @property
    def task_groups(self) -> dict[str, groups.TaskGroupView]:
        """Tasks that belong together by key, by name of the group; counted now."""
        return groups.groups_of(self.core.state.tasks.values())

    @property
    def task_prefixes(self) -> dict[str, groups.TaskPrefixView]:
        """Tasks that are alike by key up to a hash, by prefix; counted now."""
        return groups.prefixes_of(self.core.state.tasks.values())

    @property
    def bandwidth(self) -> float:
        """Bytes a second that are assumed between workers."""
        return self.core.state.config.bandwidth

    @property
    def no_workers_timeout(self) -> float | None:
        """Seconds after which tasks err that no worker can run; None: they wait, and ``unrunnable`` has most."""
        limit_s = self.core.state.config.no_workers_timeout_s
        return limit_s if isfinite(limit_s) else None

    @property
    def total_nthreads(self) -> int:
        """All workers' threads."""
        return sum(worker.nthreads for worker in self.workers.values())

    @property
    def total_memory(self) -> int:
        """What all workers may use, in bytes."""
        return sum(worker.memory_limit for worker in self.workers.values())

    @property
    def memory(self) -> MemoryState:
        """What all workers' memory is taken by, in bytes."""
        return total([worker.memory for worker in self.workers.values()])

    @property
    def total_occupancy(self) -> float:
        """What all workers are expected to take for what they were sent, in seconds."""
        return sum(worker.occupancy for worker in self.workers.values())

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be run."""
        return scaling.is_idle(self.core.state)

    @property
    def idle_since(self) -> float | None:
        """Since when nothing was done, in seconds since the epoch; None while something is to be done."""
        since_s = self.core.idle_since_s
        return None if since_s is None else since_s + self.epoch_s

    def check_idle(self) -> float | None:
        """Return `idle_since`."""
        return self.idle_since

    # ------------------------------------------------------------ plugins

    @property
    def plugins(self) -> Mapping[str, Any]:
        """The plugins of the scheduler, by name."""
        return dict(self._server.plugins.plugins)

    @property
    def worker_plugins(self) -> Mapping[str, Blob]:
        """The plugins of workers, pickled, by name."""
        return dict(self.core.state.plugins["worker"])

    @property
    def nanny_plugins(self) -> Mapping[str, Blob]:
        """The plugins of nannies, pickled, by name."""
        return dict(self.core.state.plugins["nanny"])

    def add_plugin(self, plugin: Any, *, idempotent: bool = False, name: str | None = None, **kwargs: Any) -> None:
        """Have a plugin told of what happens from now on; its ``start`` is the caller's to call."""
        self._server.plugins.add(plugin, name, idempotent)

    def remove_plugin(self, name: str) -> None:
        """Have a plugin told of nothing any more; ValueError if there is none of that name."""
        self._server.plugins.remove(name)

    async def register_worker_plugin(
        self, comm: object = None, plugin: Any = None, name: str | None = None, idempotent: bool = False
    ) -> dict[str, Any]:
        """Have all workers set a plugin up, present and to come; as ``Client.register_plugin``."""
        return await self._register("worker", plugin, name, idempotent)

    async def register_nanny_plugin(
        self, comm: object = None, plugin: Any = None, name: str | None = None, idempotent: bool = False
    ) -> dict[str, Any]:
        """Have all nannies set a plugin up, present and to come; as ``Client.register_plugin``."""
        return await self._register("nanny", plugin, name, idempotent)

    async def _register(self, kind: Kind, plugin: Any, name: str | None, idempotent: bool) -> dict[str, Any]:
        name = name_of(plugin) if name is None else name
        blob = plugin if type(plugin) is bytes else payload.dumps(plugin, f"The plugin {name!r}")
        reply = await self._server.ask(r.RegisterPlugin(kind, name, blob, idempotent))
        done, error = outcomes(reply)
        if error is not None:
            await self._server.ask(r.UnregisterPlugin(kind, name))
            raise error
        return done

    @property
    def recent(self) -> Mapping[Key, Task]:
        """Tasks that hooks are being told of, which may be forgotten since."""
        return self._server.plugins.recent

    # ------------------------------------------------------------ events, and what is asked of workers

    def log_event(self, topic: str | Iterable[str], msg: Any) -> None:
        """Log an event; ``msg`` is plain data."""
        topics = names_of(topic if isinstance(topic, str) else list(topic))
        self._server.say(m.Log(topics, time.time(), plain.checked(msg)))

    def get_events(self, topic: str | None = None) -> Any:
        """Return what was logged: a tuple of (time, event), or one for each topic."""
        events: dict[str, Any] = getattr(self.core.desk.services.get("events"), "events", {})
        if topic is not None:
            return tuple(events.get(topic, ()))
        return {name: tuple(past) for name, past in events.items()}

    # ------------------------------------------------------------ how many workers, and which

    def adaptive_target(self, target_duration: str | float | None = None) -> int:
        """Return how many workers would do the work at hand in about this time.

        Parameters
        ----------
        target_duration
            Seconds, or a time such as ``"5s"``; by default ``distributed.adaptive.target-duration``.
        """
        key = "distributed.adaptive.target-duration"
        duration_s = config.seconds(key) if target_duration is None else config.parse_timedelta(target_duration)
        if not duration_s > 0:
            raise ValueError(f"target_duration must be a time above 0, not {target_duration!r}")
        return scaling.adaptive_target(self.core.state, duration_s)

    def workers_to_close(
        self,
        memory_ratio: float | None = None,
        n: int | None = None,
        key: Callable[[WorkerView], Hashable] | str | None = None,
        minimum: int | None = None,
        target: int | None = None,
        attribute: str = "address",
    ) -> list[Any]:
        """Return the workers that can be missed: idle, those with the least data first, and let go by plugins.

        Parameters
        ----------
        memory_ratio
            How many times what is stored the memory of those that stay must be; 2 by default. Of no effect with ``n``
            or ``target``.
        n, target
            So many, or until so many are left; then some that work may be among them, after the idle ones.
        key
            A function of a worker, or an attribute of one such as ``"host"``: those of the same result go together.
        minimum
            How many stay.
        attribute
            What is returned of each.
        """
        group = attrgetter(key) if isinstance(key, str) else key
        chosen = scaling.missable(
            self.core.state,
            memory_ratio=memory_ratio,
            n=n,
            key=None if group is None else lambda worker: group(WorkerView(worker, self)),
            minimum=minimum,
            target=target,
        )
        return [getattr(WorkerView(worker, self), attribute) for worker in chosen]
