"""What `Client.explain` returns: facts of tasks, of a worker, or of everything, and the text that is made of them.

What lives here: the records, their words, and their form as plain data. What this file must never know: where facts
come from (``scheduler.explain``), or how they are shown.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from windrow.causes import Cause, Obstacle, count_of, listed, quoted, span
from windrow.errors import in_bytes

__all__ = [
    "ClusterExplanation",
    "Explanation",
    "Note",
    "Place",
    "Spent",
    "TaskExplanation",
    "TasksExplanation",
    "WorkerExplanation",
    "from_plain",
    "to_plain",
]

UNKNOWN = "unknown"
"""The state of a task that the scheduler does not know."""


class _Telling:
    """What all explanations do: their text is their repr, and their facts are plain data on request."""

    __slots__ = ()

    @property
    def lines(self) -> list[str]:
        """The text, a sentence or two each."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return "\n".join(self.lines)

    __str__ = __repr__

    def to_dict(self) -> dict[str, Any]:
        """Return all facts as plain data: dicts, lists, text and numbers; and the sentences under ``"text"``."""
        facts: dict[str, Any] = msgspec.to_builtins(self)
        return {**facts, "text": self.lines}


class Note(Struct, frozen=True):
    """Something rare that has happened to a task: why it was made, or sent, once more."""

    seconds: float
    """How long ago."""
    what: str
    """died, lost, raised, rescheduled, returned, missing, cut."""
    worker: str = ""
    detail: str = ""

    @property
    def sentence(self) -> str:
        """What has happened."""
        worker = f"worker {self.worker!r}"
        told = {
            "died": f"{worker} ended while it was there: {self.detail}",
            "lost": f"its result was lost ({self.detail})",
            "raised": f"it raised on {worker}, and is tried again: {self.detail}",
            "rescheduled": f"it asked on {worker} to be run again (Reschedule)",
            "returned": f"{worker} gave it back unstarted: {self.detail}",
            "missing": f"{worker} could not get its input {quoted(self.detail)} from those that were to have it",
            "cut": f"{worker}, where it was, was cut off and not back soon; it was given to another",
        }[self.what]
        return f"{span(self.seconds)} ago {told}"


class Place(Struct, frozen=True):
    """Why a task is on its worker."""

    worker: str
    reasons: tuple[str, ...]


class Spent(Struct, frozen=True):
    """What the time of a task went on, as far as it is known."""

    submitted_s: float | None = None
    """How long ago it was submitted; known to a second."""
    waited_s: float | None = None
    """From there until it was sent to a worker: for inputs, and in queues."""
    sent_s: float | None = None
    """How long ago it was sent to its worker."""
    on_worker_s: float | None = None
    """How long it was there, of one that is done."""
    ran_s: float | None = None
    """How long it ran, of one that is done: its worker's own measure."""

    @property
    def sentence(self) -> str:
        """Where the time has gone."""
        parts = []
        if self.submitted_s is not None:
            parts.append(f"submitted {span(self.submitted_s)} ago")
        if self.waited_s is not None:
            parts.append(f"{span(self.waited_s)} until it was sent to a worker (inputs, queues)")
        if self.ran_s is not None and self.on_worker_s is not None:
            rest_s = max(0.0, self.on_worker_s - self.ran_s)
            parts.append(f"{span(rest_s)} on the worker before or after it ran (transfers, waiting for a thread)")
            parts.append(f"{span(self.ran_s)} of running")
        elif self.sent_s is not None:
            parts.append(f"sent to its worker {span(self.sent_s)} ago")
        return ", ".join(parts)


