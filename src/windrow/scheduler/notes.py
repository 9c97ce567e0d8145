"""What the scheduler remembers of tasks for those who ask later: a bounded number of rare events, and slow runs.

What lives here: `Notes`, with a word to write each kind of event down, and to find those of a task. What this file must
never know: why anything happens, or how it is told (``windrow.explanation``).

Nothing is written down for a task that is sent once, runs, and is quick. What is: ends of workers, losses, retries,
tasks given back, and runs of a tenth of a second and more, of which there cannot be many. The time of a submission is
not kept with each task: once a second it is noted which ids there were.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec import Struct

from windrow.wire.messages import TaskId

if TYPE_CHECKING:
    from windrow.explanation import Note

EVENTS_KEPT = 1000
RUNS_KEPT = 2000
MARKS_KEPT = 7200
TASKS_KEPT = 1000
"""So many tasks of one event are remembered."""

SLOW_S = 0.1
"""A run that takes so long is written down."""
MARK_S = 1.0
"""Submissions are told apart by this much."""


def last_line(text: str) -> str:
    """Return the line of a traceback that says what was raised.

    Examples
    --------
    >>> last_line("Traceback (most recent call last):\\n  File …\\nValueError: no such file\\nin /tmp\\n")
    'ValueError: no such file'
    """
    last = text.rpartition("Traceback (most recent call last)")[2]
    lines = [line for line in last.splitlines()[last is not text :] if line.strip()]
    return next((line.strip() for line in lines if not line.startswith(" ")), lines[-1].strip() if lines else "")


class Event(Struct, frozen=True):
    """Something that has happened to some tasks."""

    when_s: float
    what: str
    worker: str
    detail: str
    tasks: tuple[TaskId, ...]


class Run(Struct, frozen=True):
    """A run that took long."""

    task: TaskId
    done_s: float
    sent_s: float
    ran_s: float


class Notes:
    """The memory.

    Examples
    --------
    >>> notes = Notes()
    >>> notes.add(1.0, "lost", [7], "a", "its worker has ended")
    >>> [note.sentence for note in notes.of(7, now_s=3.0)]
    ['2 s ago its result was lost (its worker has ended)']
    """

    __slots__ = ("events", "marked_s", "marks", "runs")

    def __init__(self) -> None:
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self.runs: deque[Run] = deque(maxlen=RUNS_KEPT)
        self.marks: deque[tuple[int, float]] = deque(maxlen=MARKS_KEPT)
        """(the latest id there was, when), about once a second while tasks come."""
        self.marked_s = float("-inf")

    def __repr__(self) -> str:
        return f"<Notes events={len(self.events)} runs={len(self.runs)} marks={len(self.marks)}>"

    def add(self, now_s: float, what: str, tasks: Iterable[TaskId], worker: str = "", detail: str = "") -> None:
        """Write an event down; what it may be stands in `windrow.explanation.Note`."""
        some = tuple(tasks)[:TASKS_KEPT]
        if some:
            self.events.append(Event(now_s, what, worker, detail, some))

    def of(self, task: TaskId, now_s: float) -> tuple[Note, ...]:
        """Return what has happened to a task, the oldest first."""
        from windrow.explanation import Note

        return tuple(
            [
                Note(now_s - event.when_s, event.what, event.worker, event.detail)
                for event in self.events
                if task in event.tasks
            ]
        )

    def add_run(self, task: TaskId, done_s: float, sent_s: float, ran_s: float) -> None:
        """Write a slow run down."""
        self.runs.append(Run(task, done_s, sent_s, ran_s))

    def run_of(self, task: TaskId) -> Run | None:
        """Return a task's last slow run, if it is remembered."""
        return next((run for run in reversed(self.runs) if run.task == task), None)

    def mark(self, latest: int, now_s: float) -> None:
        """Note which ids there are, before more come."""
        self.marked_s = now_s
        if self.marks and self.marks[-1][0] == latest:
            self.marks.pop()
        self.marks.append((latest, now_s))

    def submitted_s(self, task: TaskId) -> float | None:
        """Return when a task came, to a second; None where that is not remembered."""
        marks = self.marks
        latest = int(task)
        place = bisect_left(marks, latest, key=lambda mark: mark[0])  # the first mark that has it already, or the end
        return marks[place - 1][1] if place else None
