"""Views of the scheduler's tasks, workers and clients, under the names that programs for Dask use.

What lives here: a view of each. What this file must never know: how anything is decided.

Views hold nothing of their own: each attribute is looked up in the core's state when it is asked for, so what is seen
is always now. They are for the scheduler's own thread; they change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from windrow.keys import Key
from windrow.scheduler import placement
from windrow.scheduler.memory_state import MemoryState, memory_of
from windrow.scheduler.plugins import typename
from windrow.scheduler.state import MEMORY, QUEUED, WAITING, ClientRecord, State, Task, WorkerRecord
from windrow.wire.blobs import Blob

if TYPE_CHECKING:
    from windrow.scheduler.facade import SchedulerView

__all__ = ["ClientView", "TaskView", "Tasks", "View", "Views", "WorkerView", "is_stranded"]

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")
V = TypeVar("V", bound="View[Any]")


class View(Generic[R]):
    """A record of the core, to look at; equal to any other view of the same record."""

    __slots__ = ("_record", "_scheduler")

    def __init__(self, record: R, scheduler: SchedulerView) -> None:
        self._record = record
        self._scheduler = scheduler

    def __eq__(self, other: object) -> bool:
        return isinstance(other, View) and other._record is self._record

    def __hash__(self) -> int:
        return id(self._record)


class Views(Mapping[K, V]):
    """A table of the core, whose records are views."""

    def __init__(self, table: Callable[[], Mapping[K, Any]], look: Callable[[Any], V]) -> None:
        self._table = table
        self._look = look

    def __getitem__(self, key: K) -> V:
        return self._look(self._table()[key])

    def __iter__(self) -> Iterator[K]:
        return iter(list(self._table()))

    def __len__(self) -> int:
        return len(self._table())

    def __repr__(self) -> str:
        return f"<{len(self)} of the scheduler: {list(self)[:5]!r}{'…' if len(self) > 5 else ''}>"


def is_stranded(state: State, task: Task) -> bool:
    """Whether a task could run, and none of the present workers may run it."""
    asked = task.restriction
    if task.state is not QUEUED or asked is None:
        return task in state.unrunnable
    present = placement.running(state)
    if asked.allow_other_workers and not asked.resources:
        return not present
    return not any(placement.is_allowed(worker, asked) for worker in present)


class TaskView(View[Task]):
    """A task."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<TaskState {self.key!r} {self.state}>"

    def _tasks(self, tasks: Iterable[Task]) -> set[TaskView]:
        return {TaskView(task, self._scheduler) for task in tasks}

    @property
    def key(self) -> Key:
        """Its key."""
        return self._record.key

    @property
    def state(self) -> str:
        """One of released, waiting, queued, processing, memory, erred, forgotten; no-worker where none may run it."""
        return "no-worker" if is_stranded(self._scheduler.core.state, self._record) else self._record.state

    @property
    def dependencies(self) -> set[TaskView]:
        """The tasks whose results it takes."""
        return self._tasks(self._record.inputs)

    @property
    def dependents(self) -> set[TaskView]:
        """The tasks that take its result."""
        return self._tasks(self._record.dependents or ())

    @property
    def waiting_on(self) -> set[TaskView]:
        """Those of its dependencies that are not in memory, while it waits."""
        task = self._record
        return self._tasks(source for source in task.inputs if source.state is not MEMORY) if task.missing else set()

    @property
    def waiters(self) -> set[TaskView]:
        """Those of its dependents that need it now."""
        return {task for task in self.dependents if task.state in (WAITING, QUEUED, "processing", "no-worker")}

    @property
    def who_wants(self) -> set[ClientView]:
        """The clients that hold futures on it."""
        return {ClientView(client, self._scheduler) for client in self._record.clients}

    @property
    def who_has(self) -> set[WorkerView]:
        """The workers that hold its result. (The scheduler itself holds a copy of a small one.)"""
        return {WorkerView(worker, self._scheduler) for worker in self._record.holders}

    @property
    def processing_on(self) -> WorkerView | None:
        """The worker that it was sent to."""
        worker = self._record.worker
        return None if worker is None else WorkerView(worker, self._scheduler)

    @property
    def priority(self) -> tuple[float, int]:
        """Who goes first: the lower."""
        return -self._record.priority, self._record.id

    @property
    def retries(self) -> int:
        """How often it may be tried again."""
        return self._record.retries

    @property
    def nbytes(self) -> int:
        """The size of its result; -1 while that is not known."""
        return self._record.nbytes if self._record.state is MEMORY else -1

    @property
    def type(self) -> str | None:
        """The name of its result's type, if it shows."""
        return typename(self._record.value, self._record.value_type)

    @property
    def exception(self) -> Blob | None:
        """What it raised, pickled (``windrow.wire.failure.load``)."""
        return None if self._record.failure is None else self._record.failure.error

    @property
    def exception_text(self) -> str:
        """The last line of its traceback."""
        lines = self.traceback_text.strip().splitlines()
        return lines[-1] if lines else ""

    @property
    def traceback_text(self) -> str:
        """Its traceback, formatted."""
        return "" if self._record.failure is None else self._record.failure.text

    @property
    def exception_blame(self) -> TaskView | None:
        """The task that raised, where this has erred."""
        failed = self._record.failure
        root = None if failed is None else self._scheduler.core.state.tasks.get(failed.root)
        return None if root is None else TaskView(root, self._scheduler)

    @property
    def suspicious(self) -> int:
        """How many workers have died while it was running on them."""
        return len(self._record.deaths or ())

    @property
    def worker_restrictions(self) -> set[str] | None:
        """The workers that may run it, by address, name or host."""
        asked = self._record.restriction
        return None if asked is None or asked.workers is None else set(asked.workers)

    @property
    def resource_restrictions(self) -> dict[str, float]:
        """What it takes of a worker's resources."""
        return dict(self._record.restriction.resources) if self._record.restriction is not None else {}

    @property
    def loose_restrictions(self) -> bool:
        """Whether other workers may run it when none of those named is there."""
        return self._record.restriction is not None and self._record.restriction.allow_other_workers

    @property
    def actor(self) -> bool:
        """Whether its result is an actor."""
        return self._record.actor

    @property
    def run_id(self) -> int:
        """The number of its present attempt."""
        return self._record.attempt

    @property
    def prefix(self) -> SimpleNamespace:
        """What tasks of its function have in common: their ``name``, and ``duration_average`` in seconds."""
        function = self._record.function
        name = str(self.key).partition("-")[0] if function is None else function.name
        return SimpleNamespace(name=name, duration_average=self._record.expected_s)

    @property
    def group(self) -> SimpleNamespace:
        """Those that belong together with it, by key: their ``name``, and the `prefix`."""
        key = self.key
        return SimpleNamespace(name=str(key[0] if isinstance(key, tuple) else self.prefix.name), prefix=self.prefix)


