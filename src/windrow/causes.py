"""Why a task is not done: one fact each, and the sentence that is made of it.

What lives here: the causes, as frozen records of figures, and their words. What this file must never know: how a cause
is found (``scheduler.explain``, ``scheduler.obstacles``), or who reads of it.

Keys are there as text (`windrow.keys.label`), workers by name, times in seconds before now, sizes in bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias, Union

from msgspec import Struct

from windrow.errors import in_bytes

__all__ = [
    "Away",
    "Busy",
    "Cause",
    "Erred",
    "Fetching",
    "Following",
    "Held",
    "Holder",
    "Input",
    "Inputs",
    "Locked",
    "Obstacle",
    "Outside",
    "Queued",
    "Recalled",
    "Running",
    "Settled",
    "Soon",
    "Supply",
    "Threadless",
    "Unneeded",
    "asked_for",
    "count_of",
    "listed",
    "quoted",
    "span",
]

NAMES_SHOWN = 4
"""So many of a list are named."""


# ---------------------------------------------------------------- words


def span(seconds: float) -> str:
    """Return a time for people to read.

    Examples
    --------
    >>> span(0.0002), span(0.35), span(12.04), span(300), span(9000), span(400000)
    ('less than 1 ms', '350 ms', '12 s', '5 min', '2.5 h', '4.6 days')
    """
    if seconds < 0.001:
        return "less than 1 ms"
    if seconds < 0.9995:
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    for limit, unit, name in ((7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{seconds / 86400:.1f} days"


def count_of(count: float, noun: str, plural: str = "") -> str:
    """Return a number of things.

    Examples
    --------
    >>> count_of(1, "task"), count_of(12000, "task"), count_of(0, "copy", "copies")
    ('1 task', '12,000 tasks', '0 copies')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def quoted(key: str) -> str:
    """Return a key as it stands in sentences: quoted, unless it is a tuple.

    Examples
    --------
    >>> quoted("inc-1"), quoted("('x', 0)")
    ("'inc-1'", "('x', 0)")
    """
    return key if key.startswith("(") else repr(key)


def listed(words: Sequence[str], total: int | None = None) -> str:
    """Return the first words of a list, and how many more there are.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b"], 12)
    ('a', 'a and b', 'a, b and 10 more')
    """
    shown, total = list(words[:NAMES_SHOWN]), len(words) if total is None else total
    if total > len(shown):
        shown.append(f"{total - len(shown):,} more")
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def asked_for(resources: Iterable[tuple[str, float]]) -> str:
    """Return what is asked of resources, as it is written on a command line.

    Examples
    --------
    >>> asked_for([("GPU", 1.0), ("MEM", 10e9)])
    'GPU=1 MEM=1e+10'
    """
    return " ".join(f"{name}={quantity:g}" for name, quantity in resources)


class Holder(Struct, frozen=True):
    """A task that takes something of a worker."""

    key: str
    quantity: float
    seconds: float

    def __str__(self) -> str:
        return f"{quoted(self.key)} for {span(self.seconds)}"


class Supply(Struct, frozen=True):
    """What one worker has of a resource, and who takes of it."""

    worker: str
    resource: str
    total: float
    free: float
    holders: tuple[Holder, ...] = ()
    leaving: float = 0.0
    """What tasks take that were given up, and have not ended."""

    def __str__(self) -> str:
        has = f"worker {self.worker!r} has {self.resource}={self.total:g}"
        if self.holders or self.leaving:
            takers = [str(holder) for holder in self.holders]
            takers += [f"{self.leaving:g} by a cancelled task that still runs"] if self.leaving else []
            return f"{has}, held by {listed(takers)}"
        return f"{has}, {self.free:g} of it free"


class Input(Struct, frozen=True):
    """An input that is not there yet."""

    key: str
    state: str
    worker: str | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        if self.worker is None:
            return f"{quoted(self.key)} ({self.state})"
        since = "" if self.seconds is None else f" for {span(self.seconds)}"
        return f"{quoted(self.key)} (on worker {self.worker!r}{since})"


# ---------------------------------------------------------------- nobody can run it


