"""The task stream: what threads have done, kept while somebody looks, and who looks.

What lives here: `Recording`, its handlers, and `rows`, the answer to `TaskStream`. What this file must never know: how
rows are drawn, and whether tasks go well.

Who asks holds a lease for some time. While there is one, workers note what their threads do and say so (`Executed`);
when the last one is over they are told to stop. A lease for pages has workers pass over most short tasks, so that their
rows come at a bounded rate, and says how many were left out; a complete one has each task noted. What comes is kept in
columns, in chunks, of which the oldest one goes when there are too many rows. An id is a key by then: rows come before
word of their tasks' end.
"""

from __future__ import annotations

from array import array
from collections import deque
from math import inf
from typing import Any

from windrow.keys import Key
from windrow.scheduler.state import ObserverRecord, Peer, State, Unexpected, WorkerRecord
from windrow.wire.activity import ACTIONS, ERRED
from windrow.wire.messages import Executed, Record
from windrow.wire.requests import TaskStream

__all__ = [
    "PAGE_ROWS_PER_S",
    "ROWS_KEPT",
    "Recording",
    "clock_behind",
    "greet",
    "lapse",
    "leave",
    "on_executed",
    "rows",
]

ROWS_KEPT = 100_000
"""So many rows are kept; `SchedulerConfig.rows_kept`."""

PAGE_ROWS_PER_S = 1_000
"""About so many short tasks a second are noted for pages, by all workers together."""

PAGE_APART_S = 0.01
"""Where there are few workers: how far apart the short tasks are that a worker notes for pages."""

ANSWER_ROWS = 5_000
"""One answer has no more rows: making it takes some milliseconds."""

OBSERVER_LEASE_S = 60.0
"""Who only looks has nothing recorded for longer than this without asking again."""

CHUNK_ROWS = 1_000

SYNCHRONOUS_S = 0.005
"""Clocks that seem to differ by less are taken as equal: so long may a message be under way."""

GIVEN_UP = "(given up)"
"""Stands for the key of a task that was forgotten while its attempt went on."""


class Chunk:
    """Rows in columns; ``first`` is the number of the first one."""

    __slots__ = ("first", "functions", "keys", "kinds", "nbytes", "seconds", "starts", "threads", "words", "workers")

    def __init__(self, first: int) -> None:
        self.first = first
        self.keys: list[Key] = []
        self.functions: list[str] = []
        self.words: list[str] = []
        self.workers = array("i")
        self.kinds = array("b")
        self.threads = array("q")
        self.starts = array("d")
        self.seconds = array("d")
        self.nbytes = array("q")

    def __len__(self) -> int:
        return len(self.keys)


class Recording:
    """What is recorded, and for whom.

    Parameters
    ----------
    rows_kept
        How many rows are kept.

    Examples
    --------
    >>> recording = Recording(10)
    >>> recording.rows(since=0, count=5)["next"]
    0
    """

    def __init__(self, rows_kept: int = ROWS_KEPT) -> None:
        self.rows_kept = rows_kept
        self.apart_s: float | None = None
        """What workers were told (`Record`); None: nothing is noted."""
        self.leases: dict[tuple[Peer[Any], str], tuple[bool, float]] = {}
        """Whether it is complete, and until when it holds: by who has it, and its name."""
        self.end = 0
        """The number of the next row."""
        self.noted = 0
        """How many attempts have been noted, ever."""
        self.left_out = 0
        """How many attempts have ended meanwhile without a note."""
        self._chunks: deque[Chunk] = deque([Chunk(0)])
        self._workers: list[str] = []
        self._numbers: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Recording rows={self.end - self.first} leases={len(self.leases)}>"

    @property
    def first(self) -> int:
        """The number of the oldest row that is kept."""
        return self._chunks[0].first

    def wanted(self, now_s: float, workers: int) -> float | None:
        """Drop leases that are over; return what workers are to be told for the sake of the others."""
        for owner, (_, until_s) in list(self.leases.items()):
            if now_s >= until_s:
                del self.leases[owner]
        if not self.leases:
            return None
        if any(complete for complete, _ in self.leases.values()):
            return 0.0
        return max(PAGE_APART_S, workers / PAGE_ROWS_PER_S)

    def add(self, worker: str, behind_s: float, message: Executed, named: list[tuple[Key, str]]) -> None:
        """Take rows of a worker; ``named`` are the key and the function's name of each."""
        count = len(message.tasks)
        starts = array("d", [start + behind_s for start in message.starts] if behind_s else message.starts)
        threads, nbytes = array("q", message.threads), array("q", message.nbytes)
        number = self._numbers.get(worker)
        if number is None:
            number = self._numbers[worker] = len(self._workers)
            self._workers.append(worker)
        chunk = self._chunks[-1]
        if len(chunk) >= CHUNK_ROWS:
            chunk = Chunk(self.end)
            self._chunks.append(chunk)
            while self.end - self._chunks[1].first >= self.rows_kept:
                self._chunks.popleft()
        table = message.table
        chunk.keys += [key for key, _ in named]
        chunk.functions += [function for _, function in named]
        chunk.words += [table[word] for word in message.words]
        chunk.workers.extend([number] * count)
        chunk.kinds.extend(message.kinds)
        chunk.threads.extend(threads)
        chunk.starts.extend(starts)
        chunk.seconds.extend(message.seconds)
        chunk.nbytes.extend(nbytes)
        self.end += count
        self.noted += sum([kind <= ERRED for kind in message.kinds])
        self.left_out += message.left_out

    def rows(self, since: int, count: int) -> dict[str, Any]:
        """Return rows from a number on, as `rows` of this module says."""
        first = self.first
        since = min(max(first, self.end + since if since < 0 else since), self.end)
        end = min(self.end, since + max(0, min(count, ANSWER_ROWS)))
        columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        for chunk in self._chunks:
            start, stop = max(0, since - chunk.first), min(len(chunk), end - chunk.first)
            if start >= stop:
                continue
            for name, column in columns.items():
                column += getattr(chunk, name)[start:stop]
        return {
            "first": first,
            "since": since,
            "next": end,
            "end": self.end,
            "noted": self.noted,
            "left_out": self.left_out,
            "apart_s": self.apart_s,
            "addresses": self._workers,
            **columns,
        }


