"""What the scheduler knows: records of tasks, functions, workers, clients and nannies, and the tables that hold them.

What lives here: data and the smallest operations that keep two sides of one fact equal. What this file must never
know: when a task changes its state (transitions), where it runs (placement, balance), what a message says (core),
and any socket, clock, thread or random number.

Ordered dictionaries with None as values stand where sets would: their order is the same in every run, which makes
a seed of the virtual cluster replay.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

from msgspec import Struct

from windrow.account import Account
from windrow.runqueue import RunQueue
from windrow.scheduler.notes import Notes
from windrow.scheduler.tally import Tally, Totals, add_up
from windrow.wire.blobs import Blob, Shared
from windrow.wire.messages import Finished, FreeFunctions, Key, TaskId

RELEASED: Final = "released"  # known, not in memory, and nobody needs it now
WAITING: Final = "waiting"  # needed, and some input is not in memory
QUEUED: Final = "queued"  # could run; waits for a place
PROCESSING: Final = "processing"  # an attempt is on a worker
MEMORY: Final = "memory"  # its value is on the scheduler (small) or on workers
ERRED: Final = "erred"  # it, or what it depends on, raised
FORGOTTEN: Final = "forgotten"  # in no table any more

STATES: Final = (RELEASED, WAITING, QUEUED, PROCESSING, MEMORY, ERRED, FORGOTTEN)

UNKNOWN_S: Final = 0.5
"""Expected duration of a function that has not finished once, unless it is configured."""

OVERHEAD_S: Final = 8e-6
"""What a worker spends on a task beside running it; floor of every expectation."""

M = TypeVar("M")

Parties: TypeAlias = Literal["client", "worker"]
"""Whose coming and going is news."""


class Unexpected(Exception):
    """A peer said what it may not say; its connection is to be closed with this reason."""


class SchedulerConfig(Struct, frozen=True):
    """The knobs of the core, each read once from the configuration by the shell."""

    allowed_failures: int = 3
    pipeline_s: float = 0.01
    """How much expected time of work a worker's thread is sent ahead: enough to hide a round trip."""
    inline_limit: int = 16 * 1024
    account_timeout_s: float = 1.0
    """How long a dead worker waits for its nanny's account before its tasks move on without it."""
    worker_ttl_s: float = 300.0
    lease_timeout_s: float = 30.0
    """How long a lease of a semaphore or lock lives without a sign of its holder; may be infinite."""
    stall_s: float = 0.05
    """A worker without news for so long gives back what it has not started, when others idle."""
    bandwidth: float = 1e9
    """Bytes a second assumed between workers, for placement."""
    unknown_s: float = UNKNOWN_S
    """Expected duration of a function that has not finished once."""
    silence_s: float = 5.0
    """Copies to and from a worker without a sign of life for so long are not waited for."""
    guards_memory: bool = True
    """Whether a task is refused whose inputs fit into no worker's memory."""
    impossible_s: float = 3.0
    """How long no worker may be able to run a task before its client is warned; infinite: never."""
    no_workers_timeout_s: float = inf
    """How long before it errs."""
    standstill_s: float = 30.0
    """How long nothing may move, while workers idle that could run what waits, before it is logged."""
    manages_memory: bool = False
    """Whether the memory manager runs from the start."""
    manage_memory_every_s: float = 2.0
    events_kept: int = 1000
    """How many events of a topic are kept."""
    rows_kept: int = 100_000
    """How many rows of the task stream are kept (``scheduler.recording``)."""
    output_bytes: int = 32 * 2**20
    """How much of what tasks have printed and logged is kept altogether,"""
    task_output_bytes: int = 64 * 2**10
    """and of one task."""
    output_s: float = 600.0
    """How long after its last line that of a task is kept which there is no more."""
    sent: Callable[[Shared, str], Blob] = lambda blob, memory: blob
    """What goes over the wire of shared arguments, to who shows this of its host's memory ("": to another host)."""


class Failure(Struct, eq=False):
    """Why tasks erred: one record, shared by the root of the error and all its dependents."""

    root: Key
    error: Blob
    text: str


