"""All messages between client, scheduler, workers and nannies: a closed set of small types.

What lives here: the Structs, which way each one goes, and the three unions that a decoder accepts. What this file
must never know: sockets, state, how a payload was pickled. To add a message: a Struct here with the next free tag,
its union, a handler in the core's table, a line in docs/architecture.md. What a `Call` may ask is in `requests`, what
stands for objects in `blobs`.

Between scheduler and worker a task is an integer id and an *attempt* number: whatever refers to an attempt that its
receiver has forgotten is dropped on sight. Between client and scheduler a task is its key, and reports carry
``seen``, the number of the last `Release` that the scheduler had handled: a report on a key that the client has
released and made anew is older than the new future's ``born`` number, and is dropped on sight too.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct

from windrow.account import Account
from windrow.keys import Key as Key
from windrow.keys import TaskId as TaskId
from windrow.wire.blobs import Blob
from windrow.wire.requests import Request

PROTOCOL_VERSION = 4


# ---------------------------------------------------------------- either way


class Call(Struct, tag=1, array_like=True):
    """A question; the answer is a `Reply` with the same id. ``request`` is one of `Request`."""

    id: int
    request: Request


class Reply(Struct, tag=2, array_like=True):
    """The answer to a `Call`: plain data in ``value``, payloads in ``blobs``, or a pickled exception in ``error``.

    ``late`` answers a `Withdraw`: there is no answer.
    """

    id: int
    value: Any = None
    blobs: list[Blob | None] = []
    error: bytes | None = None
    late: bool = False


class Close(Struct, tag=3, array_like=True):
    """The sender leaves, or asks its receiver to leave, in good order; what follows is no death."""

    reason: str = ""


class Begin(Struct, tag=4, array_like=True):
    """The first word of a connection whose session is to outlive it; should it break, its maker tries for so long.

    ``process`` tells who that is to others on its machine (`system.process_mark`).
    """

    id: str
    patience_s: float
    process: str = ""


class Resume(Struct, tag=5, array_like=True):
    """The first word of a connection that goes on with a session; ``count`` messages of the other side have arrived."""

    id: str
    count: int


class Resumed(Struct, tag=6, array_like=True):
    """The answer to a `Begin`, and to a `Resume`, before what was lost is sent again; or a `Close`: it is over."""

    count: int
    process: str = ""


class Ack(Struct, tag=7, array_like=True):
    """So many messages of the session have arrived; alone, it is a sign of life. Below 0: the session is over."""

    count: int


# ---------------------------------------------------------------- client -> scheduler


class HelloClient(Struct, tag=10, array_like=True):
    """First message of a client; ``worker`` is the address of the worker whose tasks it serves, and ends with."""

    id: str
    name: str = ""
    worker: str = ""


class Declare(Struct, tag=11, array_like=True):
    """A function, pickled once and named by a hash of its bytes; precedes the first `Submit` that names it."""

    function: bytes
    name: str
    code: Blob


class Undeclare(Struct, tag=12, array_like=True):
    """The client will not name these functions again without declaring them again."""

    functions: list[bytes]


class Submit(Struct, tag=13, array_like=True):
    """Many tasks of one function, as columns; the client wants each of them.

    ``inputs`` is empty when no task has any; else it holds, for each task, the keys that its payload refers to
    by position. ``number`` counts as in `Release`.
    """

    function: bytes
    keys: list[Key]
    args: list[Blob]
    inputs: list[list[Key]] = []
    priority: float = 0.0
    retries: int = 0
    workers: list[str] | None = None
    allow_other_workers: bool = False
    resources: dict[str, float] = {}
    actor: bool = False


class TaskOptions(Struct, array_like=True):
    """What tasks of a `Graph` ask for, beside function and inputs; as in `Submit`."""

    priority: float = 0.0
    retries: int = 0
    workers: list[str] | None = None
    allow_other_workers: bool = False
    resources: dict[str, float] = {}
    actor: bool = False


class Graph(Struct, tag=18, array_like=True):
    """A part of a graph: many tasks of many functions, as columns, inputs before their dependents.

    Within a graph a task is its number: those in ``known`` (tasks that exist already) come first, then those in
    ``keys``, counted on from part to part. ``inputs`` holds for each task the numbers that its payload refers to by
    position. ``chosen`` says which of ``functions`` each task calls, ``option`` which of ``options`` it has (empty: the
    first, for all). The client wants the results of ``wanted`` alone. While ``more`` follows, nothing is dropped.
    """

    graph: int
    known: list[Key]
    keys: list[Key]
    functions: list[bytes]
    chosen: list[int]
    args: list[Blob]
    inputs: list[list[int]]
    wanted: list[int]
    options: list[TaskOptions]
    option: list[int] = []
    more: bool = False


class Withdraw(Struct, tag=19, array_like=True):
    """The client waits no longer for this `Call` to a service; its `Reply` comes at once, with a value or without."""

    call: int


class Want(Struct, tag=14, array_like=True):
    """The client has made futures for tasks that exist already, by key."""

    keys: list[Key]


class Release(Struct, tag=15, array_like=True):
    """The client holds no more futures on these keys; ``number`` counts this client's releases from 1."""

    keys: list[Key]
    number: int