class TaskExplanation(_Telling, Struct, frozen=True, kw_only=True, tag="task", tag_field="about"):
    """Why a task is where it is; printed, it is the text.

    Examples
    --------
    >>> from windrow.causes import Soon
    >>> TaskExplanation(key="inc-1", state="queued", causes=(Soon("a"),))
    'inc-1' is queued: worker 'a' has a thread free for it: it is handed out with the next batch.
    """

    key: str
    state: str
    """unknown, released, waiting, queued, processing, memory, erred."""
    function: str = ""
    priority: float = 0.0
    causes: tuple[Cause, ...] = ()
    """Why it is not done; or that it is, or has failed."""
    place: Place | None = None
    attempts: int = 0
    """How often it was sent to a worker."""
    history: tuple[Note, ...] = ()
    """Why it was made, or sent, more than once; the oldest first, as far as it is remembered."""
    spent: Spent | None = None
    clients: int = 0
    """How many clients want it."""
    dependents: int = 0
    futures: int = 0
    """How many futures of the asking client share its key."""
    detail: str = ""

    @property
    def lines(self) -> list[str]:
        """The text."""
        reasons = "; ".join(cause.sentence for cause in self.causes) or self.detail
        state = "has failed" if self.state == "erred" else f"is {_STATES.get(self.state, self.state)}"
        told = [f"{quoted(self.key)} {state}: {reasons}".rstrip(".") + "."]
        told += [f"  To do: {cause.remedy}." for cause in self.causes if isinstance(cause, Obstacle) and cause.remedy]
        if self.place is not None and self.place.reasons:
            told.append(f"  Why on worker {self.place.worker!r}: {'; '.join(self.place.reasons)}.")
        if self.attempts > 1 or self.history:
            told.append(f"  Attempts: {self.attempts}. {self._past()}")
        if self.spent is not None and (spent := self.spent.sentence):
            told.append(f"  Time: {spent}.")
        if self.futures > 1:
            told.append(
                f"  {self.futures:,} futures of this client share this key: equal calls are one task, which is run "
                "once; pass pure=False to run each."
            )
        if self.clients > 1:
            told.append(f"  {self.clients:,} clients want it.")
        return told

    def _past(self) -> str:
        if not self.history:
            return "Why it was sent again is not remembered any more."
        return " ".join(f"{note.sentence[:1].upper()}{note.sentence[1:]}.".replace("..", ".") for note in self.history)


_STATES = {"processing": "on a worker", "memory": "finished", "erred": "failed", "unknown": "not known"}


class Group(Struct, frozen=True):
    """Tasks with the same kind of cause, and one of them told in full."""

    count: int
    cause: str
    example: TaskExplanation

    @property
    def sentence(self) -> str:
        """How many there are, and what is true of one of them."""
        example = quoted(self.example.key)
        return f"{count_of(self.count, 'task')}, such as {example}, which{self.example.lines[0].removeprefix(example)}"


class TasksExplanation(_Telling, Struct, frozen=True, kw_only=True, tag="tasks", tag_field="about"):
    """Why several tasks are not done, summed up; printed, it is the text.

    Examples
    --------
    >>> TasksExplanation(states={"memory": 3})
    3 tasks: 3 finished. All are done.
    """

    states: dict[str, int]
    """How many there are in each state: those that were asked for, and what they need."""
    groups: tuple[Group, ...] = ()
    """What those wait for that are not done, the largest group first."""
    more: int = 0
    """How many were not looked at."""

    @property
    def lines(self) -> list[str]:
        """The text."""
        total = sum(self.states.values())
        states = ", ".join(f"{count:,} {_STATES.get(state, state)}" for state, count in self.states.items())
        told = [f"{count_of(total, 'task')}: {states}."]
        if not self.groups and UNKNOWN not in self.states:
            told[0] += " All are done."
        for group in self.groups:
            told.append(f"  {group.sentence}")
            told += ["  " + line for line in group.example.lines[1:] if line.startswith("  To do")]
        if self.more:
            told.append(f"  {count_of(self.more, 'task')} more not looked at.")
        return told