class WorkerView(View[WorkerRecord]):
    """A worker."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<WorkerState {self.address!r} name: {self.name} status: {self.status}>"

    @property
    def address(self) -> str:
        """Where other workers reach it."""
        return self._record.address

    @property
    def name(self) -> str | int:
        """Its name."""
        return self._record.name

    @property
    def host(self) -> str:
        """The host that it is on."""
        return self._record.host

    @property
    def status(self) -> str:
        """``"running"``, ``"paused"`` (its memory is short), ``"closing_gracefully"``, ``"lost"`` (it has ended,
        and its nanny's account is awaited), ``"closed"``."""
        return self._record.status

    @property
    def pid(self) -> int:
        """Its process."""
        return self._record.pid

    @property
    def nthreads(self) -> int:
        """Its threads for tasks."""
        return self._record.nthreads

    @property
    def memory_limit(self) -> int:
        """How many bytes it may use; 0: any number."""
        return self._record.memory_limit

    @property
    def local_directory(self) -> str:
        """Its own directory."""
        return self._record.local_directory

    @property
    def nanny(self) -> str | None:
        """Its nanny's id."""
        return self._record.nanny or None

    @property
    def nbytes(self) -> int:
        """The size of the results that it holds."""
        return self._record.stored

    @property
    def has_what(self) -> dict[TaskView, None]:
        """The tasks whose results it holds."""
        return {TaskView(task, self._scheduler): None for task in self._record.holds}

    @property
    def processing(self) -> set[TaskView]:
        """The tasks that it was sent."""
        return {TaskView(task, self._scheduler) for task in self._record.processing}

    @property
    def long_running(self) -> set[TaskView]:
        """Those of them that have left its threads (``secede``)."""
        return {TaskView(task, self._scheduler) for task in self._record.seceded}

    @property
    def occupancy(self) -> float:
        """How long what it was sent is expected to take, in seconds."""
        return self._record.expected_s

    @property
    def resources(self) -> dict[str, float]:
        """What it has of each resource."""
        return dict(self._record.resources)

    @property
    def used_resources(self) -> dict[str, float]:
        """What is taken of each resource."""
        return dict(self._record.used)

    @property
    def metrics(self) -> dict[str, float]:
        """What it has measured, as of its last heartbeat."""
        return dict(self._record.metrics)

    @property
    def memory(self) -> MemoryState:
        """What its memory is taken by, in bytes, as of its last heartbeat."""
        return memory_of(self._record)

    @property
    def extra(self) -> dict[str, Any]:
        """What it told of itself when it joined (``Worker(startup_information=)``)."""
        return dict(self._record.extra)

    @property
    def last_seen(self) -> float:
        """When it was last heard of, in seconds since the epoch."""
        return self._record.last_seen_s + self._scheduler.epoch_s

    def identity(self) -> dict[str, Any]:
        """Return its description, as plain data."""
        described: dict[str, Any] = self._scheduler.identity()["workers"].get(self.address, {})
        return described


class ClientView(View[ClientRecord]):
    """A client."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<Client {self.client_key!r}>"

    @property
    def client_key(self) -> str:
        """Its id."""
        return self._record.id

    @property
    def wants_what(self) -> set[TaskView]:
        """The tasks that it holds futures on."""
        return {TaskView(task, self._scheduler) for task in self._record.wants}


class Tasks(Views[Key, TaskView]):
    """Tasks by key; while hooks are told of moves, those that are forgotten since are still found."""

    def __init__(self, view: SchedulerView) -> None:
        super().__init__(lambda: view.core.state.tasks, lambda task: TaskView(task, view))
        self._view = view

    def __getitem__(self, key: Key) -> TaskView:
        task = self._table().get(key)
        return self._look(self._view.recent[key] if task is None else task)
