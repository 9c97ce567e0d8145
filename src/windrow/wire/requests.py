"""All requests that a `Call` may carry: a closed set of small types.

What lives here: the Structs, and their union, `Request`. What this file must never know: who asks, and who answers. To
add a request: a Struct here with the next free tag, its place in the union, a handler.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct

from windrow.keys import Key, TaskId
from windrow.wire.blobs import Blob, Shared


class WhoHas(Struct, tag=100, array_like=True):
    """Reply value: {key: [address]}; all keys when None."""

    keys: list[Key] | None = None


class HasWhat(Struct, tag=101, array_like=True):
    """Reply value: {address: [key]}; all workers when None."""

    workers: list[str] | None = None


class Processing(Struct, tag=102, array_like=True):
    """Reply value: {address: [key]} of what is assigned."""

    workers: list[str] | None = None


class Identity(Struct, tag=103, array_like=True):
    """Reply value: the scheduler's description of itself and its workers."""


class Gather(Struct, tag=104, array_like=True):
    """Reply blobs: a value for each key, None where it is not to be had just now (a `Lost` precedes).

    To who says its ``host`` (`segments.token`) large ones may come as `Shared`; to who names a ``codec``, compressed by
    that, and then the reply's value says what they were before (`worker.squeezing`).
    """

    keys: list[Key]
    host: str = ""


class Scatter(Struct, tag=105, array_like=True):
    """Put values on workers under keys; the client wants them. Reply when they are placed.

    Where a value is `Shared`, the workers that are to get it are asked first (`Reach`). If one cannot have it, nothing
    is placed, and the reply value is True.
    """

    keys: list[Key]
    values: list[Blob]
    nbytes: list[int]
    types: list[bytes | None]
    workers: list[str] | None = None
    copies: int = 1


class Reach(Struct, tag=161, array_like=True):
    """Hold these until they are put here (scheduler -> worker). Reply blobs: one, None where that cannot be."""

    values: list[Shared]


class RunFunction(Struct, tag=106, array_like=True):
    """Run a function outside the task system: on workers (client -> scheduler -> worker).

    ``call`` is the pickle of (function, args, kwargs). Reply value: addresses; blobs: a pickled (ok, result) each.
    """

    call: Blob
    workers: list[str] | None = None
    wait: bool = True
    nanny: bool = False


class RunOnScheduler(Struct, tag=107, array_like=True):
    """Run a function in the scheduler's process (role administer). Reply blobs: [pickled (ok, result)]."""

    call: Blob


class GetData(Struct, tag=108, array_like=True):
    """Values by id, worker <- worker or scheduler. Reply blobs: a value each, None where there is none.

    To who says its ``host`` (`segments.token`) large ones may come as `Shared`.
    """

    tasks: list[TaskId]
    host: str = ""
    codec: str = ""


class Restart(Struct, tag=109, array_like=True):
    """Forget all tasks, restart all workers that have nannies. Reply value: how many workers are to come back."""


class Retire(Struct, tag=110, array_like=True):
    """Copy to others what only these workers hold, then close them. Reply value: addresses of those that went.

    Without ``workers`` those go that can be missed (see `WorkersToClose`). Without ``close`` they stay, and are sent no
    tasks. With ``idle_only`` those stay as they are that have tasks by now.
    """

    workers: list[str] | None
    close: bool = True
    n: int | None = None
    target: int | None = None
    minimum: int = 0
    memory_ratio: float | None = None
    groups: dict[str, int] = {}
    idle_only: bool = False


class Shutdown(Struct, tag=111, array_like=True):
    """Close the cluster (role administer)."""


class Ask(Struct, tag=112, array_like=True):
    """A question to one of the scheduler's services (locks, queues, datasets, events, …), in words of its own.

    ``request`` is plain data or a Struct of the service's; the reply may come late (see `Withdraw`).
    """

    service: str
    request: Any
    blobs: list[Blob] = []


