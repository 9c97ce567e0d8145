"""How far the inputs of some tasks are: counted a few at a time, while somebody shows it.

What lives here: the service, the requests to it, and the count. What this file must never know: who looks, and how it
is shown.

A client knows of its own futures what it needs, and asks nobody. Of what these are made of it knows nothing: that is
all tasks that lead to them, and it is walked and counted here. Nothing is kept up to date for this while tasks run. At
each tick one of those who look is served, by no more than takes about 2 % of the time; who does not ask again costs
nothing more. A task that is done is not looked at again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterator
from itertools import islice
from typing import Any, ClassVar, Final

from msgspec import Struct

from windrow.keys import Key, prefix_of
from windrow.primitives.service import Question, Service
from windrow.scheduler.state import ERRED, FORGOTTEN, MEMORY, PROCESSING, RELEASED, Task
from windrow.wire.blobs import Blob
from windrow.wire.messages import TaskId

__all__ = ["CATEGORIES", "Follow", "Following", "Leave", "Look"]

STEP_TASKS = 1_500
"""How many are walked or counted at a tick, which is every 25 ms, and at each question."""
PATIENCE_S = 5.0
"""Who has not asked for so long is not counted for."""
NAMED_MAX = 2_000
"""So many keys are told at a time to who gives them names of its own."""
ROWS_MAX = 1_000
"""So many rows are told of; the others are one."""
OTHERS: Final = "…"

CATEGORIES: Final = ("done", "erred", "processing", "waiting", "dropped")
"""What is counted: has had its result; it, or what it depends on, raised; is on a worker; is to run; will not."""
DONE, FAILED, RUNNING, WAITING_, DROPPED = range(5)


class Follow(Struct, tag="follow", array_like=True):
    """Begin to count what leads to these keys, without the keys themselves; the answer is as that to `Look`.

    Unless ``complete``, what is done already is left out. With ``names`` who asks gives each task the name of its row.
    """

    number: int
    keys: list[Key]
    complete: bool = True
    names: bool = False


class Look(Struct, tag="look", array_like=True):
    """Answer: ``{"walked": whether all are found, "rows": {name: [count of each category]}, "unnamed": [key]}``.

    ``names`` are those of the first keys that were unnamed; None: the follower is not known (any more).
    """

    number: int
    names: list[str] = []


class Leave(Struct, tag="leave", array_like=True):
    """Nobody looks any more."""

    number: int


class Member:
    """A task that is counted, in which row, and as what."""

    __slots__ = ("category", "row", "task")

    def __init__(self, task: Task, row: list[int], category: int) -> None:
        self.task = task
        self.row = row
        self.category = category


def category_of(task: Task, cleared: Container[TaskId]) -> int:
    """Return what a task counts as; ``cleared`` are those that had erred before they were released."""
    state = task.state
    if state is MEMORY:
        return DONE
    if state is PROCESSING:
        return RUNNING
    if state is ERRED:
        return FAILED
    if state is RELEASED or state is FORGOTTEN:
        return FAILED if task.id in cleared else DONE if task.attempt else DROPPED
    return WAITING_


class Followed:
    """The count of one who looks.

    Parameters
    ----------
    request
        What is to be counted.
    """

    def __init__(self, request: Follow) -> None:
        self.asked_s = 0.0
        self.rows: dict[str, list[int]] = {}
        self._complete = request.complete
        self._names = request.names
        self._unnamed: deque[Member] = deque()
        self._told = 0
        self._keys = request.keys
        self._place = 0
        self._seen: set[int] = set()
        self._stack: list[Iterator[Task]] = []
        """What is left of the inputs of tasks on the way."""
        self._members: list[Member] = []
        self._at = 0
        self._kept: list[Member] = []
        """Those of this round that are to be looked at in the next one."""
        self._prefixes: dict[Key, str] = {}

    @property
    def is_walked(self) -> bool:
        """Whether all tasks are found."""
        return self._place >= len(self._keys) and not self._stack

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to be counted."""
        return self.is_walked and not self._members and not self._kept

    def step(self, tasks: dict[Key, Task], cleared: Container[TaskId], n: int) -> None:
        """Walk or count about ``n`` tasks."""
        while n > 0 and self._place < len(self._keys):
            n -= self._find_own(tasks, n)
        while n > 0 and self._stack:
            n -= 1
            self._walk(cleared)
        if n > 0 and not self._stack:
            self._count(cleared, n)

    def _find_own(self, tasks: dict[Key, Task], n: int) -> int:
        part = self._keys[self._place : self._place + n]
        for key in part:
            task = tasks.get(key)
            if task is not None and task.id not in self._seen:
                self._seen.add(task.id)
                if task.inputs:
                    self._stack.append(iter(task.inputs))
        self._place += len(part)
        return len(part)

    def _walk(self, cleared: Container[TaskId]) -> None:
        task = next(self._stack[-1], None)
        if task is None:
            self._stack.pop()
        elif task.id not in self._seen:
            self._seen.add(task.id)
            if task.inputs:
                self._stack.append(iter(task.inputs))
            self._take(task, category_of(task, cleared))

    def _take(self, task: Task, category: int) -> None:
        if category == DONE and not self._complete:
            return
        member = Member(task, self._row("" if self._names else self._prefix(task.key)), category)
        member.row[category] += 1
        if self._names:
            self._unnamed.append(member)
        if category != DONE:
            self._members.append(member)

    def _row(self, name: str) -> list[int]:
        row = self.rows.get(name)
        if row is None:
            if len(self.rows) >= ROWS_MAX and name:
                name = OTHERS
            row = self.rows.setdefault(name, [0] * len(CATEGORIES))
        return row

    def _prefix(self, key: Key) -> str:
        first = key[0] if type(key) is tuple else key
        prefix = self._prefixes.get(first)
        if prefix is None:
            prefix = prefix_of(first)
            if type(key) is tuple:  # many have this beginning
                self._prefixes[first] = prefix
        return prefix

    def _count(self, cleared: Container[TaskId], n: int) -> None:
        """Look at the next ``n`` that were not done when last looked at; those that are done now leave."""
        members, kept = self._members, self._kept
        for member in islice(members, self._at, self._at + n):
            category = category_of(member.task, cleared)
            if category != member.category:
                member.row[member.category] -= 1
                member.row[category] += 1
                member.category = category
            if category != DONE:
                kept.append(member)
        self._at += n
        if self._at >= len(members):
            self._members, self._kept, self._at = kept, [], 0

    def name(self, names: list[str]) -> None:
        """Put the first of those without a name into their rows."""
        for name in names[: self._told]:
            member = self._unnamed.popleft()
            member.row[member.category] -= 1
            member.row = self._row(name or OTHERS)
            member.row[member.category] += 1
        self._told = 0

    def unnamed(self) -> list[Key]:
        """Return the keys of the first of those without a name."""
        self._told = min(len(self._unnamed), NAMED_MAX)
        return [member.task.key for member in islice(self._unnamed, self._told)]