class FunctionRecord(Totals, eq=False):
    """A function under the number that workers know it by, and what its tasks have cost so far."""

    id: int
    digest: bytes
    name: str
    code: Blob
    queued: int = 0
    """How many of its tasks are queued, without those that ask for workers or resources."""
    declared: int = 0
    expected_s: float = UNKNOWN_S

    @property
    def tasks(self) -> int:
        """How many of its tasks there are."""
        return self.made - self.forgotten

    def learn(self, seconds: float) -> None:
        """Take one measured duration into the expectation (the first one is believed, later ones weigh a tenth)."""
        self.seconds += seconds
        seconds += OVERHEAD_S
        if self.count:
            self.expected_s += (seconds - self.expected_s) * 0.1
        else:
            self.expected_s = seconds
        self.count += 1


class Restriction(Struct, frozen=True):
    """Where a task may run: addresses, names or hosts (None: anywhere); and what it takes of a worker's resources."""

    workers: tuple[str, ...] | None
    allow_other_workers: bool = False
    resources: tuple[tuple[str, float], ...] = ()


class Task(Struct, eq=False, gc=False):
    """One task. Untracked by the garbage collector (there may be millions): `State.forget` unties its references."""

    id: TaskId
    key: Key
    function: FunctionRecord | None
    args: Blob
    priority: float = 0.0
    retries: int = 0
    restriction: Restriction | None = None
    state: str = RELEASED
    inputs: list[Task] | tuple[Task, ...] = ()
    dependents: dict[Task, None] | None = None
    missing: int = 0
    """How many inputs are not in memory (kept while waiting or processing)."""
    waiters: int = 0
    """How many dependents are waiting, queued or processing, and so need the value."""
    clients: tuple[ClientRecord, ...] = ()
    worker: WorkerRecord | None = None
    attempt: int = 0
    cost_s: float = 0.0
    """What this attempt added to its worker's expectation."""
    holders: tuple[WorkerRecord, ...] = ()
    value: Blob | None = None
    value_type: bytes | None = None
    nbytes: int = 0
    deaths: list[Account] | None = None
    failure: Failure | None = None
    actor: bool = False
    queue: RunQueue[Task] | None = None

    @property
    def expected_s(self) -> float:
        """How long its function is expected to take."""
        return UNKNOWN_S if self.function is None else self.function.expected_s

    def __repr__(self) -> str:
        return f"<Task {self.id} {self.key!r} {self.state}>"


class Peer(Generic[M]):
    """Somebody at the other end of a link; the shell's link object rides along, and the core never looks at it."""

    __slots__ = ("cut_s", "dirty", "link", "out", "patience_s")

    def __init__(self) -> None:
        self.link: object = None
        self.cut_s: float | None = None  # since when its connection is gone, while it may come back
        self.patience_s = 0.0  # for how long it may
        self.out: list[M] = []
        self.dirty = False