COLUMNS = ("keys", "functions", "words", "workers", "kinds", "threads", "starts", "seconds", "nbytes")


# ---------------------------------------------------------------- handlers


def rows(state: State, peer: Peer[Any], request: TaskStream) -> dict[str, Any]:
    """Answer with rows, and have more recorded.

    The numbers ``first`` and ``end`` say what is kept, ``since`` and ``next`` what is in this answer: ``next`` is what
    to ask for next. The columns are ``keys``, ``functions`` (names), ``words`` (the type of a result, or where a
    transfer came from), ``workers`` (places in ``addresses``), ``kinds`` (see `windrow.wire.activity`), ``threads``,
    ``starts`` (seconds since the epoch, on the scheduler's clock), ``seconds``, ``nbytes``. ``noted`` and ``left_out``
    count attempts since recording began; of two answers one after the other, the differences say how many of how many
    are shown. ``apart_s`` is 0 while every task is noted. ``now`` is the time.
    """
    recording = state.recording
    if recording is None:
        recording = state.recording = Recording(state.config.rows_kept)
    only_looks = isinstance(peer, ObserverRecord)
    keep_s = min(request.keep_s, OBSERVER_LEASE_S if only_looks else inf)
    if keep_s > 0:
        recording.leases[peer, request.lease] = (request.complete and not only_looks, state.now_s + keep_s)
    else:
        recording.leases.pop((peer, request.lease), None)
    _tell(state, recording)
    answer: dict[str, Any] = recording.rows(request.since, request.count)
    return {"now": state.epoch_s + state.now_s, **answer}


def lapse(state: State) -> None:
    """End what nobody asks for any more."""
    if state.recording is not None and state.recording.leases:
        _tell(state, state.recording)


def leave(state: State, peer: Peer[Any]) -> None:
    """A client has gone: it does not look any more."""
    recording = state.recording
    if recording is not None:
        for owner in [owner for owner in recording.leases if owner[0] is peer]:
            del recording.leases[owner]
        _tell(state, recording)


def greet(state: State, worker: WorkerRecord) -> None:
    """A worker has joined: it may have to note what it does."""
    recording = state.recording
    if recording is not None and recording.apart_s is not None:
        state.tell(worker, Record(recording.apart_s))


def _tell(state: State, recording: Recording) -> None:
    """Tell workers what to note, if that has changed."""
    apart_s = recording.wanted(state.now_s, len(state.workers))
    if apart_s != recording.apart_s:
        recording.apart_s = apart_s
        for worker in state.workers.values():
            state.tell(worker, Record(apart_s))


def on_executed(state: State, worker: WorkerRecord, message: Executed) -> None:
    """A worker says what its threads have done."""
    if state.recording is None:
        raise Unexpected("nobody has asked it to note what it does")
    columns = (message.kinds, message.threads, message.starts, message.seconds, message.nbytes, message.words)
    if any(len(column) != len(message.tasks) for column in columns):
        raise Unexpected("the columns of Executed differ in length")
    if not all(0 <= kind < len(ACTIONS) for kind in message.kinds):
        raise Unexpected("Executed has a kind that there is not")
    if not all(0 <= word < len(message.table) for word in message.words):
        raise Unexpected("Executed has a word that is not in its table")
    by_id = state.by_id
    named: list[tuple[Key, str]] = []
    for id in message.tasks:
        task = by_id.get(id)
        if task is None:
            named.append((GIVEN_UP, ""))
        else:
            named.append((task.key, "" if task.function is None else task.function.name))
    behind_s = worker.behind_s or 0.0
    try:
        state.recording.add(worker.address, 0.0 if abs(behind_s) < SYNCHRONOUS_S else behind_s, message, named)
    except OverflowError as error:
        raise Unexpected("Executed has a number beyond 64 bits") from error
    lapse(state)


def clock_behind(known_s: float | None, late_s: float) -> float:
    """Return how far a worker's clock is behind, out of what was known and how late its last word seemed to come.

    A word takes some time, and never comes before it is sent: so the least that was seen is the nearest to the truth.
    What is known gives way by 0.1 ms a heartbeat, which is more than clocks drift apart.

    Examples
    --------
    >>> clock_behind(clock_behind(None, 3.2), 3.5) < 3.21
    True
    """
    return late_s if known_s is None else min(late_s, known_s + 1e-4)