class RegisterPlugin(Struct, tag=113, array_like=True):
    """Set a plugin up: client -> scheduler, which keeps it and passes it on to workers or nannies by its ``kind``.

    ``plugin`` is its pickle; ``kind`` is "scheduler", "worker" or "nanny". Reply value: who has set it up (addresses);
    blobs: a pickled (ok, None or failure) each.
    """

    kind: Literal["scheduler", "worker", "nanny"]
    name: str
    plugin: Blob
    idempotent: bool = False


class UnregisterPlugin(Struct, tag=114, array_like=True):
    """Tear a plugin down, and keep it no longer; the reply is as that to `RegisterPlugin`."""

    kind: Literal["scheduler", "worker", "nanny"]
    name: str


class Arrive(Struct, tag=115, array_like=True):
    """The first message of a worker or nanny that is to set its plugins up before its hello.

    ``kind`` is "worker" or "nanny". Reply value: the plugins' names; blobs: their pickles.
    """

    kind: Literal["worker", "nanny"]


class RestartWorkers(Struct, tag=116, array_like=True):
    """Have nannies start these workers afresh, by address; their tasks run again elsewhere."""

    workers: list[str]


class Facts(Struct, tag=117, array_like=True):
    """Reply value: [[key, {name: fact}]] of what is known of tasks now, of all when None, without unknown ones.

    ``names`` are those of the facts that are asked for; None: all.
    """

    keys: list[Key] | None = None
    names: list[str] | None = None


class Recipe(Struct, tag=120, array_like=True):
    """How a task is made: reply value [key, keys of inputs], blobs [function, arguments]; None if nobody knows.

    With ``failed`` of the task whose error it has, which may be an input's input.
    """

    key: Key
    failed: bool = False


class ActorCall(Struct, tag=130, array_like=True):
    """Call a method of an actor, or read an attribute: client -> scheduler -> the worker where the actor lives.

    ``call`` is the pickle of (args, kwargs). The scheduler fills in ``task``. Reply value: [the worker's address];
    blobs: a pickled result and a pickled failure, one of them None; both when the worker has gone meanwhile.
    """

    key: Key
    name: str
    call: Blob = b""
    attribute: bool = False
    on_loop: bool = False
    task: TaskId = TaskId(0)


class Replicate(Struct, tag=121, array_like=True):
    """Have ``n`` of these workers (all: None) hold each value; no more, no fewer. Reply when they do."""

    keys: list[Key]
    n: int | None = None
    workers: list[str] | None = None
    branching_factor: int = 2


class Rebalance(Struct, tag=122, array_like=True):
    """Move values (None: any) from full workers to empty ones. Reply value: those of the keys that cannot be moved."""

    keys: list[Key] | None = None
    workers: list[str] | None = None


class Overview(Struct, tag=140, array_like=True):
    """Reply value: counts of tasks, workers, clients and data (`scheduler.census.overview`); at a bounded cost."""


class RecentLogs(Struct, tag=141, array_like=True):
    """Reply value: [[level, text]] of the scheduler's last ``n`` log records (None: of all), the newest first."""

    n: int | None


class Versions(Struct, tag=230, array_like=True):
    """Reply value: the scheduler's own versions (`windrow.versions.versions`), of these ``packages``, too."""

    packages: list[str] = []


class Report(Struct, tag=231, array_like=True):
    """Have workers say what they know. Reply value: addresses; blobs: of each, in MessagePack, `worker.facts.report`.

    That is the last ``n`` log records (None: all); where tasks are in their code, or their states, of these ``keys`` or
    of all; versions, of these ``packages``, too. Of a worker that goes meanwhile it is None.
    """

    what: Literal["logs", "stacks", "states", "versions"]
    workers: list[str] | None = None
    n: int | None = None
    keys: list[Key] | None = None
    packages: list[str] = []


class WorkerFacts(Struct, tag=142, array_like=True):
    """Reply value: what a worker says of itself to an observer: tasks, call stacks, logs (`worker.observed`).

    A scheduler asks it of the worker at ``address``; the value is None if there is none, or if it goes meanwhile.
    """

    address: str = ""


class ScaleCluster(Struct, tag=218, array_like=True):
    """Have the cluster that the scheduler belongs to have so many workers (role administer). Reply value: how many.

    An error where nobody here can start workers: the scheduler was started by hand, or its cluster is elsewhere.
    """

    n: int


