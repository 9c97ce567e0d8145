"""What clients say, and what becomes of it.

What lives here: a handler for each message of a client (questions are in requests). What this file must never know:
how a task is placed, or what workers say.
"""

from __future__ import annotations

from math import inf

from windrow.scheduler import recording
from windrow.scheduler.news import Asked, Came, Left, note_move
from windrow.scheduler.state import (
    ERRED,
    MEMORY,
    QUEUED,
    RELEASED,
    ClientRecord,
    FunctionRecord,
    Keeper,
    Restriction,
    State,
    Task,
    Unexpected,
)
from windrow.scheduler.transitions import let_go, need, purge, step
from windrow.wire.blobs import Blob
from windrow.wire.messages import (
    Cancel,
    Cancelled,
    Declare,
    Failed,
    HelloClient,
    Key,
    Release,
    Retry,
    Submit,
    TaskId,
    TaskOptions,
    Undeclare,
    Want,
)


def join(state: State, hello: HelloClient) -> ClientRecord | str:
    """Greet a client; one of the same id, whose loss is not noticed yet, is taken to have left."""
    former = state.clients.get(hello.id)
    if isinstance(former, Keeper):
        return f"a service holds results under the name {hello.id!r}: a client needs another id"
    if former is not None:
        leave(state, former)
    client = ClientRecord(hello.id, hello.name)
    client.worker = hello.worker
    state.clients[client.id] = client
    state.tally.clients_added += 1
    if state.news is not None:
        state.news.append(Came("client", client.id))
    return client


def leave(state: State, client: ClientRecord) -> None:
    """A client is gone: nothing is wanted by it any more."""
    if state.clients.get(client.id) is not client:
        return
    client.left = True
    state.cut.pop(client, None)
    state.tally.clients_removed += 1
    for record in [client, *(parts.keeper for parts in client.graphs.values())]:
        drop_all(state, record)
    client.graphs.clear()
    on_undeclare(state, client, Undeclare(list(client.declared)))
    if state.desk is not None:
        state.desk.left(client)
    recording.leave(state, client)
    if state.news is not None:
        state.news.append(Left("client", client.id))


def drop_all(state: State, client: ClientRecord) -> None:
    """Nothing is wanted by this client any more."""
    state.clients.pop(client.id, None)
    for task in list(client.wants):
        state.unwant(client, task)
        state.agenda.append((let_go, task))


def on_declare(state: State, client: ClientRecord, message: Declare) -> None:
    """Learn a function, or that one more client knows it."""
    function = state.functions.get(message.function)
    if function is None:
        state.next_function += 1
        function = FunctionRecord(state.next_function, message.function, message.name, message.code)
        function.expected_s = state.config.unknown_s
        state.functions[message.function] = function
    if message.function not in client.declared:
        client.declared[message.function] = None
        function.declared += 1


def on_undeclare(state: State, client: ClientRecord, message: Undeclare) -> None:
    """Forget functions that no client and no task names."""
    for digest in message.functions:
        if digest in client.declared:
            del client.declared[digest]
            function = state.functions[digest]
            function.declared -= 1
            if not function.tasks and not function.declared:
                del state.functions[digest]
                state.forget_function(function)


def check_priority(priority: float) -> None:
    """Refuse one that cannot be compared: a queue would lose its order, and with it all others' tasks."""
    if priority != priority:
        raise Unexpected("a priority is to be a number that can be compared, not NaN")


def on_submit(state: State, client: ClientRecord, message: Submit) -> None:
    """Make tasks, or join those of the same keys."""
    function = state.functions.get(message.function)
    if function is None:
        reason = "the scheduler does not know its function; this is a defect of the client"
        state.report(client, Cancelled(client.seen, message.keys, reason))
        return
    columns = {len(message.args), len(message.inputs) or len(message.keys)}
    if columns != {len(message.keys)}:
        raise Unexpected(f"the columns of Submit differ in length: {len(message.keys)} keys, and {sorted(columns)}")
    check_priority(message.priority)
    restriction = restriction_of(message)
    tasks, by_id, queue, wants, alone = state.tasks, state.by_id, state.queue, client.wants, client.alone
    next_id, priority, retries, inputs = state.next_id, message.priority, message.retries, message.inputs
    simple = restriction is None and not inputs
    moves, queued = state.moves, 0
    if state.news is not None:
        state.news.append(Asked(client.id, message, message.keys))
    for index, (key, args) in enumerate(zip(message.keys, message.args, strict=True)):
        if key in tasks:
            if message.actor:
                state.spent.pop(tasks[key], None)
            want_again(state, client, tasks[key])
            continue
        next_id += 1
        task = Task(TaskId(next_id), key, function, args, priority, retries, restriction)
        task.actor = message.actor
        if inputs and not _link_inputs(state, client, task, inputs[index]):
            continue
        tasks[key] = by_id[task.id] = task
        function.made += 1
        wants[task] = None
        task.clients = alone
        if simple:  # what `need` comes to for a task without inputs or restriction, ten thousand times a tick
            if moves is not None:
                note_move(state, task, QUEUED)
            queue.push(task)
            task.state = QUEUED
            queued += 1
        else:
            if restriction is not None:
                state.restrict(task)
            need(state, task)
    function.queued += queued
    state.next_id = next_id


