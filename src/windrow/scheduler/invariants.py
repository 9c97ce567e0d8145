"""What must be true of the scheduler's state between any two messages, recomputed from scratch.

What lives here: `check_invariants`, for tests and the virtual cluster; production never calls it. What this file must
never know: how to repair anything.
"""

from __future__ import annotations

import math

from windrow.scheduler import copies
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
from windrow.wire.messages import Key

ACTIVE = frozenset((WAITING, QUEUED, PROCESSING))


def check_invariants(state: State) -> None:
    """Raise AssertionError, naming task and fact, if two sides of any fact disagree.

    It runs after every step of every seed, which is why it is written out in loops: generators cost twice as much.
    """
    assert not state.agenda, "decisions are left over"
    tasks = state.tasks
    assert len(state.by_id) == len(tasks), "the two tables of tasks differ"
    for key, task in tasks.items():
        assert task.key == key
        assert state.by_id.get(task.id) is task, f"{task} is not in the table by id"
        _check_links(tasks, task)
        _check_state(state, task)
    for worker in state.workers.values():
        _check_worker(state, worker)
    for client in state.clients.values():
        for task in client.wants:
            assert client in task.clients, (client, task)
            assert tasks.get(task.key) is task, (client, task)
    copies.check(state)
    _check_cuts(state)
    _check_tables(state)
    for service in state.desk.services.values() if state.desk is not None else ():
        service.check()


def _check_links(tasks: dict[Key, Task], task: Task) -> None:
    for source in task.inputs:
        assert source.dependents is not None, (task, source)
        assert task in source.dependents, (task, source)
        assert tasks.get(source.key) is source, f"{task} depends on {source}, which is forgotten"
    waiters = 0
    if task.dependents:
        for follower in task.dependents:
            assert task in follower.inputs, (task, follower)
            if follower.state in ACTIVE:
                waiters += 1
    assert task.waiters == waiters, f"{task} counts {task.waiters} waiters of {waiters}"
    for client in task.clients:
        assert task in client.wants, (task, client)
    if task.clients or waiters:
        assert task.state is not RELEASED, f"{task} is needed, and nobody makes it"
    else:
        assert task.dependents, f"{task} is kept for nobody"
        assert task.state is RELEASED, f"{task} is not needed"


def _check_state(state: State, task: Task) -> None:
    now = task.state
    assert now in STATES, task
    assert (task.worker is not None) == (now is PROCESSING), task
    assert (task.failure is not None) == (now is ERRED), task
    assert (task.value is not None or bool(task.holders)) == (now is MEMORY), task
    if task.actor:
        homes = [holder for holder in task.holders if task in holder.actors]
        assert len(homes) == (now is MEMORY), f"{task}, an actor, lives on {homes}"
        assert (task.value is not None) == (now is MEMORY), f"{task}, an actor, has no proxy"
        assert task not in state.spent or now in (RELEASED, ERRED), f"{task}, an actor, is made again"
    assert (task.queue is not None or task in state.unrunnable) == (now is QUEUED), task
    if now not in ACTIVE:
        assert task.missing == 0, task
        return
    absent = [source for source in task.inputs if source.state is not MEMORY] if task.inputs else []
    assert task.missing == len(absent), f"{task} counts {task.missing} missing inputs of {absent}"
    if now is WAITING:
        assert absent, f"{task} waits for nothing"
        for source in absent:
            assert source.state not in (RELEASED, ERRED), f"{task} waits in vain for {source}"
    elif now is QUEUED:
        assert not absent, f"{task} is queued without {absent}"
    else:
        for source in absent:
            assert source.worker is task.worker, f"{task} was sent ahead of {source}"


