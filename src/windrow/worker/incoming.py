"""What a worker fetches from its peers: in which order it is asked for, and how much is under way at a time.

What lives here: `Incoming` and its `Limits`. What this file must never know: sockets, who answers, what a value is.

Values are asked for in the order of the tasks that need them. The first that there is no room for waits, and all behind
it, so that a large one is not overtaken for ever. With nothing under way there is always room for one, however large.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf
from typing import TypeAlias

from msgspec import Struct

from windrow.wire.messages import TaskId

Rank: TypeAlias = tuple[float, int]
"""Low first: a task's priority, negated, and its id."""

LAST: Rank = (inf, 0)
"""The rank of what no task waits for."""


class Limits(Struct, frozen=True):
    """How much may be under way at a time."""

    questions: int = 10
    """Questions to peers that have no answer yet."""
    bytes: float = inf
    """What these bring, together."""
    question_bytes: float = 50e6
    """What one question asks for."""


class Question(Struct, eq=False):
    """Values that one peer was asked for together."""

    open: int = 0
    bytes: int = 0


class Fetch(Struct, eq=False):
    """A value that is to come from a peer."""

    holders: list[str]
    """Those still to be asked, should the present one not have it."""
    tried: list[str]
    """Those that were asked; the last one is being asked, or about to be."""
    nbytes: int
    rank: Rank
    question: Question | None = None
    """None until it is asked for."""


class Incoming:
    """The values that a worker fetches.

    Parameters
    ----------
    limits
        How much may be under way.

    Examples
    --------
    >>> incoming = Incoming(Limits(bytes=100))
    >>> incoming.want(1, ["tcp://a"], 80, (0.0, 9))
    >>> incoming.want(2, ["tcp://a"], 80, (0.0, 8))
    >>> incoming.take(lambda id: True)
    [('tcp://a', [2])]
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.fetches: dict[int, Fetch] = {}
        self.questions = 0
        self.bytes = 0
        self.received = 0
        self.received_bytes = 0
        """What has come, ever."""
        self._queue: list[tuple[Rank, int]] = []
        """What is not asked for yet; an id may stand there twice, or be of no interest any more."""

    def __repr__(self) -> str:
        return f"<Incoming fetches={len(self.fetches)} questions={self.questions} bytes={self.bytes}>"

    def want(self, id: TaskId, holders: list[str], nbytes: int, rank: Rank) -> None:
        """Have a value fetched; one that is being fetched already comes once, and no later than for this rank."""
        fetch = self.fetches.get(id)
        if fetch is None:
            first = id % len(holders)  # spreads many readers over many holders, the same way in every run
            order = holders[first:] + holders[:first]
            self.fetches[id] = Fetch(order[1:], order[:1], nbytes, rank)
        elif fetch.question is None and rank < fetch.rank:
            fetch.rank = rank
        else:
            return
        heappush(self._queue, (rank, id))

    def answered(self, id: TaskId) -> Fetch | None:
        """Take a fetch out, as there is an answer to it; None if there is no such fetch."""
        fetch = self.fetches.pop(id, None)
        if fetch is not None and fetch.question is not None:
            question, fetch.question = fetch.question, None
            self.bytes -= fetch.nbytes
            question.open -= 1
            self.questions -= not question.open
        return fetch

    def ask_next(self, id: TaskId, fetch: Fetch) -> None:
        """Have the next of the holders asked, as the last one does not have it."""
        fetch.tried.append(fetch.holders.pop(0))
        self.fetches[id] = fetch
        heappush(self._queue, (fetch.rank, id))

    def take(self, is_wanted: Callable[[int], bool]) -> list[tuple[str, list[TaskId]]]:
        """Return what is to be asked now, as (address, ids); what is not wanted any more is forgotten."""
        if not self._queue:
            return []
        queue, limits = self._queue, self.limits
        asked: list[tuple[str, list[TaskId]]] = []
        latest: dict[str, tuple[Question, list[TaskId]]] = {}
        while queue:
            id = TaskId(queue[0][1])
            fetch = self.fetches.get(id)
            if fetch is None or fetch.question is not None:
                heappop(queue)
                continue
            if not is_wanted(id):
                heappop(queue)
                del self.fetches[id]
                continue
            if self.bytes and self.bytes + fetch.nbytes > limits.bytes:
                break
            address = fetch.tried[-1]
            question, ids = latest.get(address, (None, []))
            if question is None or question.bytes + fetch.nbytes > limits.question_bytes:
                if self.questions >= limits.questions:
                    break
                question, ids = latest[address] = Question(), []
                asked.append((address, ids))
                self.questions += 1
            heappop(queue)
            ids.append(id)
            fetch.question = question
            question.open += 1
            question.bytes += fetch.nbytes
            self.bytes += fetch.nbytes
        return asked

    def check(self) -> None:
        """Raise AssertionError if two sides of any fact disagree."""
        open = [fetch for fetch in self.fetches.values() if fetch.question is not None]
        questions = {id(fetch.question): fetch.question for fetch in open}
        assert self.bytes == sum(fetch.nbytes for fetch in open), f"{self} counts other bytes than {open}"
        assert self.questions == len(questions) <= self.limits.questions, f"{self} has other questions than {open}"
        assert self.bytes <= self.limits.bytes or sum(fetch.nbytes > 0 for fetch in open) == 1, (
            f"{self} asks for more than {self.limits}"
        )
        queued = {id for _, id in self._queue}
        for name, fetch in self.fetches.items():
            assert fetch.question is not None or name in queued, f"nobody will ask for {name}"