Kind: TypeAlias = Literal[
    "no-workers",
    "paused",
    "retiring",
    "cut-off",
    "resource",
    "resources",
    "name",
    "memory",
    "unreachable",
    "mixed",
    "forgotten",
]
"""What kind of thing keeps every worker from running a task."""


class Obstacle(Struct, frozen=True, tag="obstacle", tag_field="cause"):
    """No worker that is there can run the task: what it asks for, and the nearest miss."""

    kind: Kind
    asks: str = ""
    """What it asks for, in words; "" where any worker would do."""
    miss: str = ""
    """The nearest miss, in words."""
    workers: int = 0
    """How many workers there are."""
    seconds: float | None = None
    """Since when, as far as it was seen."""
    remedy: str = ""

    @property
    def sentence(self) -> str:
        """What is the matter."""
        asks = f"it {self.asks}; " if self.asks else ""
        return f"no worker can run it now: {asks}{self.miss}"


# ---------------------------------------------------------------- it will be its turn


class Queued(Struct, frozen=True, tag="queued", tag_field="cause"):
    """It could run, and others are first."""

    queue: str
    """Which queue: "common", "resources", or the name of the worker in whose own queue it stands."""
    ahead: int
    """How many are before it."""
    higher: int = 0
    """How many of those have a higher priority."""
    seconds: float = 0.0
    """What those are expected to take, shared by the threads there are."""
    gravity: int = 0
    """Bytes of its inputs that are on the worker in whose queue it stands."""

    @property
    def sentence(self) -> str:
        """What is the matter."""
        where = {"common": "it stands", "resources": "among those that ask for the same it stands"}.get(
            self.queue, f"in the queue of worker {self.queue!r} it stands"
        )
        if self.gravity:
            where = f"worker {self.queue!r} has {in_bytes(self.gravity)} of its inputs, and in its queue it stands"
        if not self.ahead:
            return f"{where} first"
        higher = f", {self.higher:,} of them of a higher priority" if self.higher else ""
        wait = f", which is work for about {span(self.seconds)}" if self.seconds else ""
        return f"{where} behind {count_of(self.ahead, 'task')}{higher}{wait}"


class Busy(Struct, frozen=True, tag="busy", tag_field="cause"):
    """All threads of all workers that may run it are taken."""

    workers: int
    threads: int
    longest: str | None = None
    """The task that is there for longest."""
    worker: str | None = None
    seconds: float = 0.0

    @property
    def sentence(self) -> str:
        """What is the matter."""
        threads = "the one thread" if self.threads == 1 else f"all {self.threads} threads"
        who = f" on worker {self.worker!r}" if self.workers == 1 and self.worker is not None else ""
        who = f" of the {self.workers} workers that may run it" if self.workers > 1 else who
        taken = f"{threads}{who} {'is' if self.threads == 1 else 'are'} taken"
        if self.longest is None or self.worker is None:
            return taken
        where = f" on worker {self.worker!r}" if self.workers > 1 else ""
        return f"{taken}, for longest by {quoted(self.longest)}{where} ({span(self.seconds)})"


class Held(Struct, frozen=True, tag="held", tag_field="cause"):
    """What it asks for is there, and others have it."""

    asks: str
    supplies: tuple[Supply, ...]
    total: int
    """How many workers have it."""

    @property
    def sentence(self) -> str:
        """What is the matter."""
        return f"it asks for {self.asks}: {listed([str(supply) for supply in self.supplies], self.total)}"


class Soon(Struct, frozen=True, tag="soon", tag_field="cause"):
    """Nothing is in its way: it is handed out with the next batch."""

    worker: str

    @property
    def sentence(self) -> str:
        """What is the matter."""
        return f"worker {self.worker!r} has a thread free for it: it is handed out with the next batch"


