"""Why a task is where it is, found in the scheduler's state when somebody asks.

What lives here: facts of one task: why it is not done, why on this worker, why once more, what its time went on. What
this file must never know: how facts are put in words (``windrow.causes``, ``windrow.explanation``), who asks, and
anything that would have to be kept for this while tasks run (the little that is kept is in ``notes``).

`causes` finds at least one cause for each task that is not done, and each is something that goes on: a queue that
moves, a thread that is taken, an obstacle. The virtual cluster asks for them after its steps; a task without one is a
defect of the scheduler. Explanations of several tasks, of workers and of the whole are in ``overviews``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from windrow.causes import (
    Away,
    Busy,
    Cause,
    Erred,
    Fetching,
    Following,
    Held,
    Holder,
    Input,
    Inputs,
    Locked,
    Outside,
    Queued,
    Recalled,
    Running,
    Settled,
    Soon,
    Supply,
    Threadless,
    Unneeded,
    asked_for,
    count_of,
    listed,
)
from windrow.errors import in_bytes
from windrow.explanation import Place, Spent, TaskExplanation
from windrow.keys import label
from windrow.primitives.semaphore import Semaphores
from windrow.scheduler import copies, fitting, placement
from windrow.scheduler.notes import last_line
from windrow.scheduler.obstacles import may_run, obstacle
from windrow.scheduler.state import (
    ERRED,
    MEMORY,
    PROCESSING,
    QUEUED,
    RELEASED,
    WAITING,
    ClientRecord,
    Keeper,
    State,
    Task,
    WorkerRecord,
)

LISTED = 4
"""So many inputs, resources and holders are told of each by name."""
BELOW_MAX = 2000
"""So many of the tasks that one waits for, directly or not, are looked at."""


def task_facts(state: State, task: Task) -> TaskExplanation:
    """Return all that is known of one task."""
    return TaskExplanation(
        key=label(task.key),
        state=task.state,
        function="" if task.function is None else task.function.name,
        priority=task.priority,
        causes=causes(state, task),
        place=_place(state, task),
        attempts=task.attempt,
        history=state.notes.of(task.id, state.now_s),
        spent=_spent(state, task),
        clients=sum(not isinstance(client, Keeper) for client in task.clients),
        dependents=len(task.dependents or ()),
    )


def causes(state: State, task: Task) -> tuple[Cause, ...]:
    """Return why a task is not done, or that it is; never nothing."""
    found = _FINDERS[task.state](state, task)
    assert found, f"nobody knows why {task} is not done"
    return tuple(found)


# ---------------------------------------------------------------- queued


def _of_queued(state: State, task: Task) -> list[Cause]:
    if (obstructed := obstacle(state, task)) is not None:
        return [obstructed]
    queue = task.queue
    assert queue is not None, f"{task} is in no queue, and a worker could run it"
    ahead, higher = queue.before(task)
    restriction = task.restriction
    able = [worker for worker in placement.running(state) if may_run(state, task, worker)]
    owner = next((worker for worker in state.local if worker.local is queue), None)
    if owner is not None:
        able, name = [owner], str(owner.name)
    elif restriction is not None and restriction.resources:
        name = "resources"
        if not any(placement.has_free(worker, restriction) for worker in able):
            held = _held(state, task, able)
            return [held, _queued(task, name, ahead, higher, able)] if ahead else [held]
        able = [worker for worker in able if placement.has_free(worker, restriction)]
    else:
        name = "common"
    queued = _queued(task, name, ahead, higher, able, owner)
    with_room = next((worker for worker in able if len(worker.processing) < worker.threads), None)
    if with_room is None:
        return [queued, _busy(state, able)]
    return [queued] if ahead else [Soon(str(with_room.name))]


def _queued(
    task: Task, name: str, ahead: int, higher: int, able: list[WorkerRecord], owner: WorkerRecord | None = None
) -> Queued:
    threads = sum(worker.nthreads for worker in able) or 1
    gravity = 0 if owner is None else _large_inputs(task).get(owner, 0)
    return Queued(name, ahead, higher, ahead * task.expected_s / threads, gravity)


def _busy(state: State, able: list[WorkerRecord]) -> Busy:
    threads = sum(worker.threads for worker in able)
    at_work = [worker for worker in able if worker.processing]
    if not at_work:
        return Busy(len(able), threads)
    worker = min(at_work, key=lambda worker: next(iter(worker.processing.values())))
    task, since_s = next(iter(worker.processing.items()))
    return Busy(len(able), threads, label(task.key), str(worker.name), state.now_s - since_s)


def _held(state: State, task: Task, able: list[WorkerRecord]) -> Held:
    """What a task asks for is taken, on all workers that have it."""
    assert task.restriction is not None
    supplies = []
    for worker in able:
        for name, quantity in task.restriction.resources:
            total, used = worker.resources.get(name, 0.0), worker.used.get(name, 0.0)
            if used + quantity > total + placement.TINY:
                holders = _takers(state, worker, name)
                leaving = sum([q for taken in worker.haunted.values() for n, q in taken if n == name])
                supplies.append(Supply(str(worker.name), name, total, total - used, tuple(holders), leaving))
    return Held(asked_for(task.restriction.resources), tuple(supplies[:LISTED]), len(supplies))


def _takers(state: State, worker: WorkerRecord, name: str) -> list[Holder]:
    takers = []
    for task, since_s in worker.processing.items():
        for resource, quantity in task.restriction.resources if task.restriction is not None else ():
            if resource == name:
                takers.append(Holder(label(task.key), quantity, state.now_s - since_s))
    return takers


def may_run_now(state: State, task: Task, worker: WorkerRecord) -> bool:
    """Say whether a worker with a free thread could run a task at once."""
    restriction = task.restriction
    if not may_run(state, task, worker) or not fitting.fits(state, task, worker):
        return False
    return restriction is None or placement.has_free(worker, restriction)


# ---------------------------------------------------------------- waiting


def _of_waiting(state: State, task: Task) -> list[Cause]:
    missing = [source for source in task.inputs if source.state is not MEMORY]
    if not missing:  # what is between the last input and this task's turn takes no time
        return [Soon("")]
    below, bottom = _bottom(state, missing)
    names = tuple([_input(state, source) for source in missing[:LISTED]])
    if bottom is None:
        return [Inputs(len(missing), len(task.inputs), names, below)]
    root, depth = bottom
    why = causes(state, root)
    return [Inputs(len(missing), len(task.inputs), names, below, label(root.key), root.state, depth, why)]


def _input(state: State, source: Task) -> Input:
    worker = source.worker
    if worker is None:
        return Input(label(source.key), source.state)
    return Input(label(source.key), source.state, str(worker.name), state.now_s - worker.processing[source])


def _bottom(state: State, missing: list[Task]) -> tuple[dict[str, int], tuple[Task, int] | None]:
    """Return how many tasks are below, by state, and the one (and its depth) on which it hangs: it waits for no other.

    One that nobody can run comes first; then what is queued, then what runs, the oldest first.
    """
    seen: dict[Task, int] = dict.fromkeys(missing, 1)
    counts: dict[str, int] = {}
    best: tuple[int, int, Task] | None = None
    level = list(seen)
    while level:
        above: list[Task] = []
        for task in level:
            counts[task.state] = counts.get(task.state, 0) + 1
            if task.state is WAITING:
                for source in task.inputs:
                    if source.state is not MEMORY and source not in seen and len(seen) < BELOW_MAX:
                        seen[source] = seen[task] + 1
                        above.append(source)
                continue
            rank = {QUEUED: 1, PROCESSING: 2}.get(task.state, 3)
            if rank == 1 and (task in state.unrunnable or obstacle(state, task) is not None):
                rank = 0
            if best is None or (rank, task.id) < best[:2]:
                best = (rank, task.id, task)
        level = above
    return counts, None if best is None else (best[2], seen[best[2]])


# ---------------------------------------------------------------- on a worker


def _of_processing(state: State, task: Task) -> list[Cause]:
    worker = task.worker
    assert worker is not None
    name, seconds = str(worker.name), state.now_s - worker.processing[task]
    if (away := _away(state, worker)) is not None:
        return [away]
    found: list[Cause] = []
    if copies.is_silent(state, worker):
        found.append(Away(name, "silent", state.now_s - worker.last_seen_s))
    if worker.status == "closing_gracefully":
        found.append(Away(name, "retiring", seconds))
    if task.missing:
        made = [source for source in task.inputs if source.state is not MEMORY]
        return [*found, Following(name, tuple([label(source.key) for source in made[:LISTED]]), len(made))]
    if task in worker.recalled:
        return [*found, Recalled(name, seconds)]
    if task in worker.seceded:
        return [*found, *_outside(state, task, worker, seconds)]
    if fetching := _fetching(state, task, worker, seconds):
        return [*found, fetching]
    before = 0
    for other in worker.processing:
        if other is task:
            break
        before += other not in worker.seceded and not other.missing
    if before >= max(1, worker.threads - len(worker.seceded)):
        longest, since_s = next(iter(worker.processing.items()))
        if worker.status == "paused":
            found.append(Away(name, "paused", seconds))
        return [*found, Threadless(name, before, seconds, label(longest.key), state.now_s - since_s)]
    function = task.function
    if function is None or not function.count:
        return [*found, Running(name, seconds, "" if function is None else function.name)]
    return [*found, Running(name, seconds, function.name, function.expected_s, function.count)]


def _away(state: State, worker: WorkerRecord, of: str = "") -> Away | None:
    """Return that a worker is not there just now, if so."""
    name = str(worker.name)
    if worker.cut_s is not None:
        vouched = worker.nanny in state.nannies and state.nannies[worker.nanny].cut_s is None
        waited_s = state.now_s - worker.cut_s
        patience_s = worker.patience_s if vouched or of else min(worker.patience_s, state.config.silence_s)
        return Away(name, "cut", waited_s, patience_s - waited_s, of)
    if worker.status == "lost":
        waited_s = state.now_s - worker.lost_s
        return Away(name, "ended", waited_s, state.config.account_timeout_s - waited_s, of)
    return None


def _fetching(state: State, task: Task, worker: WorkerRecord, seconds: float) -> Cause | None:
    """Return which inputs a worker is still to get from others, if any."""
    lacking = [source for source in task.inputs if source.value is None and worker not in source.holders]
    if not lacking:
        return None
    for source in lacking:
        alone = source.holders[0] if len(source.holders) == 1 else None
        if alone is not None and (away := _away(state, alone, label(source.key))) is not None:
            return away
    holders = list(dict.fromkeys([holder for source in lacking for holder in source.holders]))
    silent = [str(holder.name) for holder in holders if copies.is_silent(state, holder) or not holder.is_alive]
    nbytes = sum([source.nbytes for source in lacking])
    names = tuple([str(holder.name) for holder in holders])
    return Fetching(str(worker.name), len(lacking), nbytes, seconds, names, tuple(silent))


def _outside(state: State, task: Task, worker: WorkerRecord, seconds: float) -> list[Cause]:
    """Say for what a task that has left its thread may wait: its worker's client knows of locks and of other tasks."""
    clients = [client for client in state.clients.values() if client.worker == worker.address]
    wanted = [other for client in clients for other in client.wants if other.state not in (MEMORY, ERRED)]
    waits = tuple([_input(state, other) for other in wanted[:LISTED]])
    found: list[Cause] = [Outside(str(worker.name), seconds, waits, len(wanted))]
    found += _locks(state, clients, surely=len(worker.seceded) == 1 and not wanted)
    return found


