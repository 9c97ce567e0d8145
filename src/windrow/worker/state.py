"""What a worker knows of one attempt, and of an actor.

What lives here: records. What this file must never know: threads, sockets, clocks.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from windrow.runqueue import RunQueue
from windrow.wire.blobs import Blob
from windrow.wire.messages import Key, TaskId

WAITING: Final = "waiting"  # some input is being fetched, or made on this worker
READY: Final = "ready"  # waits for a thread
RUNNING: Final = "running"


class Attempt(Struct, eq=False, weakref=True):
    """One attempt at one task, as `windrow.wire.messages.Run` described it."""

    id: TaskId
    number: int
    key: Key
    function: int
    args: Blob
    priority: float
    inline: bool
    inputs: list[TaskId]
    actor: bool = False
    takes: bool = False
    """Whether the scheduler wants to hear of its end even when it has freed it."""
    ahead: bool = False
    """Whether it was sent before all its inputs were made."""
    state: str = WAITING
    seceded: bool = False
    """Whether it runs, and takes no thread."""
    missing: int = 0
    values: list[object] | None = None
    """Its inputs' values, from the moment it runs."""
    queue: RunQueue[Attempt] | None = None


class Hosted(Struct, eq=False):
    """An actor that lives on this worker."""

    key: Key
    priority: float
    instance: object