class Inputs(Struct, frozen=True, tag="inputs", tag_field="cause"):
    """Inputs are not made yet; at the root of that is another task."""

    missing: int
    total: int
    listed: tuple[Input, ...]
    below: dict[str, int] = {}
    """How many tasks it waits for, directly or not, by state (up to a measure)."""
    root: str | None = None
    """The task at the bottom whose causes come next."""
    root_state: str = ""
    depth: int = 0
    causes: tuple[Cause, ...] = ()
    """Why that one is not done."""

    @property
    def sentence(self) -> str:
        """What is the matter, here and at the root."""
        which = f"{self.missing:,} of its {count_of(self.total, 'input')}" if self.total > 1 else "its input"
        waits = f"it waits for {which}: {listed([str(each) for each in self.listed], self.missing)}"
        if self.root is None or not self.causes:
            return waits
        reasons = "; ".join(cause.sentence for cause in self.causes)
        if self.depth == 1:
            return f"{waits}. Of {quoted(self.root)}: {reasons}"
        states = ", ".join(f"{count:,} {state}" for state, count in self.below.items())
        return f"{waits}. {self.depth} steps down, at the root ({states}), is {quoted(self.root)}: {reasons}"


# ---------------------------------------------------------------- it is on a worker


class Running(Struct, frozen=True, tag="running", tag_field="cause"):
    """It has a thread."""

    worker: str
    seconds: float
    """Since when it is on the worker."""
    function: str = ""
    usual_s: float | None = None
    """How long its function takes, as a rule."""
    count: int = 0
    """Of how many runs that is known."""

    @property
    def sentence(self) -> str:
        """What is the matter."""
        runs = f"it runs on worker {self.worker!r}, where it has been for {span(self.seconds)}"
        if self.usual_s is None or not self.count:
            return (
                f"{runs}; {self.function or 'its function'} has not finished before, so nobody knows how long it takes"
            )
        runs += f"; {self.function} takes {span(self.usual_s)} as a rule ({count_of(self.count, 'run')})"
        slow = self.seconds / self.usual_s if self.usual_s else 0.0
        return f"{runs}, and this is {slow:.0f} times as long" if slow >= 3 and self.seconds > 1 else runs


class Threadless(Struct, frozen=True, tag="threadless", tag_field="cause"):
    """It is on its worker ahead of time, and others have the threads."""

    worker: str
    before: int
    seconds: float
    longest: str | None = None
    longest_s: float = 0.0

    @property
    def sentence(self) -> str:
        """What is the matter."""
        first = (
            "" if self.longest is None else f"; {quoted(self.longest)} is there for longest ({span(self.longest_s)})"
        )
        there = f"it has been on worker {self.worker!r} for {span(self.seconds)}, and waits for a thread"
        return f"{there} behind {count_of(self.before, 'task')}{first}"


class Fetching(Struct, frozen=True, tag="fetching", tag_field="cause"):
    """Its worker is fetching inputs from others."""

    worker: str
    inputs: int
    nbytes: int
    seconds: float
    holders: tuple[str, ...]
    silent: tuple[str, ...] = ()
    """Those of the holders that give no sign of life."""

    @property
    def sentence(self) -> str:
        """What is the matter."""
        what = f"{count_of(self.inputs, 'input')} ({in_bytes(self.nbytes)})"
        whom = f"worker{'s' if len(self.holders) > 1 else ''} {listed([repr(name) for name in self.holders])}"
        fetches = f"worker {self.worker!r} fetches {what} for it from {whom}"
        since = f"{fetches}; it was sent there {span(self.seconds)} ago"
        return f"{since}; no sign of life from {listed([repr(name) for name in self.silent])}" if self.silent else since


class Following(Struct, frozen=True, tag="following", tag_field="cause"):
    """It was sent after inputs that are made on the same worker."""

    worker: str
    inputs: tuple[str, ...]
    total: int

    @property
    def sentence(self) -> str:
        """What is the matter."""
        names = listed([quoted(key) for key in self.inputs], self.total)
        return f"it is on worker {self.worker!r} already, right behind what it waits for there: {names}"


class Away(Struct, frozen=True, tag="away", tag_field="cause"):
    """The worker that it is on, or that has its inputs, is not there just now."""

    worker: str
    status: str
    """ "cut": the connection is gone; "ended": its nanny's account is awaited; "silent"; "paused"; "retiring". """
    seconds: float
    patience_s: float | None = None
    """For how much longer it is waited for."""
    of: str = ""
    """The input that it alone holds; "" where the task itself is on it."""

    @property
    def sentence(self) -> str:
        """What is the matter."""
        held = f"worker {self.worker!r}, which alone has its input {quoted(self.of)}," if self.of else None
        where = held or f"it is on worker {self.worker!r}, which"
        ago = span(self.seconds)
        told = {
            "cut": f"has been cut off for {ago}",
            "ended": f"ended {ago} ago (its nanny's account is awaited)",
            "silent": f"has given no sign of life for {ago}: it is stopped, or a task there does not let go of the GIL",
            "paused": "has paused, as its memory is short",
            "retiring": "is to leave, and starts nothing more",
        }[self.status]
        wait = "" if self.patience_s is None else f"; it is waited for for {span(max(0.0, self.patience_s))} more"
        return f"{where} {told}{wait}"


