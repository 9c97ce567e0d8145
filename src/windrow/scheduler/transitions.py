"""The life of a task, as one table: (from, to) -> the function that makes the move.

What lives here: the moves, and the few decisions that lead from one to the next (`need`, `let_go`, `lose`, …). What
this file must never know: which message caused a move (core), or which worker is best (placement decides that, and
is asked through `enqueue`).

A move changes the task and its neighbours' counts, fills outboxes, and puts what must follow on the agenda; `settle`
works the agenda off, so that a chain of a million tasks is a loop and never a recursion. Between two settlements:

- ``missing`` of a waiting, queued or processing task counts its inputs that are not in memory;
- ``waiters`` of a task counts its dependents that are waiting, queued or processing;
- a processing task's inputs are in memory, or processing on the same worker (look-ahead).

docs/task-life-cycle.md draws the table; `tools/life_cycle.py` makes that page from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from windrow.errors import ActorLostError
from windrow.scheduler import attempts, copies, fitting, placement
from windrow.scheduler.news import note_move
from windrow.scheduler.state import (
    ERRED,
    FORGOTTEN,
    MEMORY,
    PROCESSING,
    QUEUED,
    RELEASED,
    WAITING,
    Failure,
    State,
    Task,
    WorkerRecord,
)
from windrow.wire import failure as failures
from windrow.wire.messages import Cancelled, Failed, Free, Lost, TaskId

# ---------------------------------------------------------------- the moves


def await_inputs(state: State, task: Task) -> None:
    """Count the inputs that are missing, and have those made that nobody is making."""
    assert task.missing == 0
    for source in task.inputs:
        source.waiters += 1
        if source.state is not MEMORY:
            task.missing += 1
            if source.state is RELEASED:
                state.agenda.append((need, source))
    if not task.missing:
        state.agenda.append((become_ready, task))
    else:
        state.ahead.append(task)


def enqueue(state: State, task: Task) -> None:
    """Everything is there: stand in the queue that placement names."""
    assert task.missing == 0
    if task.restriction is None:
        _count_queued(task, 1)
    placement.choose_queue(state, task)


def start(state: State, task: Task) -> None:
    """Begin an attempt on ``task.worker``, which placement has chosen."""
    attempts.send_attempt(state, task)


def start_queued(state: State, task: Task) -> None:
    """Begin an attempt at a task that dispatch has taken from its queue."""
    if task.restriction is None:
        task.function.queued -= 1  # type: ignore[union-attr]
    attempts.send_attempt(state, task)


def keep(state: State, task: Task) -> None:
    """An attempt has its result: its worker holds it, inputs may go, dependents come nearer."""
    worker = task.worker
    assert worker is not None
    assert task.missing == 0, "it ran before its inputs were there"
    attempts.end_attempt(state, task)
    state.add_holder(task, worker)
    if task.actor:
        worker.actors[task] = None
    _release_inputs(state, task)
    _announce(state, task)


def place_data(state: State, task: Task) -> None:
    """Scattered data: in memory without ever having run."""
    assert task.function is None
    _announce(state, task)


def take_back(state: State, task: Task) -> None:
    """An attempt is over without a result; those who counted on it on the same worker come back too."""
    attempts.end_attempt(state, task)
    recall_followers(state, task)


def take_back_and_enqueue(state: State, task: Task) -> None:
    """An attempt is over without a result, and the task can start again at once."""
    take_back(state, task)
    enqueue(state, task)


def step_back(state: State, task: Task) -> None:
    """An input was lost while the task stood in a queue."""
    _leave_queue(state, task)


def withdraw(state: State, task: Task) -> None:
    """Nobody needs it any more before it was made."""
    if task.worker is not None:
        free(state, task.worker, task)
    _stop(state, task)
    task.missing = 0
    _release_inputs(state, task)


def drop_value(state: State, task: Task) -> None:
    """The value is gone or goes: holders free it, and whoever counted on it counts it as missing."""
    for holder in task.holders:
        del holder.holds[task]
        holder.stored -= task.nbytes
        if task.actor:
            holder.actors.pop(task, None)
        free(state, holder, task)
    if state.copies:
        for worker in copies.give_up(state, task):
            if worker not in task.holders:
                free(state, worker, task)
    if task.actor:
        state.spent[task] = None
    task.holders = ()
    task.value = task.value_type = None
    task.nbytes = 0
    for follower in task.dependents or ():
        if follower.state is WAITING:
            follower.missing += 1
        elif follower.state is QUEUED or follower.state is PROCESSING:
            if follower.worker is not None:
                free(state, follower.worker, follower)
            step(state, follower, WAITING)
            follower.missing += 1


def bereave(state: State, task: Task) -> None:
    """An actor's worker is gone, and the actor's state with it: nobody can make that again."""
    assert task.failure is not None
    drop_value(state, task)
    _spread_failure(state, task)


def err(state: State, task: Task) -> None:
    """It raised, or an input did: tell whoever wants it, and let dependents inherit the failure."""
    assert task.failure is not None
    _stop(state, task)
    task.missing = 0
    _release_inputs(state, task)
    _spread_failure(state, task)


def inherit(state: State, task: Task) -> None:
    """It was needed when an input had erred already: the same failure, at once."""
    assert task.failure is not None
    _spread_failure(state, task)


def clear(state: State, task: Task) -> None:
    """An erred task may be tried again."""
    if state.cleared is not None:
        state.cleared.add(task.id)
    task.failure = None
    task.deaths = None


def forget(state: State, task: Task) -> None:
    """Nobody wants it and no recipe names it: out of every table, and untie what it refers to."""
    assert not task.clients
    assert not task.dependents
    del state.tasks[task.key]
    del state.by_id[task.id]
    if task.actor:
        state.spent.pop(task, None)
    for source in task.inputs:
        assert source.dependents is not None
        del source.dependents[task]
        state.agenda.append((let_go, source))
    task.inputs = ()
    task.dependents = None
    if task.restriction is not None:
        state.unrestrict(task)
    function = task.function
    if function is not None:
        function.forgotten += 1
        if not function.declared and function.made == function.forgotten:
            del state.functions[function.digest]
            state.forget_function(function)


TRANSITIONS: dict[tuple[str, str], Callable[[State, Task], None]] = {
    (RELEASED, WAITING): await_inputs,
    (RELEASED, QUEUED): enqueue,
    (RELEASED, MEMORY): place_data,
    (RELEASED, ERRED): inherit,
    (RELEASED, FORGOTTEN): forget,
    (WAITING, QUEUED): enqueue,
    (WAITING, PROCESSING): start,
    (WAITING, ERRED): err,
    (WAITING, RELEASED): withdraw,
    (QUEUED, PROCESSING): start_queued,
    (QUEUED, WAITING): step_back,
    (QUEUED, RELEASED): withdraw,
    (QUEUED, ERRED): err,
    (PROCESSING, MEMORY): keep,
    (PROCESSING, QUEUED): take_back_and_enqueue,
    (PROCESSING, WAITING): take_back,
    (PROCESSING, RELEASED): withdraw,
    (PROCESSING, ERRED): err,
    (MEMORY, RELEASED): drop_value,
    (MEMORY, ERRED): bereave,
    (ERRED, RELEASED): clear,
}


def step(state: State, task: Task, to: str) -> None:
    """Make one move; a pair that is not in the table is a defect of the scheduler, not of its user."""
    move = TRANSITIONS.get((task.state, to))
    assert move is not None, f"no way from {task.state} to {to} for {task}"

    if state.moves is not None:
        note_move(state, task, to)
    move(state, task)
    task.state = to


def settle(state: State) -> None:
    """Work the agenda off."""
    agenda = state.agenda
    while agenda:
        decide, task = agenda.popleft()
        decide(state, task)


# ---------------------------------------------------------------- decisions


def need(state: State, task: Task) -> None:
    """Somebody needs a released task: make it, or inherit the failure of an input."""
    if task.state is not RELEASED:
        return
    if task.function is None:
        purge(state, [task], "its data was scattered, has been lost, and cannot be made again")
        return
    if task.actor and task in state.spent:
        task.failure = without_actor(task, "nobody wanted it any more, so its worker has dropped it")
        step(state, task, ERRED)
        return
    for source in task.inputs:
        if source.state is ERRED:
            task.failure = source.failure
            step(state, task, ERRED)
            return
    step(state, task, WAITING if task.inputs else QUEUED)


def become_ready(state: State, task: Task) -> None:
    """Queue a waiting task whose inputs are all in memory (still)."""
    if task.state is WAITING and not task.missing:
        step(state, task, QUEUED)


def let_go(state: State, task: Task) -> None:
    """Release a task that nobody needs, and forget one that nobody can need."""
    if task.clients or task.waiters or task.state is FORGOTTEN:
        return
    if task.state is not RELEASED:
        step(state, task, RELEASED)
    if not task.dependents:
        step(state, task, FORGOTTEN)


def refuse(state: State, task: Task) -> None:
    """A queued task's inputs fit into no worker's memory, unless that has changed meanwhile."""
    if task.state is QUEUED and task in state.unrunnable:
        too_small = placement.too_small(state, task)
        if too_small:
            fail(state, task, fitting.refusal(task, too_small))
        else:
            del state.unrunnable[task]
            placement.choose_queue(state, task)


def fail(state: State, task: Task, failure: Failure) -> None:
    """An attempt failed for good."""
    task.failure = failure
    step(state, task, ERRED)


def inherit_failure(state: State, task: Task) -> None:
    """An input has erred: so does a task that waits for it, or was sent ahead of it."""
    if task.state is WAITING or task.state is PROCESSING:
        for source in task.inputs:
            if source.state is ERRED:
                if task.worker is not None:
                    free(state, task.worker, task)
                task.failure = source.failure
                step(state, task, ERRED)
                return


def without_actor(task: Task, reason: str) -> Failure:
    """Return the failure of an actor that is gone."""
    error, text = failures.dump(ActorLostError(task.key, reason))
    return Failure(task.key, error, text)


def lose(state: State, task: Task) -> None:
    """The last copy of a value is gone: make it again if somebody needs it."""
    assert task.state is MEMORY
    assert not task.holders
    step(state, task, RELEASED)
    if not task.clients and not task.waiters:
        let_go(state, task)
        return
    if task.function is not None:
        for client in task.clients:
            state.report(client, Lost(client.seen, [task.key]))
    state.agenda.append((need, task))


def return_attempt(state: State, task: Task) -> None:
    """An attempt that did not finish, and is forgotten by its worker: back to where its inputs allow."""
    step(state, task, WAITING if task.missing else QUEUED)


def come_back(state: State, task: Task) -> None:
    """An attempt sent ahead of an input that will not be made there, or not soon: forget it."""
    worker = task.worker
    if task.state is PROCESSING and worker is not None and task.missing:
        for source in task.inputs:
            if source.state is not MEMORY and (source.worker is not worker or source in worker.seceded):
                free(state, worker, task)
                step(state, task, WAITING)
                return


def purge(state: State, tasks: Iterable[Task], reason: str) -> None:
    """Drop tasks and all that depends on them, whoever wants them, and say so."""
    doomed: dict[Task, None] = {}
    stack = list(tasks)
    while stack:
        task = stack.pop()
        if task not in doomed and task.state is not FORGOTTEN:
            doomed[task] = None
            stack.extend(task.dependents or ())
    for task in doomed:
        for client in task.clients:
            last = client.out[-1] if client.out else None
            if type(last) is Cancelled and last.reason == reason and last.seen == client.seen:
                last.keys.append(task.key)
            else:
                state.report(client, Cancelled(client.seen, [task.key], reason))
            del client.wants[task]
        task.clients = ()
    for task in doomed:
        if task.state is not RELEASED:
            step(state, task, RELEASED)
    state.agenda.extend((let_go, task) for task in doomed)


# ---------------------------------------------------------------- shared by moves


def free(state: State, worker: WorkerRecord, task: Task) -> None:
    """Have a worker forget a task's attempt and value."""
    attempts.haunt(worker, task)
    free_id(state, worker, task.id)