class WorkerRecord(Peer[Any]):
    """A worker: what it was sent, what it holds, and when it last spoke."""

    __slots__ = (
        "account",
        "actors",
        "address",
        "alone",
        "behind_s",
        "dashboard_link",
        "expected_s",
        "extra",
        "functions",
        "haunted",
        "holds",
        "host",
        "last_seen_s",
        "lent",
        "local",
        "local_directory",
        "lost_s",
        "memory",
        "memory_limit",
        "metrics",
        "name",
        "nanny",
        "nthreads",
        "paused",
        "pid",
        "processing",
        "progress_s",
        "recalled",
        "resources",
        "seceded",
        "services",
        "stalled",
        "status",
        "status_before",
        "stored",
        "suspected",
        "threads",
        "used",
    )

    def __init__(self, address: str, name: str | int, nthreads: int, now_s: float) -> None:
        super().__init__()
        self.address = address
        self.name = name
        self.nthreads = nthreads
        self.threads = nthreads  # and one for each attempt that has left them, less those of freed attempts that run
        self.seceded: dict[Task, None] = {}
        self.resources: dict[str, float] = {}
        self.used: dict[str, float] = {}
        # What freed attempts take until they have ended, by task and attempt; a part of `used`.
        self.haunted: dict[tuple[TaskId, int], tuple[tuple[str, float], ...]] = {}
        self.lent: dict[str, float] = {}  # what tasks took of resources before the worker offered less of them
        self.extra: dict[str, Any] = {}
        self.memory = ""  # what its host's shared memory is known by; "" where it is sent all
        self.memory_limit = 0
        self.pid = 0
        self.host = ""
        self.nanny = ""
        self.local_directory = ""
        self.services: dict[str, int] = {}
        self.dashboard_link = ""
        # Or "paused": its memory is short; "closing_gracefully": it retires; both are sent no tasks. Or "lost": its
        # connection is cut, and it may come back; or it has ended, and its nanny's account, or the end of its link,
        # is awaited.
        self.status = "running"
        self.status_before = "running"  # what it is again when it comes back
        self.suspected: dict[Task, Account] = {}  # tasks that are blamed for its end, while it may come back
        self.paused = False  # its own word, whatever else it is
        self.alone: tuple[WorkerRecord, ...] = (self,)  # shared by all tasks that it alone holds
        self.processing: dict[Task, float] = {}  # and when each was sent
        self.expected_s = 0.0
        self.holds: dict[Task, None] = {}
        self.stored = 0  # bytes of `holds`
        self.actors: dict[Task, None] = {}  # those of `holds` that live here; of others' it holds proxies
        self.functions: dict[int, None] = {}
        self.local: RunQueue[Task] = RunQueue()
        self.recalled: dict[Task, None] = {}
        self.metrics: dict[str, float] = {}
        self.behind_s: float | None = None  # its clock, against the scheduler's (recording.clock_behind)
        self.last_seen_s = now_s
        self.progress_s = now_s
        self.account: tuple[Account, list[TaskId] | None] | None = None  # its nanny's, while its link's end is awaited
        self.lost_s = 0.0
        self.stalled = False  # it was asked back what it had not started, and has had no news since

    @property
    def is_alive(self) -> bool:
        """Whether it is to stay: it can be asked, and what it holds is safe."""
        return self.status in ("running", "paused")

    def __repr__(self) -> str:
        counts = f"processing={len(self.processing)} holds={len(self.holds)}"
        return f"<Worker {self.name!r} {self.address} {self.status} {counts}>"


class ClientRecord(Peer[Any]):
    """A client: what it wants, and the reports that leave with the next flush."""

    __slots__ = ("alone", "declared", "finished", "graphs", "id", "left", "name", "seen", "wants", "worker")

    def __init__(self, id: str, name: str) -> None:
        super().__init__()
        self.id = id
        self.name = name
        self.worker = ""  # the address of the one whose tasks it serves
        self.alone: tuple[ClientRecord, ...] = (self,)
        self.left = False
        self.wants: dict[Task, None] = {}
        self.declared: dict[bytes, None] = {}
        self.seen = 0
        self.graphs: dict[int, Any] = {}  # those of which more parts follow (graphs.Parts)
        self.finished: Finished | None = None  # the report that grows until something else must follow it

    def __repr__(self) -> str:
        return f"<Client {self.id} wants={len(self.wants)}>"


class Keeper(ClientRecord):
    """Wants results on behalf of a service, or of nobody; no link leads to it, and what it is told is dropped.

    A ``brief`` one wants each result only until it is there, or has failed (`fire_and_forget`).
    """

    __slots__ = ("brief",)

    def __init__(self, id: str, brief: bool = False) -> None:
        super().__init__(id, id)
        self.brief = brief


class NannyRecord(Peer[Any]):
    """A nanny: gives accounts of its worker's deaths, and restarts it on request."""

    __slots__ = ("id", "name")

    def __init__(self, id: str, name: str | int) -> None:
        super().__init__()
        self.id = id
        self.name = name

    def __repr__(self) -> str:
        return f"<Nanny {self.id} of worker {self.name!r}>"


class ObserverRecord(Peer[Any]):
    """Somebody who looks on: asks, wants nothing, and is in no table."""

    __slots__ = ("id",)

    def __init__(self, id: str) -> None:
        super().__init__()
        self.id = id

    def __repr__(self) -> str:
        return f"<Observer {self.id}>"