def _locks(state: State, clients: Iterable[ClientRecord], surely: bool) -> list[Locked]:
    service = state.desk.services.get(Semaphores.name) if state.desk is not None else None
    ids = {client.id for client in clients}
    if not isinstance(service, Semaphores) or not ids:
        return []
    found = []
    for record in service.records.values():
        for before, (question, since_s) in enumerate(record.waiting.values()):
            if question.client in ids:
                holders = tuple([_holder(state, lease.client) for lease in record.leases.values()])
                found.append(Locked(label(record.name), state.now_s - since_s, holders, before, surely))
                break
    return found


def _holder(state: State, id: str) -> str:
    client = state.clients.get(id)
    worker = None if client is None else state.workers.get(client.worker)
    return f"client {id}" if worker is None else f"a task on worker {str(worker.name)!r}"


# ---------------------------------------------------------------- done, or not to be done


def _of_memory(state: State, task: Task) -> list[Cause]:
    return [Settled(task.nbytes, tuple([str(holder.name) for holder in task.holders]), task.value is not None)]


def _of_erred(state: State, task: Task) -> list[Cause]:
    assert task.failure is not None
    deaths = tuple([account.sentence for account in task.deaths or ()])
    root = task.failure.root
    return [Erred(label(root), last_line(task.failure.text), root == task.key, deaths)]