def free_id(state: State, worker: WorkerRecord, task: TaskId) -> None:
    """Have a worker forget an id; neighbouring ones leave in one message, in order with all else."""
    last = worker.out[-1] if worker.out else None
    if type(last) is Free:
        last.tasks.append(task)
    else:
        state.tell(worker, Free([task]))


def _announce(state: State, task: Task) -> None:
    """A value is in memory: report it, and bring dependents nearer."""
    for follower in task.dependents or ():
        if follower.missing:
            follower.missing -= 1
            if not follower.missing and follower.state is WAITING:
                state.agenda.append((become_ready, follower))
    if task.clients:
        state.report_finished(task)
    elif not task.waiters:
        state.agenda.append((let_go, task))


def _release_inputs(state: State, task: Task) -> None:
    for source in task.inputs:
        source.waiters -= 1
        if not source.waiters and not source.clients:
            state.agenda.append((let_go, source))


def recall_followers(state: State, task: Task) -> None:
    """Take back what was sent ahead of a task that has no thread any more: it must not stand where others could run.

    They may be those that the task waits for.
    """
    for follower in task.dependents or ():
        if follower.state is PROCESSING:
            state.agenda.append((come_back, follower))


def _count_queued(task: Task, more: int) -> None:
    """Count a task among those of its function that are queued, or no longer; one with a restriction is not."""
    assert task.function is not None
    task.function.queued += more


def _leave_queue(state: State, task: Task) -> None:
    if task.restriction is None:
        _count_queued(task, -1)
    if task.queue is not None:
        task.queue.remove(task)
    else:
        del state.unrunnable[task]


def _stop(state: State, task: Task) -> None:
    """Leave the queue or the worker that a task is on."""
    if task.state is PROCESSING:
        take_back(state, task)
    elif task.state is QUEUED:
        _leave_queue(state, task)


def _spread_failure(state: State, task: Task) -> None:
    """Report a failure, and hand it to dependents; many keys of one failure leave as one message."""
    failure = task.failure
    assert failure is not None
    if task.function is not None:
        task.function.erred += 1
    for follower in task.dependents or ():
        if follower.state is WAITING or follower.state is PROCESSING:
            state.agenda.append((inherit_failure, follower))
    for client in task.clients:
        last = client.out[-1] if client.out else None
        if type(last) is Failed and last.error is failure.error and last.seen == client.seen:
            last.keys.append(task.key)
        else:
            state.report(client, Failed(client.seen, [task.key], failure.error, failure.text))
    if not task.clients and not task.waiters:
        state.agenda.append((let_go, task))