def _check_worker(state: State, worker: WorkerRecord) -> None:
    assert worker.status in ("running", "paused", "closing_gracefully", "lost"), worker
    assert worker.status not in ("running", "paused") or (worker.status == "paused") == worker.paused, worker
    for task in worker.processing:
        assert task.worker is worker, (worker, task)
        assert task.state is PROCESSING, (worker, task)
    for task in worker.holds:
        assert worker in task.holders, (worker, task)
        assert task.state is MEMORY, (worker, task)
    stored = sum([task.nbytes for task in worker.holds])
    assert worker.stored == stored, f"{worker} counts {worker.stored} bytes of {stored}"
    for task in worker.actors:
        assert task in worker.holds, f"{worker} has let go of {task}, which lives there"
    expected = sum(task.cost_s for task in worker.processing)
    assert math.isclose(worker.expected_s, expected, abs_tol=1e-6), (
        f"{worker} expects {worker.expected_s}, not {expected}"
    )
    for task in worker.recalled:
        assert task in worker.processing, (worker, task)
    for task in worker.seceded:
        assert task in worker.processing, (worker, task)
    used: dict[str, float] = {}
    takers = [*worker.haunted.values(), *[task.restriction.resources for task in worker.processing if task.restriction]]
    for resources in takers:
        for name, quantity in resources:
            used[name] = used.get(name, 0.0) + quantity
    for name, quantity in used.items():
        assert math.isclose(worker.used[name], quantity, abs_tol=1e-6), (worker, name)
        supply = max(worker.resources.get(name, 0.0), worker.lent.get(name, 0.0))
        assert quantity <= supply + 1e-6, f"{worker} is given more {name} than it has"
    free_thread = worker.status == "running" and len(worker.processing) < worker.threads
    assert (worker in state.idle) == free_thread, worker
    assert not (worker in state.idle and worker in state.open), worker
    if len(worker.local):
        assert worker in state.local, worker


def _check_cuts(state: State) -> None:
    for peer in [*state.workers.values(), *state.clients.values(), *state.nannies.values()]:
        assert (peer in state.cut) == (peer.cut_s is not None), f"{peer} is away, or is not"
    for peer in state.cut:
        if isinstance(peer, WorkerRecord):
            assert state.workers.get(peer.address) is peer, f"{peer} is gone, and waited for"
            assert peer.status == "lost", f"{peer} is away"
            assert peer.account is None, f"{peer} has ended, and is waited for"
            assert not len(peer.local), f"{peer} is away, and tasks stand in its own queue"
        else:
            here = peer in state.clients.values() or peer in state.nannies.values()
            assert here, f"{peer} is gone, and waited for"
    for worker in state.workers.values():
        assert not worker.suspected or worker in state.cut, f"{worker} is there, and suspected to have died"


def _check_tables(state: State) -> None:
    present = dict.fromkeys(state.workers.values())
    for worker in [*state.idle, *state.open, *state.local]:
        assert worker in present, f"{worker} is gone, but still listed"
    queued = {id(queue): 0 for queue in [*state.pools.values(), state.queue, *(worker.local for worker in present)]}
    of_function: dict[int, int] = {}
    of_queued: dict[int, int] = {}
    restricted = 0
    for task in state.tasks.values():
        if task.queue is not None:
            assert id(task.queue) in queued, f"{task} is in a queue of nobody"
            queued[id(task.queue)] += 1
        for holder in task.holders:
            assert holder in present, f"{task} is held by {holder}, which is gone"
            assert task in holder.holds, (task, holder)
        if task.worker is not None:
            assert task.worker in present, f"{task} runs on {task.worker}, which is gone"
        if task.restriction is not None:
            restricted += 1
            assert task in state.restricted[task.restriction], f"{task} is not listed by what it asks for"
        elif task.state is QUEUED and task.function is not None:
            of_queued[task.function.id] = of_queued.get(task.function.id, 0) + 1
        if task.function is not None:
            of_function[task.function.id] = of_function.get(task.function.id, 0) + 1
    for queue in [*state.pools.values(), state.queue, *(worker.local for worker in present)]:
        count = queued[id(queue)]
        assert len(queue) == count, f"a queue counts {len(queue)} of {count}"
    assert sum(map(len, state.restricted.values())) == restricted, "a task is listed by what it asks for, and forgotten"
    for function in state.functions.values():
        count = of_function.get(function.id, 0)
        assert function.tasks == count, f"{function.name} counts {function.tasks} tasks of {count}"
        count = of_queued.get(function.id, 0)
        assert function.queued == count, f"{function.name} counts {function.queued} queued tasks of {count}"
        declared = sum(function.digest in client.declared for client in state.clients.values())
        assert function.declared == declared, f"{function.name} counts {function.declared} clients of {declared}"