class Cancel(Struct, tag=16, array_like=True):
    """As `Release`, and unless others want them (or ``force``) the tasks and what depends on them are dropped."""

    keys: list[Key]
    number: int
    force: bool = False
    reason: str = ""


class Retry(Struct, tag=17, array_like=True):
    """Run erred tasks again, from the root of the error on."""

    keys: list[Key]


# ---------------------------------------------------------------- scheduler -> client


class Finished(Struct, tag=20, array_like=True):
    """Results are in memory; ``values`` has those small enough to ride along, ``types`` the pickled type of others."""

    seen: int
    keys: list[Key]
    values: list[Blob | None]
    types: list[bytes | None] = []


class Failed(Struct, tag=21, array_like=True):
    """Tasks erred; ``error`` is as `wire.failure` made it, ``text`` the formatted traceback."""

    seen: int
    keys: list[Key]
    error: Blob
    text: str = ""


class Lost(Struct, tag=22, array_like=True):
    """Results were lost and are being made again: back to pending."""

    seen: int
    keys: list[Key]


class Cancelled(Struct, tag=23, array_like=True):
    """The scheduler has dropped these, with this reason."""

    seen: int
    keys: list[Key]
    reason: str


class Topic(Struct, tag=24, array_like=True):
    """An event on a topic that the client has subscribed to; ``time`` is seconds since the epoch."""

    topic: str
    time: float
    event: Any


# ---------------------------------------------------------------- scheduler -> worker


class Function(Struct, tag=30, array_like=True):
    """A function under its number; precedes the first `Run` that names it on this connection."""

    function: int
    name: str
    code: Blob


class Run(Struct, tag=31, array_like=True):
    """One attempt at one task.

    ``inputs`` are the ids that the payload refers to by position. Those not yet on the worker are in ``shipped``
    (their value) or in ``where`` (their size, and the addresses of workers to fetch from); one in neither is being made
    on this very worker, and the task runs when it is there (look-ahead).
    """

    task: TaskId
    attempt: int
    key: Key
    function: int
    args: Blob
    priority: float = 0.0
    inline: bool = False
    inputs: list[TaskId] = []
    shipped: dict[TaskId, Blob] = {}
    where: dict[TaskId, tuple[int, list[str]]] = {}
    actor: bool = False
    takes: bool = False
    """Whether it takes of the worker's resources: if it is freed, `Stopped` says when it has ended."""


class Free(Struct, tag=32, array_like=True):
    """Drop attempts at, and values of, these tasks. Attempts that run go on, and their result is discarded."""

    tasks: list[TaskId]


class Recall(Struct, tag=33, array_like=True):
    """Give back those of these tasks that have not started."""

    tasks: list[TaskId]


class Put(Struct, tag=34, array_like=True):
    """Hold this value (scattered data)."""

    task: TaskId
    key: Key
    value: Blob


class FreeFunctions(Struct, tag=35, array_like=True):
    """Functions that no task names any more."""

    functions: list[int]


class Copy(Struct, tag=36, array_like=True):
    """Fetch this value from one of ``holders``, and hold it; `Copied` with the same ``number`` says how that went.

    Without ``holders`` it only asks whether the worker holds the value.
    """

    task: TaskId
    number: int
    key: Key
    holders: list[str]
    nbytes: int = 0


class Welcome(Struct, tag=37, array_like=True):
    """The worker has joined."""


