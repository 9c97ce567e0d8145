"""Copies of values that are on their way from worker to worker, and those who wait for them.

What lives here: the table of `Copy` messages without an answer, both ends of each, and `Errand`, which goes on when its
copies have come to an end. What this file must never know: why a copy is made (replicas), or what is done with it.

A copy ends when its worker says `Copied`, when that worker goes, or when the value goes. In the last case the worker is
told to free it, and so an answer that crosses that message is known by its number to be out of date.

A copy may fail because what its holder was sent (`Put`) is still on the way there. So the holders are asked too, by a
`Copy` that names nobody to fetch from: it arrives behind what they were sent, and its answer is the truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from windrow.scheduler.state import MEMORY, State, Task, WorkerRecord
from windrow.wire.messages import Copied, Copy, Put, TaskId

_DONE: Any = object()


class Errand:
    """Something that takes several copies, and goes on when the last of them has come to an end.

    Examples
    --------
    >>> errand = Errand()
    >>> errand.go_on(State())
    >>> errand
    <Errand waits for 0 copies>
    """

    __slots__ = ("failures", "open", "steps")

    def __init__(self) -> None:
        self.steps: Iterator[None] = iter(())
        """What it does: a generator that yields where it has to wait for copies that it has started."""
        self.open = 0
        self.failures: dict[tuple[TaskId, str], int] = {}
        """How often a worker (by address) could not get a value."""

    def __repr__(self) -> str:
        return f"<Errand waits for {self.open} copies>"

    def go_on(self, state: State, task: Task | None = None) -> None:
        """Do the next step; ``task`` is there because agendas give one."""
        if not self.open and next(self.steps, _DONE) is not _DONE:
            assert self.open, "an errand waits, and nothing will wake it"


class Copying(Struct, eq=False):
    """One copy on its way."""

    number: int
    errands: list[Errand]


def start(state: State, task: Task, worker: WorkerRecord, errand: Errand | None, first: int = 0) -> None:
    """Have a worker hold a value: a small one is sent to it, another it fetches, trying the ``first`` holder first."""
    assert task.state is MEMORY
    if worker in task.holders:
        return
    if task.value is not None:
        state.tell(worker, Put(task.id, task.key, task.value))
        state.add_holder(task, worker)
        return
    holders = [holder.address for holder in task.holders]
    first %= len(holders)
    _ask(state, task, worker, holders[first:] + holders[:first], [] if errand is None else [errand])


def confirm(state: State, task: Task, worker: WorkerRecord, errands: list[Errand]) -> None:
    """Have a holder say whether it holds a value indeed."""
    assert worker in task.holders
    _ask(state, task, worker, [], errands)


def _ask(state: State, task: Task, worker: WorkerRecord, holders: list[str], errands: list[Errand]) -> None:
    under_way = state.copies.setdefault(task, {})
    copying = under_way.get(worker)
    if copying is None:
        state.next_copy += 1
        state.tell(worker, Copy(task.id, state.next_copy, task.key, holders, task.nbytes))
        copying = under_way[worker] = Copying(state.next_copy, [])
    copying.errands += errands
    for errand in errands:
        errand.open += 1


def answered(state: State, worker: WorkerRecord, message: Copied) -> Task | None:
    """Take an answer down; return the value's task, None if the copy was given up before."""
    task = state.by_id.get(message.task)
    copying = None if task is None else state.copies.get(task, {}).get(worker)
    if task is None or copying is None or copying.number != message.number:
        return None  # the worker has been told to free it
    if message.held:
        if worker not in task.holders:
            state.add_holder(task, worker)
    elif worker not in task.holders:
        for holder in task.holders:
            if holder.status != "lost":
                confirm(state, task, holder, copying.errands)
    _end(state, task, worker, failed=not message.held)
    return task


def give_up(state: State, task: Task) -> list[WorkerRecord]:
    """A value goes: so do its copies under way. Return the workers that are to free them."""
    workers = list(state.copies.get(task, ()))
    for worker in workers:
        _end(state, task, worker, failed=False)
    return workers


def stop(state: State, task: Task, worker: WorkerRecord) -> None:
    """This worker has been told to free a value that it was to fetch, too."""
    if worker in state.copies.get(task, ()):
        _end(state, task, worker, failed=True)


def worker_left(state: State, worker: WorkerRecord) -> None:
    """Copies to this worker will not arrive."""
    for task in [task for task, under_way in state.copies.items() if worker in under_way]:
        _end(state, task, worker, failed=True)


def is_silent(state: State, worker: WorkerRecord) -> bool:
    """Say whether a worker has given no sign of life for so long that nobody should wait for it."""
    return state.now_s - worker.last_seen_s > state.config.silence_s


def is_cut_off(state: State, task: Task) -> bool:
    """Say whether nobody who holds a value gives a sign of life."""
    return task.value is None and all(is_silent(state, holder) for holder in task.holders)


def look_for_silence(state: State) -> None:
    """Errands wait no longer for workers that are silent, nor for values that only such workers hold.

    What was asked stays asked: should the worker wake up, its answer is as good as any.
    """
    for task, under_way in list(state.copies.items()):
        cut_off = is_cut_off(state, task)
        for worker, copying in list(under_way.items()):
            if copying.errands and (cut_off or is_silent(state, worker)):
                _wake(state, task, worker, copying, failed=True)


def _end(state: State, task: Task, worker: WorkerRecord, failed: bool) -> None:
    under_way = state.copies[task]
    copying = under_way.pop(worker)
    if not under_way:
        del state.copies[task]
    _wake(state, task, worker, copying, failed)


def _wake(state: State, task: Task, worker: WorkerRecord, copying: Copying, failed: bool) -> None:
    errands, copying.errands = copying.errands, []
    for errand in errands:
        errand.open -= 1
        if failed:
            pair = task.id, worker.address
            errand.failures[pair] = errand.failures.get(pair, 0) + 1
        if not errand.open:
            state.agenda.append((errand.go_on, task))


def check(state: State) -> None:
    """Raise AssertionError if two sides of any fact about copies disagree."""
    waiting: dict[Errand, int] = {}
    for task, under_way in state.copies.items():
        assert under_way, f"{task} has an empty table of copies"
        assert state.by_id.get(task.id) is task, f"{task} is copied, and forgotten"
        assert task.state is MEMORY, f"{task} is copied, and not in memory"
        for worker, copying in under_way.items():
            assert state.workers.get(worker.address) is worker, f"{task} is copied to {worker}, which is gone"
            for errand in copying.errands:
                waiting[errand] = waiting.get(errand, 0) + 1
    for errand, count in waiting.items():
        assert errand.open == count, f"{errand} of {count}"
