"""When queued tasks are sent, and to which of the workers with room.

What lives here: the hand-out at the end of each tick, and look-ahead. What this file must never know: results,
failures, clients.

Late binding: a worker is sent what its threads can start at once, and beyond that only as much as is expected to take
``pipeline_s`` a thread, which hides the round trip of short tasks and keeps long ones in the scheduler's hands, where a
worker that comes late finds them. Hand-outs are contiguous runs, so that siblings that will be combined tend to
share a worker. Look-ahead sends a task whose missing inputs are all on one worker after them: chains and trees then
go at the speed of that worker's threads, with no round trip.
"""

from __future__ import annotations

from itertools import islice

from windrow.scheduler.fitting import fits
from windrow.scheduler.placement import is_allowed, move_s, pool_for
from windrow.scheduler.state import MEMORY, PROCESSING, WAITING, State, Task, WorkerRecord
from windrow.scheduler.transitions import step

AHEAD_INPUTS_MAX = 32
"""Tasks with more inputs than this are not looked ahead to: the check walks the inputs."""

TAKE_OVER_MARGIN_S = 0.001
"""What taking a task from another worker's own queue costs beside moving its inputs."""


def dispatch(state: State) -> None:
    """Hand queued tasks to workers with room: first to free threads, then into pipelines."""
    if state.ahead:
        look_ahead(state)
    if (state.idle or state.open) and (state.queue or state.local or state.pools):
        # A share is of one queue, and a worker takes of several: what is left over is for threads that are still free.
        while _hand_out(state, state.idle) and state.idle and (state.queue or state.local or state.pools):
            pass
        _hand_out(state, state.open)


def _hand_out(state: State, workers: dict[WorkerRecord, None]) -> bool:
    """One pass over some workers, each getting its share of the common queue as one contiguous run.

    Return whether anything was handed out.
    """
    if not workers:
        return False
    handed = False
    queue = state.queue
    share = -(-len(queue) // (len(state.idle) + len(state.open)))
    owners = [worker for worker in state.local if worker in workers]
    pooled = sum([len(pool) for pool in state.pools.values()])
    takers = islice(workers, len(queue) + sum(len(worker.local) for worker in state.local) if not pooled else None)
    for worker in dict.fromkeys([*owners, *takers]):
        count = max(share, len(worker.local), pooled, 1)
        free_threads = worker.threads - len(worker.processing)
        if 0 < free_threads < count and not _is_short(state, worker):
            count = free_threads
        while count > 0 and has_room(state, worker):
            task = _next_for(state, worker)
            if task is None:
                break
            assign(state, task, worker)
            handed = True
            count -= 1
        if state.ahead:
            look_ahead(state)
    return handed


def _is_short(state: State, worker: WorkerRecord) -> bool:
    """Say whether what comes next is so short that a run of it fits into a pipeline."""
    head = worker.local.head() or state.queue.head()
    return head is not None and head.expected_s < state.config.pipeline_s


def has_room(state: State, worker: WorkerRecord) -> bool:
    """Say whether a worker should be sent more: a thread is free, or its pipeline is not full."""
    if len(worker.processing) < worker.threads:
        return True
    return worker.expected_s < worker.threads * state.config.pipeline_s and not worker.stalled


def assign(state: State, task: Task, worker: WorkerRecord) -> None:
    """Start a queued or waiting task on a worker, and note who may follow it there."""
    task.worker = worker
    step(state, task, PROCESSING)
    if task.dependents:
        state.ahead.extend(task.dependents)


def look_ahead(state: State) -> None:
    """Send tasks after their missing inputs, where all of those are on one worker with room."""
    ahead = state.ahead
    while ahead:
        task = ahead.popleft()
        if task.state is WAITING and task.restriction is None and len(task.inputs) <= AHEAD_INPUTS_MAX:
            worker = _common_worker(task)
            if worker is not None and worker.status == "running" and has_room(state, worker):
                assign(state, task, worker)


def _common_worker(task: Task) -> WorkerRecord | None:
    """Return the one worker on which all missing inputs are being made, if the others are at hand there too."""
    common: WorkerRecord | None = None
    for source in task.inputs:
        if source.state is PROCESSING:
            if common is None:
                common = source.worker
            elif source.worker is not common:
                return None
            if common is not None and source in common.seceded:  # it may wait for others, and those for a thread
                return None
        elif source.state is not MEMORY:
            return None
    if common is not None:
        for source in task.inputs:
            if source.state is MEMORY and source.value is None and common not in source.holders:
                return None
    return common


def _next_for(state: State, worker: WorkerRecord) -> Task | None:
    """Take the next task for a worker: the better of its own queue's and the common queue's first, else another's."""
    own, common = worker.local.head(), state.queue.head()
    if state.pools and (pool := pool_for(state, worker)) is not None:
        first = pool.head()
        assert first is not None
        others = [task for task in (own, common) if task is not None]
        if all((-first.priority, first.id) < (-task.priority, task.id) for task in others):
            return pool.pop()
    if own is None and common is None:
        state.local.pop(worker, None)
        return _take_over(state, worker) if len(worker.processing) < worker.threads else None
    if common is None or (own is not None and (-own.priority, own.id) < (-common.priority, common.id)):
        return worker.local.pop()
    return state.queue.pop()


def _take_over(state: State, worker: WorkerRecord) -> Task | None:
    """Take for an idle worker the first task of the longest own queue of another, if moving its inputs pays."""
    if not state.local:
        return None
    victim = max(state.local, key=lambda other: len(other.local))
    task = victim.local.head()
    if task is None:
        del state.local[victim]
        return None
    if task.restriction is not None and not is_allowed(worker, task.restriction):
        return None
    if not fits(state, task, worker):
        return None
    if len(victim.processing) < victim.threads:
        return None  # it is about to start it itself
    wait_s = max(victim.expected_s / victim.nthreads, state.now_s - victim.progress_s)
    return victim.local.pop() if wait_s > move_s(state, task, worker) + TAKE_OVER_MARGIN_S else None