class Record(Struct, tag=190, array_like=True):
    """Note when tasks run, and say so in `Executed`; None: no more.

    All that take ``apart_s`` or longer are noted, and of the shorter ones one in so long; with 0 it is all of them.
    """

    apart_s: float | None


# ---------------------------------------------------------------- worker -> scheduler


class HelloWorker(Struct, tag=40, array_like=True):
    """First message of a worker: who it is and where its peers reach it. ``name`` may be a number's digits."""

    address: str
    name: str | int
    nthreads: int
    memory_limit: int = 0
    pid: int = 0
    host: str = ""
    nanny: str = ""
    local_directory: str = ""
    resources: dict[str, float] = {}
    services: dict[str, int] = {}
    """Ports of what else it listens for, such as ``{"dashboard": 40123}``."""
    dashboard_link: str = ""
    extra: dict[str, Any] = {}
    """What it tells of itself once, beside (``startup_information``)."""
    memory: str = ""
    """`segments.token`: to who has the same, arguments may be `Shared`."""


STAYS = b""
"""In the place of a result's pickled type: it cannot be pickled, and so stays where it is (a generator, say)."""


class Done(Struct, tag=41, array_like=True):
    """An attempt has its result; the value rides along when `Run.inline` asked for it and it is small.

    ``value_type`` is the pickled type of one that does not, or `STAYS`.
    """

    task: TaskId
    attempt: int
    seconds: float
    nbytes: int
    value: Blob | None = None
    value_type: bytes | None = None


class Erred(Struct, tag=42, array_like=True):
    """An attempt raised."""

    task: TaskId
    attempt: int
    seconds: float
    error: Blob
    text: str


class Returned(Struct, tag=43, array_like=True):
    """What a `Recall` got back: ``attempts`` beside ``tasks``."""

    tasks: list[TaskId]
    attempts: list[int]


class Missing(Struct, tag=44, array_like=True):
    """An attempt cannot start, because none of ``holders`` gave ``input``; the worker has dropped the attempt."""

    task: TaskId
    attempt: int
    input: TaskId
    holders: list[str]


class Holds(Struct, tag=46, array_like=True):
    """The worker has fetched these values for its attempts, and holds them until they are freed."""

    tasks: list[TaskId]


class Ghosts(Struct, tag=47, array_like=True):
    """How many of the worker's threads are taken by attempts that were freed while they ran."""

    count: int


class Seceded(Struct, tag=48, array_like=True):
    """An attempt has left the worker's threads (it waits for others, or is a coroutine), or has come back to them."""

    task: TaskId
    attempt: int
    gone: bool


class Rescheduled(Struct, tag=49, array_like=True):
    """An attempt asks to be made again, perhaps elsewhere; the worker has forgotten it.

    ``unopened``: it has not begun, because its arguments were `Shared`, and could not be opened.
    """

    task: TaskId
    attempt: int
    unopened: bool = False


class Stopped(Struct, tag=54, array_like=True):
    """A freed attempt that took resources has ended, or had not begun: what it took is there again."""

    task: TaskId
    attempt: int


class Copied(Struct, tag=53, array_like=True):
    """What became of a `Copy`: the worker holds the value, or none of the holders gave it."""

    task: TaskId
    number: int
    held: bool


class Executed(Struct, tag=191, array_like=True):
    """What threads have done, as columns; precedes the `Done` of the tasks that it is about. See `Record`.

    ``kinds`` are those of `windrow.worker.recording`; a thread 0 is the loop, and all that is under way on it;
    ``starts`` are seconds since the epoch, by the worker's clock; ``words`` are places in ``table``: of an attempt, the
    type of its result, of a transfer, where it came from. ``left_out`` more attempts have ended since the last one.
    """

    tasks: list[TaskId]
    kinds: list[int]
    threads: list[int]
    starts: list[float]
    seconds: list[float]
    nbytes: list[int]
    words: list[int]
    table: list[str]
    left_out: int = 0


class Paused(Struct, tag=57, array_like=True):
    """The worker starts no more tasks, as its memory is short; or it goes on."""

    paused: bool


class Log(Struct, tag=60, array_like=True):
    """An event, for the scheduler to keep and to pass on to subscribers; ``time`` is seconds since the epoch."""

    topics: list[str]
    time: float
    event: Any