class State:
    """Everything that the scheduler knows, and the outboxes of what it has to say."""

    def __init__(self, config: SchedulerConfig | None = None) -> None:
        self.config = config or SchedulerConfig()
        self.now_s = 0.0
        self.epoch_s = 0.0
        """When ``now_s`` was 0, in seconds since the epoch: for people to read."""
        self.tasks: dict[Key, Task] = {}
        self.by_id: dict[TaskId, Task] = {}
        self.functions: dict[bytes, FunctionRecord] = {}
        self.tally = Tally()
        self.workers: dict[str, WorkerRecord] = {}
        self.clients: dict[str, ClientRecord] = {}
        self.nannies: dict[str, NannyRecord] = {}
        self.queue: RunQueue[Task] = RunQueue()
        self.pools: dict[Restriction, RunQueue[Task]] = {}
        """Tasks that could run and take of a resource: a queue for all that ask for the same."""
        self.unrunnable: dict[Task, None] = {}
        """Queued tasks that no present worker may run."""
        self.restricted: dict[Restriction, dict[Task, None]] = {}
        """All tasks that ask for workers or resources, by what they ask for."""
        self.spent: dict[Task, None] = {}
        """Actors that were made, and are no more: the same is not to be had again."""
        self.local: dict[WorkerRecord, None] = {}
        """Workers whose own queue may hold something."""
        self.idle: dict[WorkerRecord, None] = {}
        """Running workers with a free thread; the longest idle first."""
        self.open: dict[WorkerRecord, None] = {}
        """Running workers whose threads are taken, but whose pipeline has room."""
        self.agenda: deque[tuple[Callable[[State, Task], None], Task]] = deque()
        """Decisions that follow from a move that was just made."""
        self.ahead: deque[Task] = deque()
        """Tasks just placed, whose dependents may follow them to the same worker (look-ahead)."""
        self.dirty: list[Peer[Any]] = []
        self.desk: Any = None
        """Where questions to services go (services.FrontDesk)."""
        self.relays: dict[int, Any] = {}
        """Questions that wait for workers' answers (requests.Relay), by the number of each call."""
        self.cut: dict[Peer[Any], None] = {}
        """Parties whose connection is gone, and that may come back."""
        self.gone: list[Peer[Any]] = []
        """Workers and nannies just taken out, whose parts of answers will not come."""
        self.obituaries: list[Account] = []
        """Workers that have died, for the log of whoever hosts this core; taken away there."""
        self.watch: Any = None
        """What the look for standstills remembers (watch.Watch)."""
        self.remarks: list[Any] = []
        """What that has to say to the log of whoever hosts this core (watch.Remark); taken away there."""
        self.notes = Notes()
        """Rare events of tasks, for those who ask why (explain)."""
        self.plugins: dict[str, dict[str, Blob]] = {"worker": {}, "nanny": {}}
        """Pickled plugins of workers and of nannies, by name, for those that come later."""
        self.news: list[Any] | None = None
        """What has happened, for plugins; None while nobody asks (news)."""
        self.moves: list[Any] | None = None
        """The same list, if somebody asks for moves of tasks too."""
        self.attempt_s: float | None = None
        """How long the attempt took whose end is being told, while somebody asks."""
        self.copies: dict[Task, dict[WorkerRecord, Any]] = {}
        """Values on their way to workers that are to hold a copy (copies.Copying)."""
        self.retirements: deque[Any] = deque()
        """Errands that retire workers: the first is under way, the others wait for their turn."""
        self.census: Any = None
        """The count of tasks that is under way (census.Census)."""
        self.counted: Any = None
        """The last such count that was completed."""
        self.links: Any = None
        """Which groups take results of which, while somebody asks (census.Links)."""
        self.is_pressed = False
        """Whether this process takes all the time that it can get: then what is not urgent is done more slowly."""
        self.cleared: set[TaskId] | None = None
        """Tasks that had erred, and are released; None while nobody asks (following)."""
        self.recording: Any = None
        """The task stream, once somebody has asked for it (recording.Recording)."""
        self.worked_s = 0.0
        """When something was last done; see ``scaling.idle_since_s``."""
        self.looked_s = -inf
        """When it was last seen that something is to be done."""
        self.looked_id = 0
        """The latest task that was known at the last look."""
        self.may_go: Callable[[list[WorkerRecord]], list[WorkerRecord]] | None = None
        """Which of some workers plugins let go, where there are to be fewer; None while no plugin says."""
        self.least_memory = inf
        """The smallest memory of a worker that has a limit, if it is to be guarded."""
        self.next_copy = 0
        self.next_call = 0
        self.next_id = 0
        self.next_function = 0

    # ------------------------------------------------------------ saying things

    def tell(self, peer: Peer[Any], message: object) -> None:
        """Put a message into a peer's outbox."""
        peer.out.append(message)
        if not peer.dirty:
            peer.dirty = True
            self.dirty.append(peer)

    def touch(self, peer: Peer[Any]) -> None:
        """Mark a peer whose outbox was filled without `tell`."""
        if not peer.dirty:
            peer.dirty = True
            self.dirty.append(peer)

    def report(self, client: ClientRecord, message: object) -> None:
        """Tell a client something that must not overtake, or be overtaken by, reports of finished tasks."""
        client.finished = None
        self.tell(client, message)

    def report_finished(self, task: Task) -> None:
        """Report a task in memory to all who want it; many reports leave as one message."""
        for client in task.clients:
            finished = client.finished
            if finished is None:
                finished = client.finished = Finished(client.seen, [], [], [])
                self.tell(client, finished)
            finished.keys.append(task.key)
            finished.values.append(task.value)
            finished.types.append(task.value_type)

    def forget_function(self, function: FunctionRecord) -> None:
        """Have workers drop a function that no task and no client names; what its tasks did is still counted."""
        if function.made:
            add_up(self.tally.ended, function.name, function)
        for worker in self.workers.values():
            if function.id in worker.functions:
                del worker.functions[function.id]
                self.tell(worker, FreeFunctions([function.id]))

    # ------------------------------------------------------------ two sides of one fact

    def add_holder(self, task: Task, worker: WorkerRecord) -> None:
        """Note that a worker holds a task's value."""
        assert worker not in task.holders
        task.holders = (*task.holders, worker) if task.holders else worker.alone
        worker.holds[task] = None
        worker.stored += task.nbytes

    def remove_holder(self, task: Task, worker: WorkerRecord) -> None:
        """Note that a worker no longer holds a task's value."""
        if task.holders is worker.alone:
            task.holders = ()
        else:
            task.holders = tuple([holder for holder in task.holders if holder is not worker])
        del worker.holds[task]
        worker.stored -= task.nbytes

    def restrict(self, task: Task) -> None:
        """List a new task that asks for workers or resources."""
        assert task.restriction is not None
        self.restricted.setdefault(task.restriction, {})[task] = None

    def unrestrict(self, task: Task) -> None:
        """List it no longer."""
        assert task.restriction is not None
        together = self.restricted[task.restriction]
        del together[task]
        if not together:
            del self.restricted[task.restriction]

    def want(self, client: ClientRecord, task: Task) -> None:
        """Note that a client wants a task."""
        if task not in client.wants:
            client.wants[task] = None
            task.clients = (*task.clients, client) if task.clients else client.alone

    def unwant(self, client: ClientRecord, task: Task) -> None:
        """Note that a client no longer wants a task."""
        del client.wants[task]
        if task.clients is client.alone:
            task.clients = ()
        else:
            task.clients = tuple([other for other in task.clients if other is not client])

    def open_or_idle(self, worker: WorkerRecord) -> None:
        """Put a worker where its load says: idle, open, or in neither."""
        if worker.status != "running":
            self.idle.pop(worker, None)
            self.open.pop(worker, None)
        elif len(worker.processing) < worker.threads:
            self.open.pop(worker, None)
            self.idle.setdefault(worker)
        else:
            self.idle.pop(worker, None)
            if worker.expected_s < worker.threads * self.config.pipeline_s and not worker.stalled:
                self.open.setdefault(worker)
            else:
                self.open.pop(worker, None)