class Tallies(Struct, tag=215, array_like=True):
    """Reply value: what has happened in the scheduler's life, in numbers (`scheduler.tally.report`)."""


class TaskStream(Struct, tag=195, array_like=True):
    """Reply value: what threads have done, from row ``since`` on (below 0: so many before the last), as columns.

    See `windrow.scheduler.recording.rows`. That somebody asks has it recorded, from then on and for ``keep_s``, or
    until the one who asks leaves; ``complete`` with every task (not for observers). Several who ask over one link are
    told apart by ``lease``, and end it with ``keep_s=0``.
    """

    since: int = -1000
    count: int = 5000
    complete: bool = False
    keep_s: float = 15.0
    lease: str = ""


class Memory(Struct, tag=203, array_like=True):
    """Reply value: the time, and what the memory of all workers together is taken by, in bytes, by measure."""


class TaskGraph(Struct, tag=200, array_like=True):
    """Reply value: all tasks and what they take of each other (`scheduler.picture.graph`), if they are few enough."""

    limit: int


class TaskGroups(Struct, tag=201, array_like=True):
    """Reply value: groups of tasks and what they take of each other (`scheduler.census.groups`), as last counted."""


class RecentEvents(Struct, tag=202, array_like=True):
    """Reply value: [[time, event, topics]] of the last ``n`` events of a topic, the oldest first."""

    n: int
    topic: str = "all"


class Profile(Struct, tag=196, array_like=True):
    """Reply value: addresses; blobs: of each, in MessagePack, [tree, [[time, {kind: samples}]], interval in s].

    Of the tasks of one kind (``key``), or of all, that ran between ``start`` and ``stop`` (seconds since the epoch) on
    ``workers`` (None: all); with ``server``, of their event loops instead, with ``scheduler`` of the scheduler's. Trees
    are as `windrow.sampling.to_plain` makes them.
    """

    key: str | None = None
    start: float | None = None
    stop: float | None = None
    workers: list[str] | None = None
    server: bool = False
    scheduler: bool = False


class AdaptiveTarget(Struct, tag=150, array_like=True):
    """How many workers would do the work at hand in about ``target_duration_s``? Reply value: an int.

    ``nthreads`` are those of a worker, where there is none to be asked; ``memory_ratio`` as in `WorkersToClose`.
    """

    target_duration_s: float
    nthreads: int = 1
    memory_ratio: float | None = None


class WorkersToClose(Struct, tag=151, array_like=True):
    """Which workers can be missed? Reply value: [[address, name]]; see ``scheduler.scaling.missable``.

    ``groups`` numbers those by address that go together.
    """

    n: int | None = None
    target: int | None = None
    minimum: int = 0
    memory_ratio: float | None = None
    groups: dict[str, int] = {}
    idle_only: bool = False


class Explain(Struct, tag=180, array_like=True):
    """Why tasks, a worker (by name or address), or all (None) are as they are. Reply value: a dict of plain data.

    It is what `windrow.explanation` makes objects of; under "text" it has the sentences. Keys may be given as text.
    ``several``: to be summed up, even if there is one key.
    """

    keys: list[Key] | None = None
    worker: str | None = None
    several: bool = False


Request: TypeAlias = (
    WhoHas
    | HasWhat
    | Processing
    | Identity
    | Gather
    | Scatter
    | Reach
    | RunFunction
    | RunOnScheduler
    | GetData
    | Restart
    | Retire
    | Shutdown
    | Ask
    | RegisterPlugin
    | UnregisterPlugin
    | Arrive
    | RestartWorkers
    | Replicate
    | Rebalance
    | Facts
    | Recipe
    | ActorCall
    | Overview
    | RecentLogs
    | Versions
    | Report
    | WorkerFacts
    | Tallies
    | ScaleCluster
    | TaskStream
    | TaskGraph
    | TaskGroups
    | RecentEvents
    | Memory
    | Profile
    | AdaptiveTarget
    | WorkersToClose
    | Explain
)