class Output(Struct, tag=225, array_like=True):
    """What tasks have printed and logged, as columns; it precedes the reports of their ends.

    ``said`` holds for each key rows of (seconds since the epoch, source, text); ``dropped`` how many lines are not
    among them, because there were too many.
    """

    keys: list[Key]
    said: list[list[tuple[float, str, str]]]
    dropped: list[int]


class Heartbeat(Struct, tag=45, array_like=True):
    """Sign of life with measured facts."""

    metrics: dict[str, Any] = {}


class Supply(Struct, tag=55, array_like=True):
    """The worker offers this of each resource from now on."""

    resources: dict[str, float]


class Leaving(Struct, tag=56, array_like=True):
    """The worker is to end: it gives back what has not started, and is sent no more tasks.

    With ``now`` what it alone holds is copied to others, and what it still runs runs again elsewhere; then comes a
    `Close`.
    """

    reason: str
    now: bool = False


# ---------------------------------------------------------------- nanny <-> scheduler


class HelloNanny(Struct, tag=50, array_like=True):
    """First message of a nanny: ``id`` is what its worker gives as `HelloWorker.nanny`."""

    id: str
    name: str | int


class Died(Struct, tag=51, array_like=True):
    """A nanny's account of its worker's end. ``running`` are the tasks that its flight recorder shows."""

    address: str
    account: Account
    expected: bool = False
    running: list[TaskId] | None = None


class RestartWorker(Struct, tag=52, array_like=True):
    """Kill the worker process and start a fresh one (scheduler -> nanny)."""

    reason: str = ""


# ---------------------------------------------------------------- observer -> scheduler


class HelloObserver(Struct, tag=70, array_like=True):
    """First message of somebody who only looks: it counts as no client, and may ask a few questions that read."""

    id: str


class Listen(Struct, tag=216, array_like=True):
    """An observer wants to be told what happens (`Happened`) from now on; or no more."""

    on: bool


class Happened(Struct, tag=217, array_like=True):
    """What has happened in the scheduler, for observers that listen; see ``scheduler.eventstream``."""

    events: list[dict[str, Any]]


FromClient: TypeAlias = (
    HelloClient
    | Declare
    | Undeclare
    | Submit
    | Graph
    | Want
    | Release
    | Cancel
    | Retry
    | Withdraw
    | Log
    | Call
    | Reply
    | Close
)
ToClient: TypeAlias = Finished | Failed | Lost | Cancelled | Topic | Call | Reply | Close
ToWorker: TypeAlias = (
    Function | Run | Free | Recall | Put | FreeFunctions | Copy | Welcome | Record | Call | Reply | Close
)
FromWorker: TypeAlias = (
    HelloWorker
    | Done
    | Erred
    | Returned
    | Missing
    | Holds
    | Copied
    | Ghosts
    | Seceded
    | Rescheduled
    | Stopped
    | Executed
    | Paused
    | Log
    | Output
    | Heartbeat
    | Supply
    | Leaving
    | Call
    | Reply
    | Close
)
FromNanny: TypeAlias = HelloNanny | Died | Log | Call | Reply | Close
ToNanny: TypeAlias = RestartWorker | Call | Reply | Close
FromObserver: TypeAlias = HelloObserver | Listen | Call | Close
ToObserver: TypeAlias = Happened | Reply | Close

OfLinks: TypeAlias = Begin | Resume | Resumed | Ack
"""What links say to each other; nobody else ever sees it."""

Message: TypeAlias = (
    Call
    | Reply
    | Close
    | Begin
    | Resume
    | Resumed
    | Ack
    | HelloClient
    | Declare
    | Undeclare
    | Submit
    | Graph
    | Want
    | Release
    | Cancel
    | Retry
    | Withdraw
    | Finished
    | Failed
    | Lost
    | Cancelled
    | Topic
    | Function
    | Run
    | Free
    | Recall
    | Put
    | FreeFunctions
    | Copy
    | Welcome
    | Record
    | HelloWorker
    | Done
    | Erred
    | Returned
    | Missing
    | Holds
    | Copied
    | Ghosts
    | Seceded
    | Rescheduled
    | Stopped
    | Executed
    | Paused
    | Log
    | Output
    | Heartbeat
    | Supply
    | Leaving
    | HelloNanny
    | Died
    | RestartWorker
    | HelloObserver
    | Listen
    | Happened
)