def restriction_of(asked: Submit | TaskOptions) -> Restriction | None:
    """What tasks ask of their worker, if anything."""
    if asked.workers is None and not asked.resources:
        return None
    for name, quantity in asked.resources.items():
        if not 0 <= quantity < inf:
            raise Unexpected(f"of a resource a task takes a number that is none: {name}={quantity}")
    workers = None if asked.workers is None else tuple(asked.workers)
    return Restriction(workers, asked.allow_other_workers, tuple(sorted(asked.resources.items())))


def _link_inputs(state: State, client: ClientRecord, task: Task, keys: list[Key]) -> bool:
    """Tie a new task to its inputs; False when one is not known any more, or named twice."""
    if len(set(keys)) != len(keys):
        state.report(client, Cancelled(client.seen, [task.key], "it names an input twice"))
        return False
    sources: list[Task] = []
    for key in keys:
        source = state.tasks.get(key)
        if source is None:
            reason = f"its input {key!r} is not known to the scheduler any more"
            state.report(client, Cancelled(client.seen, [task.key], reason))
            return False
        sources.append(source)
    for source in sources:
        if source.dependents is None:
            source.dependents = {}
        source.dependents[task] = None
    task.inputs = sources
    return True


def want_again(state: State, client: ClientRecord, task: Task) -> None:
    """One more future on a task that exists: report it if it is done, make it if it was only a recipe."""
    state.want(client, task)
    if task.state is MEMORY:
        _report_to(state, client, task)
    elif task.state is ERRED:
        assert task.failure is not None
        state.report(client, Failed(client.seen, [task.key], task.failure.error, task.failure.text))
    elif task.state is RELEASED:
        need(state, task)


def _report_to(state: State, client: ClientRecord, task: Task) -> None:
    everyone, task.clients = task.clients, client.alone
    state.report_finished(task)
    task.clients = everyone


def on_want(state: State, client: ClientRecord, message: Want) -> None:
    """A client has futures on keys that others made."""
    for key in message.keys:
        task = state.tasks.get(key)
        if task is None:
            state.report(client, Cancelled(client.seen, [key], "the scheduler does not know it any more"))
        else:
            want_again(state, client, task)


def on_release(state: State, client: ClientRecord, message: Release) -> None:
    """A client has dropped its last futures on these keys."""
    client.seen = message.number
    client.finished = None
    for key in message.keys:
        task = state.tasks.get(key)
        if task is not None and task in client.wants:
            state.unwant(client, task)
            if not task.clients and not task.waiters:
                let_go(state, task)


def drop(state: State, client: ClientRecord, keys: list[Key]) -> None:
    """These are wanted by this client no longer."""
    for key in keys:
        task = state.tasks.get(key)
        if task is not None and task in client.wants:
            state.unwant(client, task)
            state.agenda.append((let_go, task))


def on_cancel(state: State, client: ClientRecord, message: Cancel) -> None:
    """A client gives tasks up, and unless others want them, what depends on them too."""
    client.seen = message.number
    client.finished = None
    doomed: list[Task] = []
    for key in message.keys:
        task = state.tasks.get(key)
        if task is None:
            continue
        if task in client.wants:
            state.unwant(client, task)
        if message.force or not task.clients:
            doomed.append(task)
    purge(state, doomed, message.reason or "cancelled")


def on_retry(state: State, client: ClientRecord, message: Retry) -> None:
    """Clear erred tasks up to the root of their errors, and run them again."""
    again: dict[Task, None] = {}
    stack = [task for key in message.keys if (task := state.tasks.get(key)) is not None]
    while stack:
        task = stack.pop()
        if task.state is ERRED and task not in again:
            again[task] = None
            stack.extend(task.inputs)
    for task in again:
        state.spent.pop(task, None)
        step(state, task, RELEASED)
    for task in again:
        if task.clients or task.waiters:
            state.agenda.append((need, task))
        else:
            state.agenda.append((let_go, task))


def new_data(
    state: State, client: ClientRecord, key: Key, value: Blob, nbytes: int, value_type: bytes | None
) -> Task | None:
    """Make a task record for scattered data; None where a task of that key is there already."""
    task = state.tasks.get(key)
    if task is not None and (task.state is not RELEASED or task.function is not None):
        want_again(state, client, task)
        return None
    if task is None:
        state.next_id += 1
        task = Task(TaskId(state.next_id), key, None, b"")
        state.tasks[key] = state.by_id[task.id] = task
    task.value, task.value_type, task.nbytes = value, value_type, nbytes
    state.want(client, task)
    return task