def _of_released(state: State, task: Task) -> list[Cause]:
    return [Unneeded(len(task.dependents or ()))]


_FINDERS: dict[str, Callable[[State, Task], list[Cause]]] = {
    RELEASED: _of_released,
    WAITING: _of_waiting,
    QUEUED: _of_queued,
    PROCESSING: _of_processing,
    MEMORY: _of_memory,
    ERRED: _of_erred,
}


# ---------------------------------------------------------------- why here, and what the time went on


def _large_inputs(task: Task) -> dict[WorkerRecord, int]:
    """Return how many bytes of a task's large inputs each worker has."""
    there: dict[WorkerRecord, int] = {}
    for source in task.inputs:
        if source.state is MEMORY and source.value is None:
            for holder in source.holders:
                there[holder] = there.get(holder, 0) + source.nbytes
    return there


def _place(state: State, task: Task) -> Place | None:
    """Say why a task is, or its result was made, where it is."""
    worker = task.worker
    if worker is None and task.state is MEMORY and task.holders and task.function is not None:
        worker = task.holders[0]
    if worker is None:
        return None
    reasons = []
    if task.actor:
        reasons.append("it is an actor, which stays where it was made")
    restriction = task.restriction
    if restriction is not None:
        able = sum(placement.is_allowed(other, restriction) for other in state.workers.values())
        asked = [listed([repr(name) for name in restriction.workers])] if restriction.workers else []
        asked += [asked_for(restriction.resources)] if restriction.resources else []
        of_all = f"{able} of {count_of(len(state.workers), 'worker')}"
        reasons.append(f"it asks for {' and '.join(asked) or 'no worker'}, which {of_all} can give")
    there = _large_inputs(task)
    if there:
        reasons.append(_gravity(worker, there))
    elif task.worker is not None and restriction is None and not task.missing:
        small = "its inputs are small and travel with it" if task.inputs else "it takes no inputs"
        reasons.append(f"{small}, so that any worker with a free thread would have done")
    elif task.worker is not None and task.missing:
        reasons.append("what it waits for is made there")
    return Place(str(worker.name), tuple(reasons))


