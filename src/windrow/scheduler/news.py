"""What has happened in the scheduler, noted for plugins: nothing at all while there are none.

What lives here: the kinds of news, and the few lines that note them. What this file must never know: who reads them,
and when.

`State.news` is None until a plugin asks for news, and `State.moves` until one asks for each move of each task: so where
nobody asks, a task costs one comparison a move. They are the same list, so news keep the order of what happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from windrow.scheduler.state import MEMORY, PROCESSING, Parties, State, Task
from windrow.wire.messages import Graph, Key, Submit


class Moved(Struct, eq=False):
    """A task went from one state to another."""

    task: Task
    key: Key
    start: str
    finish: str
    worker: str | None
    """The address of the worker that it was on, or goes to."""
    seconds: float | None
    """How long its function took, where it has just ended."""
    nbytes: int


class Came(Struct, eq=False):
    """A client or a worker is there."""

    kind: Parties
    id: str
    """A worker's address, a client's id."""


class Left(Struct, eq=False):
    """A client or a worker is gone."""

    kind: Parties
    id: str


class Asked(Struct, eq=False):
    """A client has sent tasks."""

    client: str
    message: Submit | Graph
    wanted: Sequence[Key]


class Restarted(Struct, eq=False):
    """All tasks were forgotten."""


class Logged(Struct, eq=False):
    """An event was logged."""

    topics: list[str]
    event: Any


def note_move(state: State, task: Task, to: str) -> None:
    """Note a move that is about to be made: the task is still where it was."""
    assert state.moves is not None
    ended = task.state == PROCESSING
    worker = task.worker.address if task.worker is not None else None
    seconds, state.attempt_s = (state.attempt_s if ended else None), None
    nbytes = task.nbytes if to == MEMORY else 0
    state.moves.append(Moved(task, task.key, task.state, to, worker, seconds, nbytes))