class WorkerExplanation(_Telling, Struct, frozen=True, kw_only=True, tag="worker", tag_field="about"):
    """What a worker does, and why it is given no more; printed, it is the text.

    Examples
    --------
    >>> WorkerExplanation(name="a", address="tcp://a", status="running", threads=2)
    Worker 'a' at tcp://a is running, and has 2 threads: 0 tasks are on it.
    """

    name: str
    address: str
    status: str
    threads: int
    processing: int = 0
    longest: str | None = None
    longest_s: float = 0.0
    own_queue: int = 0
    held: int = 0
    held_bytes: int = 0
    memory: int = 0
    memory_limit: int = 0
    silent_s: float = 0.0
    reasons: tuple[str, ...] = ()
    """Why it is given no more."""

    @property
    def lines(self) -> list[str]:
        """The text."""
        if self.status == UNKNOWN:
            return [f"Worker {self.name!r} is not known: {'; '.join(self.reasons) or 'there is no such worker'}."]
        threads = count_of(self.threads, "thread")
        told = f"Worker {self.name!r} at {self.address} is {self.status}, and has {threads}: "
        told += f"{count_of(self.processing, 'task is', 'tasks are')} on it"
        if self.longest is not None:
            told += f", for longest {quoted(self.longest)} ({span(self.longest_s)})"
        lines = [told + "."]
        lines += [f"  {reason[:1].upper()}{reason[1:]}." for reason in self.reasons]
        if self.held:
            limit = f" of {in_bytes(self.memory_limit)}" if self.memory_limit else ""
            process = f"; its process takes {in_bytes(self.memory)}{limit}" if self.memory else ""
            lines.append(f"  It holds {count_of(self.held, 'result')} ({in_bytes(self.held_bytes)}){process}.")
        return lines


class ClusterExplanation(_Telling, Struct, frozen=True, kw_only=True, tag="cluster", tag_field="about"):
    """Why nothing moves, or what does; printed, it is the text.

    Examples
    --------
    >>> ClusterExplanation(workers={"running": 2}, tasks=0)
    2 workers (2 running), 0 tasks: 0 queued, 0 on workers. Nothing is in the way of anything.
    """

    workers: dict[str, int]
    tasks: int
    queued: int = 0
    processing: int = 0
    stuck: tuple[Group, ...] = ()
    """What cannot go on, by cause."""
    idle: tuple[str, ...] = ()
    """Workers with free threads."""
    still_s: float | None = None
    """For how long no worker has finished anything, while something is to be done."""

    @property
    def lines(self) -> list[str]:
        """The text."""
        statuses = ", ".join(f"{count} {status}" for status, count in self.workers.items())
        count = count_of(sum(self.workers.values()), "worker")
        who = f"{count} ({statuses})" if statuses else count
        told = [f"{who}, {count_of(self.tasks, 'task')}: {self.queued:,} queued, {self.processing:,} on workers."]
        if self.still_s is not None:
            told[0] += f" No worker has finished anything for {span(self.still_s)}."
        if not self.stuck:
            told[0] += " Nothing is in the way of anything."
        for group in self.stuck:
            told.append(f"  {group.sentence}")
            told += ["  " + line for line in group.example.lines[1:] if line.startswith("  To do")]
        if self.idle:
            told.append(f"  Free threads: worker{'s' if len(self.idle) > 1 else ''} {listed(self.idle)}.")
        return told


Explanation: TypeAlias = TaskExplanation | TasksExplanation | WorkerExplanation | ClusterExplanation


def to_plain(explanation: Explanation) -> dict[str, Any]:
    """Return an explanation as plain data, with its text.

    Examples
    --------
    >>> from_plain(to_plain(TasksExplanation(states={"memory": 3})))
    3 tasks: 3 finished. All are done.
    """
    return explanation.to_dict()


def from_plain(facts: dict[str, Any]) -> Explanation:
    """Return the explanation that plain data stands for."""
    told: Explanation = msgspec.convert(facts, Explanation)
    return told