def _gravity(worker: WorkerRecord, there: dict[WorkerRecord, int]) -> str:
    here = there.get(worker, 0)
    others = {other: nbytes for other, nbytes in there.items() if other is not worker}
    most = max(others, key=lambda other: others[other], default=None)
    if most is None:
        return f"its large inputs ({in_bytes(here)}) are all there"
    next_one = f"worker {str(most.name)!r} has {in_bytes(others[most])}"
    if here >= others[most]:
        return f"{in_bytes(here)} of its large inputs are there ({next_one})"
    return f"{in_bytes(here)} of its large inputs are there, and {next_one}: it could start here sooner"


def _spent(state: State, task: Task) -> Spent | None:
    """Say what the time of a task went on, as far as anybody noted it."""
    now_s = state.now_s
    submitted_s = state.notes.submitted_s(task.id)
    run = state.notes.run_of(task.id)
    sent_s = None if task.worker is None else task.worker.processing[task]
    if run is not None and sent_s is None:
        sent_s = run.sent_s
    if submitted_s is None and sent_s is None:
        return None
    ago_s = None if submitted_s is None else now_s - submitted_s
    waited_s = None if submitted_s is None or sent_s is None else max(0.0, sent_s - submitted_s)
    if run is None or task.worker is not None:
        return Spent(ago_s, waited_s, None if sent_s is None else now_s - sent_s)
    return Spent(ago_s, waited_s, now_s - run.sent_s, run.done_s - run.sent_s, run.ran_s)
