"""Which workers' memory a task's inputs fit into; a task that fits nowhere is refused.

What lives here: the sizes, the comparison, and the refusal in words. What this file must never know: queues, moves.

A worker whose memory is too small for a task's inputs would be ended by its nanny in the middle of it, and the next one
too; the client would hear of killed workers, and not of the reason. Only large inputs count: those that travel inside
messages are small, and this way the tasks that take nothing else pay nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from math import inf

from windrow.errors import in_bytes
from windrow.scheduler.state import Failure, State, Task, WorkerRecord
from windrow.wire import failure

LARGEST_SHOWN = 3
"""So many inputs are named."""


def note_limits(state: State) -> None:
    """A worker has come or gone: look for the smallest memory anew."""
    limits = [worker.memory_limit for worker in state.workers.values() if worker.memory_limit > 0]
    state.least_memory = min(limits, default=inf) if state.config.guards_memory else inf


def needs(task: Task) -> int:
    """Return how many bytes of memory a task's large inputs take together."""
    return sum([source.nbytes for source in task.inputs if source.value is None])


def is_heavy(state: State, task: Task) -> bool:
    """Say whether there is a worker whose memory a task's inputs do not fit into."""
    return needs(task) > state.least_memory


def fits(state: State, task: Task, worker: WorkerRecord) -> bool:
    """Say whether a task's inputs fit into a worker's memory."""
    return not worker.memory_limit or not state.config.guards_memory or needs(task) <= worker.memory_limit


def refusal(task: Task, workers: Collection[WorkerRecord]) -> Failure:
    """Return the failure of a task that fits into none of the workers that may run it."""
    roomiest = max(workers, key=lambda worker: worker.memory_limit)
    large = sorted([source for source in task.inputs if source.value is None], key=lambda source: -source.nbytes)
    named = ", ".join(f"{source.key!r} ({in_bytes(source.nbytes)})" for source in large[:LARGEST_SHOWN])
    more = f" and {len(large) - LARGEST_SHOWN} more" if len(large) > LARGEST_SHOWN else ""
    may = "the one worker" if len(workers) == 1 else f"each of the {len(workers)} workers"
    error = MemoryError(
        f"Task {task.key!r} was not run: its inputs take {in_bytes(needs(task))} together, more than the memory "
        f"limit of {may} that may run it (the largest: {in_bytes(roomiest.memory_limit)}, worker {roomiest.name!r}). "
        f"They are {named}{more}. Split it into tasks of smaller inputs, or give workers more memory (memory_limit=); "
        "with distributed.worker.memory.terminate: false it is run in spite of this."
    )
    blob, text = failure.dump(error)
    return Failure(task.key, blob, text)
