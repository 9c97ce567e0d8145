"""A worker as code on it sees it: plugins, tasks (``get_worker()``), functions of ``Client.run``.

What lives here: `WorkerFacade`, the part of the worker that is there for such code alone, under the names that programs
for Dask use. What this file must never know: connections, and how tasks are run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from windrow import context
from windrow.plugins.held import Held
from windrow.plugins.scratch import Scratch
from windrow.wire import payload
from windrow.worker.facts import threads_of_tasks
from windrow.worker.state import RUNNING, Attempt
from windrow.worker.store import Elsewhere, Packed, Store

if TYPE_CHECKING:
    from windrow.keys import Key
    from windrow.node import Status
    from windrow.worker.core import WorkerCore
    from windrow.worker.executor import Executor
    from windrow.worker.monitor import MemoryMonitor
    from windrow.worker.server import WorkerConfig


class WorkerFacade:
    """What code on a worker may use of it, beside ``name``, ``address``, ``loop``, ``client`` and ``log_event``."""

    address: str
    client: Any
    config: WorkerConfig
    core: WorkerCore
    executor: Executor
    held: Held
    loop: asyncio.AbstractEventLoop
    memory_manager: MemoryMonitor
    scheduler_address: str
    scratch: Scratch
    status: Status
    _background: set[asyncio.Future[Any]]

    @property
    def id(self) -> str:
        """Its id: that of its nanny, or its address."""
        return self.config.nanny or self.address

    @property
    def contact_address(self) -> str:
        """Where others reach it."""
        return self.address

    @property
    def nanny(self) -> str | None:
        """The id of the nanny that started it."""
        return self.config.nanny or None

    @property
    def local_directory(self) -> str:
        """A directory of its own, on the path of modules; made now, and removed when the worker ends."""
        return self.scratch.path

    @property
    def plugins(self) -> dict[str, Any]:
        """Its plugins, by name."""
        return self.held.plugins

    @property
    def data(self) -> Mapping[Key, Any]:
        """The results that it holds, by key; where it was given a mapping for them, that one."""
        keeping = self.memory_manager.keeping
        return Data(self) if keeping is None else keeping.mapping

    def visit(self, change: Callable[[], None]) -> None:
        """Enter the core with news, and carry away what it has to say; on the worker's loop."""
        raise NotImplementedError

    @property
    def state(self) -> WorkerState:
        """What it is doing."""
        return WorkerState(self)

    @property
    def scheduler(self) -> SchedulerProxy:
        """The scheduler, to be asked."""
        return SchedulerProxy(self)

    @property
    def executors(self) -> dict[str, Any]:
        """What runs tasks, by name: ``default``, which is all there is."""
        return {"default": self.executor}

    @property
    def active_keys(self) -> set[Key]:
        """The keys of the tasks that run now."""
        with self.executor.lock:
            return {attempt.key for attempt in self.core.attempts.values() if attempt.state == RUNNING}

    @property
    def active_threads(self) -> dict[int, Key]:
        """The keys of the tasks that run in threads now, by the thread's identifier."""
        return threads_of_tasks(self)

    def keys(self) -> list[Key]:
        """The keys of the results that it holds."""
        return list(self.data)

    def get_current_task(self) -> Key:
        """Return the key of the task that calls this; ValueError outside of tasks."""
        place = context.place()
        if place is None:
            raise ValueError("get_current_task() is for tasks, and this code runs outside of them")
        return place.key

    def forget_functions(self) -> None:
        """Load functions anew before they are called again: a module that they are from has changed."""
        self.executor.forget_functions()

    def background(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine on the worker's loop, on which this is called, and keep it until it has ended."""
        task = self.loop.create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


class Data(Mapping["Key", Any]):
    """The results that a worker holds, by key: those of tasks that ran there, and scattered data.

    Examples
    --------
    >>> client.run(lambda dask_worker: list(dask_worker.data))  # doctest: +SKIP
    {'tcp://127.0.0.1:40001': ['inc-1']}
    """

    def __init__(self, worker: WorkerFacade, place: Literal["", "memory", "disk"] = "") -> None:
        self._worker = worker
        self._place = place

    def _part(self, place: Literal["memory", "disk"]) -> Data:
        if not self._worker.memory_manager.spills:
            raise AttributeError(f"this worker's values do not go to disk, and so its data has no {place!r}")
        return Data(self._worker, place)

    @property
    def memory(self) -> Data:
        """Those of them that are in memory; also under the name ``fast``."""
        return self._part("memory")

    fast = memory

    @property
    def disk(self) -> Data:
        """Those of them that are on disk; also under the name ``slow``."""
        return self._part("disk")

    slow = disk

    def _ids(self) -> dict[Key, int]:
        core = self._worker.core
        with self._worker.executor.lock:
            return {key: id for id, key in core.names.items() if id in core.data and self._is_here(core.data, id)}

    def _is_here(self, data: Store, id: int) -> bool:
        return not self._place or (self._place == "disk") is issubclass(type(data[id]), Elsewhere)

    def __getitem__(self, key: Key) -> Any:
        value = self._worker.core.data[self._ids()[key]]
        if type(value) is Packed:
            return payload.loads(value.blob, copy=True)
        if issubclass(type(value), Elsewhere):
            return value.load()  # type: ignore[attr-defined]
        return value

    def __iter__(self) -> Iterator[Key]:
        return iter(self._ids())

    def __len__(self) -> int:
        return len(self._ids())

    def __repr__(self) -> str:
        return f"<Data of {len(self)} tasks>"


class WorkerState:
    """What a worker is doing.

    Examples
    --------
    >>> client.run(lambda dask_worker: dask_worker.state.nthreads)  # doctest: +SKIP
    {'tcp://127.0.0.1:40001': 2}
    """

    def __init__(self, worker: WorkerFacade) -> None:
        self._worker = worker

    def __repr__(self) -> str:
        return f"<WorkerState {self.address!r} threads: {self.nthreads}, tasks: {len(self.tasks)}>"

    @property
    def address(self) -> str:
        """The worker's address."""
        return self._worker.address

    @property
    def nthreads(self) -> int:
        """Its threads for tasks."""
        return self._worker.config.nthreads

    @property
    def data(self) -> Mapping[Key, Any]:
        """The results that it holds, by key."""
        return self._worker.data

    @property
    def tasks(self) -> dict[Key, TaskState]:
        """The tasks that are to be run here, run, or have their results here, by key."""
        with self._worker.executor.lock:
            attempts = list(self._worker.core.attempts.values())
        held = {key: TaskState(key, "memory") for key in self.data}
        return held | {attempt.key: TaskState(attempt.key, _state_of(attempt)) for attempt in attempts}

    @property
    def total_resources(self) -> dict[str, float]:
        """What it offers beside its threads."""
        return dict(self._worker.config.resources)

    @property
    def executing(self) -> set[TaskState]:
        """Those that run."""
        return {task for task in self.tasks.values() if task.state == "executing"}

    @property
    def ready(self) -> set[TaskState]:
        """Those that wait for a thread."""
        return {task for task in self.tasks.values() if task.state == "ready"}

    @property
    def waiting(self) -> set[TaskState]:
        """Those that wait for inputs."""
        return {task for task in self.tasks.values() if task.state == "waiting"}


class TaskState:
    """A task on a worker: its ``key`` and ``state``, as they were when one looked."""

    __slots__ = ("key", "state")

    def __init__(self, key: Key, state: str) -> None:
        self.key = key
        self.state = state

    def __repr__(self) -> str:
        return f"<TaskState {self.key!r} {self.state}>"


def _state_of(attempt: Attempt) -> str:
    if attempt.seceded:
        return "long-running"
    return "executing" if attempt.state == "running" else attempt.state


class SchedulerProxy:
    """The scheduler as a worker's code reaches it: its ``address``, and what ``client.scheduler`` can be asked."""

    def __init__(self, worker: WorkerFacade) -> None:
        self._worker = worker

    @property
    def address(self) -> str:
        """The scheduler's address."""
        return self._worker.scheduler_address

    addr = address

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        client = self._worker.client
        if client is None:
            raise RuntimeError(
                f"worker.scheduler.{name} goes through the worker's client, which the first get_client() in a task "
                "makes"
            )
        return getattr(client.scheduler, name)

    def __repr__(self) -> str:
        return f"<scheduler at {self.address}>"
