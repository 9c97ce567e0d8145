"""What must be true of the scheduler's state between any two messages, recomputed from scratch.

What lives here: `check_invariants`, for tests and the virtual cluster; production never calls it. What this file must
never know: how to repair anything.
"""

from __future__ import annotations

import math

from windrow.scheduler.state import (
    ERRED,
    MEMORY,
    PROCESSING,
    QUEUED,
    RELEASED,
    STATES,
    WAITING,
    State,
    Task,
    WorkerRecord,
)

ACTIVE = (WAITING, QUEUED, PROCESSING)


def check_invariants(state: State) -> None:
    """Raise AssertionError, naming task and fact, if two sides of any fact disagree."""
    assert not state.agenda, "decisions are left over"
    assert list(state.by_id.values()) == list(state.tasks.values()) or set(map(id, state.by_id.values())) == set(
        map(id, state.tasks.values())
    ), "the two tables of tasks differ"
    for key, task in state.tasks.items():
        assert task.key == key
        assert state.by_id[task.id] is task
        assert task.state in STATES, task
        _check_links(state, task)
        _check_state(state, task)
    for worker in state.workers.values():
        _check_worker(state, worker)
    for client in state.clients.values():
        for task in client.wants:
            assert client in task.clients, (client, task)
            assert state.tasks.get(task.key) is task, (client, task)
    _check_tables(state)


def _check_links(state: State, task: Task) -> None:
    for source in task.inputs:
        assert source.dependents is not None, (task, source)
        assert task in source.dependents, (task, source)
        assert state.tasks.get(source.key) is source, f"{task} depends on {source}, which is forgotten"
    for follower in task.dependents or ():
        assert task in follower.inputs, (task, follower)
    waiters = sum(follower.state in ACTIVE for follower in task.dependents or ())
    assert task.waiters == waiters, f"{task} counts {task.waiters} waiters of {waiters}"
    for client in task.clients:
        assert task in client.wants, (task, client)
    assert task.clients or task.waiters or task.dependents, f"{task} is kept for nobody"
    if not task.clients and not task.waiters:
        assert task.state is RELEASED, f"{task} is not needed"
    else:
        assert task.state is not RELEASED, f"{task} is needed, and nobody makes it"


def _check_state(state: State, task: Task) -> None:
    assert (task.worker is not None) == (task.state is PROCESSING), task
    assert (task.failure is not None) == (task.state is ERRED), task
    assert bool(task.holders or task.value is not None) == (task.state is MEMORY), task
    assert (task.queue is not None or task in state.unrunnable) == (task.state is QUEUED), task
    absent = [source for source in task.inputs if source.state is not MEMORY]
    if task.state in ACTIVE:
        assert task.missing == len(absent), f"{task} counts {task.missing} missing inputs of {absent}"
    else:
        assert task.missing == 0, task
    if task.state is WAITING:
        assert absent, f"{task} waits for nothing"
        assert not any(source.state in (RELEASED, ERRED) for source in absent), f"{task} waits in vain for {absent}"
    elif task.state is QUEUED:
        assert not absent, f"{task} is queued without {absent}"
    elif task.state is PROCESSING:
        assert all(source.worker is task.worker for source in absent), f"{task} was sent ahead of {absent}"


def _check_worker(state: State, worker: WorkerRecord) -> None:
    assert worker.status in ("running", "lost"), worker
    for task in worker.processing:
        assert task.worker is worker, (worker, task)
        assert task.state is PROCESSING, (worker, task)
    for task in worker.holds:
        assert worker in task.holders, (worker, task)
        assert task.state is MEMORY, (worker, task)
    expected = sum(task.cost_s for task in worker.processing)
    assert math.isclose(worker.expected_s, expected, abs_tol=1e-6), (
        f"{worker} expects {worker.expected_s}, not {expected}"
    )
    for task in worker.recalled:
        assert task in worker.processing, (worker, task)
    free_thread = worker.status == "running" and len(worker.processing) < worker.threads
    assert (worker in state.idle) == free_thread, worker
    assert not (worker in state.idle and worker in state.open), worker
    if len(worker.local):
        assert worker in state.local, worker


def _check_tables(state: State) -> None:
    present = list(state.workers.values())
    for worker in [*state.idle, *state.open, *state.local]:
        assert worker in present, f"{worker} is gone, but still listed"
    queues = [state.queue, *(worker.local for worker in present)]
    for queue in queues:
        count = sum(task.queue is queue for task in state.tasks.values())
        assert len(queue) == count, f"a queue counts {len(queue)} of {count}"
    for task in state.tasks.values():
        assert task.queue is None or any(task.queue is queue for queue in queues), f"{task} is in a queue of nobody"
        for holder in task.holders:
            assert holder in present, f"{task} is held by {holder}, which is gone"
            assert task in holder.holds, (task, holder)
        if task.state is PROCESSING:
            assert task.worker in present, f"{task} runs on {task.worker}, which is gone"
    for function in state.functions.values():
        count = sum(task.function is function for task in state.tasks.values())
        assert function.tasks == count, f"{function.name} counts {function.tasks} tasks of {count}"
        declared = sum(function.digest in client.declared for client in state.clients.values())
        assert function.declared == declared, f"{function.name} counts {function.declared} clients of {declared}"