class Following(Service):
    """Counts for those who look."""

    name = "following"
    requests: ClassVar[Any] = Follow | Look | Leave

    def __init__(self, desk: Any) -> None:
        super().__init__(desk)
        self.state: Any = desk.state
        self.followed: dict[tuple[str, int], Followed] = {}
        """By client and number; who is to be served next comes first."""

    def ask(self, question: Question, request: Follow | Look | Leave, blobs: list[Blob]) -> None:
        """Answer with the count as it is, and count some more."""
        whose = question.client, request.number
        if isinstance(request, Leave):
            self._forget([whose])
            question.answer()
            return
        if isinstance(request, Follow):
            self.followed[whose] = Followed(request)
            if self.state.cleared is None:
                self.state.cleared = set()
        followed = self.followed.get(whose)
        if followed is None:
            question.answer()
            return
        if isinstance(request, Look):
            followed.name(request.names)
        followed.asked_s = self.desk.now_s
        followed.step(self.state.tasks, self.state.cleared, STEP_TASKS)
        rows = {name: list(row) for name, row in followed.rows.items() if any(row)}
        question.answer({"walked": followed.is_walked, "rows": rows, "unnamed": followed.unnamed()})

    @property
    def is_waiting(self) -> bool:
        """Whether something is to be counted."""
        return any(self._is_due(followed) for followed in self.followed.values())

    def _is_due(self, followed: Followed) -> bool:
        return not followed.is_settled and self.desk.now_s - followed.asked_s <= PATIENCE_S

    def tick(self) -> None:
        """Count for the next of those who look."""
        for whose, followed in self.followed.items():
            if self._is_due(followed):
                followed.step(self.state.tasks, self.state.cleared, STEP_TASKS)
                self.followed[whose] = self.followed.pop(whose)
                return

    def _forget(self, those: list[tuple[str, int]]) -> None:
        for whose in those:
            self.followed.pop(whose, None)
        if not self.followed:
            self.state.cleared = None

    def left(self, client: str) -> None:
        """It looks no more."""
        self._forget([whose for whose in self.followed if whose[0] == client])

    def restarted(self) -> None:
        """There are no tasks any more."""
        self._forget(list(self.followed))

    def check(self) -> None:
        """Each task is counted once."""
        assert (self.state.cleared is not None) is bool(self.followed), "errors are noted for who looks, and else not"
        for followed in self.followed.values():
            assert all(min(row) >= 0 for row in followed.rows.values()), "less than none is counted"
