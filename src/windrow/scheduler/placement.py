"""In which queue a task that could run stands, and what it would cost to run it somewhere.

What lives here: the choice of a queue, and the estimates that it rests on. What this file must never know: when a
queued task is sent (dispatch), results, failures, clients.

Small inputs travel with the task, so that one whose inputs are all small goes to any worker (the common queue); one
with large inputs stands in the own queue of the worker that can start it soonest, counting what must be moved; an
idle worker may take it from there.
"""

from __future__ import annotations

from math import inf

from windrow.runqueue import RunQueue
from windrow.scheduler import fitting
from windrow.scheduler.state import QUEUED, Restriction, State, Task, WorkerRecord
from windrow.wire.messages import STAYS

TINY = 1e-9
"""Sums of fractions of a resource may be off by so much."""

# ---------------------------------------------------------------- queues


def choose_queue(state: State, task: Task) -> None:
    """Put a task that could run into the common queue, a worker's own, or among those that nobody may run."""
    assert task.queue is None
    restriction = task.restriction
    if restriction is not None:
        is_heavy = bool(task.inputs) and fitting.is_heavy(state, task)
        if is_heavy and _is_too_heavy(state, task):
            return
        if restriction.resources:
            pool = state.pools.get(restriction)
            if pool is None:
                pool = state.pools[restriction] = RunQueue()
            pool.push(task)
            return
        allowed = [worker for worker in running(state) if is_allowed(worker, restriction)]
        if not allowed and restriction.allow_other_workers:
            allowed = running(state)
        if is_heavy:
            allowed = [worker for worker in allowed if fitting.fits(state, task, worker)]
        if not allowed:
            state.unrunnable[task] = None
            return
        _queue_locally(state, task, min(allowed, key=lambda worker: _start_in_s(state, task, worker)))
        return
    holders: dict[WorkerRecord, None] = {}
    for source in task.inputs:
        if source.value is None:
            holders.update(dict.fromkeys(source.holders))
    if holders and fitting.is_heavy(state, task):
        _queue_heavy(state, task)
        return
    candidates = [worker for worker in holders if worker.status == "running"]
    if not candidates:
        state.queue.push(task)
        return
    for worker in state.idle:  # one that could start now competes with those that hold the inputs
        candidates.append(worker)
        break
    _queue_locally(state, task, min(candidates, key=lambda worker: _start_in_s(state, task, worker)))


def set_aside(state: State, task: Task) -> None:
    """Have a queued task wait until a worker joins or comes back."""
    if task.queue is not None:
        task.queue.remove(task)
        state.unrunnable[task] = None


def _queue_heavy(state: State, task: Task) -> None:
    """Put a task that does not fit everywhere where it does; while nobody like that runs, among those that wait."""
    if _is_too_heavy(state, task):
        return
    able = [worker for worker in running(state) if fitting.fits(state, task, worker)]
    if able:
        _queue_locally(state, task, min(able, key=lambda worker: _start_in_s(state, task, worker)))
    else:
        state.unrunnable[task] = None


def _is_too_heavy(state: State, task: Task) -> bool:
    """Say whether a task fits into none of the workers that may run it; then it is about to be refused."""
    if not too_small(state, task):
        return False
    from windrow.scheduler.transitions import refuse  # that module is made of this one

    state.unrunnable[task] = None
    state.agenda.append((refuse, task))
    return True


def too_small(state: State, task: Task) -> list[WorkerRecord]:
    """Return the workers that may run a task, if it fits into none of them; else none."""
    allowed = [worker for worker in state.workers.values() if worker.is_alive and _may_run(state, task, worker)]
    return [] if any(fitting.fits(state, task, worker) for worker in allowed) else allowed


def _may_run(state: State, task: Task, worker: WorkerRecord) -> bool:
    restriction = task.restriction
    if restriction is None or is_allowed(worker, restriction):
        return True
    others = [other for other in state.workers.values() if other.is_alive and is_allowed(other, restriction)]
    return restriction.allow_other_workers and not others


def _queue_locally(state: State, task: Task, worker: WorkerRecord) -> None:
    worker.local.push(task)
    state.local[worker] = None


def running(state: State) -> list[WorkerRecord]:
    """Return the workers that may be sent tasks."""
    return [worker for worker in state.workers.values() if worker.status == "running"]


def is_allowed(worker: WorkerRecord, restriction: Restriction) -> bool:
    """Say whether a restriction names this worker, by address, name or host, and it has what is asked for at all."""
    for name, quantity in restriction.resources:
        if worker.resources.get(name, 0.0) < quantity:
            return False
    names = restriction.workers
    return names is None or worker.address in names or str(worker.name) in names or worker.host in names


def has_free(worker: WorkerRecord, restriction: Restriction) -> bool:
    """Say whether a worker's resources, less what its tasks take, are enough for one more."""
    used, supply = worker.used, worker.resources
    for name, quantity in restriction.resources:
        if used.get(name, 0.0) + quantity > supply.get(name, 0.0) + TINY:
            return False
    return True


def pool_for(state: State, worker: WorkerRecord) -> RunQueue[Task] | None:
    """Return the queue of those that take resources whose first task is the first that this worker may start now."""
    best: RunQueue[Task] | None = None
    first: Task | None = None
    for restriction, pool in list(state.pools.items()):
        head = pool.head()
        if head is None:
            del state.pools[restriction]
            continue
        if first is not None and (-first.priority, first.id) < (-head.priority, head.id):
            continue
        if not has_free(worker, restriction):
            continue
        if head.inputs and fitting.is_heavy(state, head) and not fitting.fits(state, head, worker):
            continue
        if not is_allowed(worker, restriction) and not (
            restriction.allow_other_workers and not any(is_allowed(other, restriction) for other in running(state))
        ):
            continue
        best, first = pool, head
    return best


def move_s(state: State, task: Task, worker: WorkerRecord) -> float:
    """Expected time to bring to a worker the large inputs that it lacks; infinite for what cannot be moved."""
    missing = 0
    for source in task.inputs:
        if source.value is None and worker not in source.holders:
            if source.value_type == STAYS:
                return inf
            missing += source.nbytes
    return missing / state.config.bandwidth


def _start_in_s(state: State, task: Task, worker: WorkerRecord) -> float:
    ahead = worker.expected_s + len(worker.local) * task.expected_s
    stall_s = state.now_s - worker.progress_s if worker.stalled else 0.0
    return stall_s + ahead / worker.nthreads + move_s(state, task, worker)


# ---------------------------------------------------------------- workers come and go


def add_worker(state: State, worker: WorkerRecord) -> None:
    """A worker has joined: it has room, and tasks that nobody could run are looked at again."""
    state.open_or_idle(worker)
    look_again(state)


def look_again(state: State) -> None:
    """Look again at the tasks that nobody could run."""
    stranded = list(state.unrunnable)
    state.unrunnable.clear()
    for task in stranded:
        assert task.state is QUEUED
        choose_queue(state, task)


def remove_worker(state: State, worker: WorkerRecord) -> None:
    """A worker is gone: nobody hands it anything, and its own queue finds other places."""
    state.open_or_idle(worker)
    state.local.pop(worker, None)
    while worker.local:
        choose_queue(state, worker.local.pop())