class Recalled(Struct, frozen=True, tag="recalled", tag_field="cause"):
    """Its worker was asked to give it back."""

    worker: str
    seconds: float

    @property
    def sentence(self) -> str:
        """What is the matter."""
        return (
            f"worker {self.worker!r}, where it has been for {span(self.seconds)} without being started, was asked to "
            "give it back, so that another can run it; the answer is awaited"
        )


class Outside(Struct, frozen=True, tag="outside", tag_field="cause"):
    """It has left its thread to wait for something itself."""

    worker: str
    seconds: float
    waits: tuple[Input, ...] = ()
    """What the tasks of its worker wait for."""
    total: int = 0

    @property
    def sentence(self) -> str:
        """What is the matter."""
        left = f"it has been on worker {self.worker!r} for {span(self.seconds)}, and has left its thread to wait"
        if not self.total:
            return f"{left} (or is a coroutine)"
        names = listed([str(each) for each in self.waits], self.total)
        return f"{left}; tasks of that worker wait for {names}"


class Locked(Struct, frozen=True, tag="locked", tag_field="cause"):
    """A task of its worker, perhaps this one, waits for a lock or semaphore."""

    name: str
    seconds: float
    holders: tuple[str, ...]
    """Workers whose tasks hold it, or clients."""
    before: int = 0
    """How many wait longer for it."""
    surely: bool = False
    """Whether it is this task that waits."""

    @property
    def sentence(self) -> str:
        """What is the matter."""
        who = "it" if self.surely else "a task of that worker"
        behind = f", behind {count_of(self.before, 'other')}" if self.before else ""
        what = f"the lock or semaphore {quoted(self.name)}"
        return f"{who} has waited for {what} for {span(self.seconds)}{behind}; it is held by {listed(self.holders)}"


# ---------------------------------------------------------------- there is nothing to wait for


class Settled(Struct, frozen=True, tag="settled", tag_field="cause"):
    """It is done."""

    nbytes: int
    holders: tuple[str, ...] = ()
    with_scheduler: bool = False

    @property
    def sentence(self) -> str:
        """Where the result is."""
        where = [f"worker {name!r}" for name in self.holders]
        where += ["the scheduler"] if self.with_scheduler else []
        return f"it is done: its result ({in_bytes(self.nbytes)}) is with {listed(where)}"


class Erred(Struct, frozen=True, tag="erred", tag_field="cause"):
    """It has failed, or what it depends on has."""

    root: str
    error: str
    """The last line of what was raised."""
    is_root: bool
    deaths: tuple[str, ...] = ()
    """Accounts of the workers that ended while it ran."""

    @property
    def sentence(self) -> str:
        """What has failed."""
        if not self.is_root:
            return f"it was not run: {quoted(self.root)}, which it depends on, has failed: {self.error}"
        told = f"its error is {self.error}"
        return f"{told} Its workers: {'; '.join(self.deaths)}." if self.deaths else told


class Unneeded(Struct, frozen=True, tag="unneeded", tag_field="cause"):
    """Nobody needs it now; the scheduler knows how to make it."""

    dependents: int

    @property
    def sentence(self) -> str:
        """Why it is kept."""
        what = count_of(self.dependents, "task was made of it", "tasks were made of it")
        return f"nobody needs its result now; it is remembered, as {what}, and would be made again for that"


Cause: TypeAlias = Union[  # noqa: UP007 (a name in it is a string)
    Obstacle,
    Queued,
    Busy,
    Held,
    Soon,
    Inputs,
    Running,
    Threadless,
    Fetching,
    Following,
    Away,
    Recalled,
    Outside,
    Locked,
    Settled,
    Erred,
    Unneeded,
]
