"""Graphs: many tasks of many functions, of which the client wants a few.

What lives here: the handler of `Graph`. What this file must never know: how tasks are placed or run.

Tasks come in the order in which they are to run, so their ids say who goes first. Those that nobody wants for their own
sake are wanted while parts of the graph are still on their way, by a keeper: what runs already must not be dropped
because its dependents are in a later part. With the last part the keeper goes, and dependents alone keep them.
"""

from __future__ import annotations

from collections.abc import Sequence

from windrow.scheduler.clients import check_priority, drop_all, restriction_of, want_again
from windrow.scheduler.news import Asked
from windrow.scheduler.state import (
    ERRED,
    FORGOTTEN,
    RELEASED,
    ClientRecord,
    FunctionRecord,
    Keeper,
    State,
    Task,
    Unexpected,
)
from windrow.scheduler.transitions import let_go, need
from windrow.wire.messages import Cancelled, Graph, TaskId

UNKNOWN_INPUT = "an input of it is not known to the scheduler any more"


class Parts:
    """What has come of a graph: its tasks by number, None for what cannot be made."""

    __slots__ = ("keeper", "tasks")

    def __init__(self, keeper: Keeper) -> None:
        self.tasks: list[Task | None] = []
        self.keeper = keeper


def on_graph(state: State, client: ClientRecord, message: Graph) -> None:
    """Make the tasks of one part, tie them to each other, and have those made that somebody needs."""
    _check_columns(message)
    begun: Parts | None = client.graphs.get(message.graph)
    parts = begun if begun is not None else Parts(Keeper(f"{client.id}-graph-{message.graph}"))
    if begun is None and message.more:
        client.graphs[message.graph] = parts
        state.clients[parts.keeper.id] = parts.keeper
    parts.tasks.extend([state.tasks.get(key) for key in message.known])
    fresh: list[Task] = []
    try:
        _make_tasks(state, parts, message, fresh)
        _check_wanted(parts, message)
    except Unexpected:
        for task in reversed(fresh):
            let_go(state, task)
        raise
    if client.graphs.get(message.graph) is parts:
        _keep(state, parts, len(message.keys), fresh)
    if state.news is not None:
        named = [parts.tasks[number] for number in message.wanted if 0 <= number < len(parts.tasks)]
        state.news.append(Asked(client.id, message, [task.key for task in named if task is not None]))
    _want(state, client, parts, message, fresh)
    for task in reversed(fresh):  # what only tasks depend on that were there already is not needed
        if not task.clients and not task.dependents:
            let_go(state, task)
    for task in fresh:
        if task.state is RELEASED:
            need(state, task)
    for task in fresh:
        if task.state is ERRED:  # at once, so it waits for nothing: what only it would have taken is not needed
            state.agenda.extend([(let_go, source) for source in task.inputs])
    if not message.more and client.graphs.pop(message.graph, None) is parts:
        drop_all(state, parts.keeper)


def _check_columns(message: Graph) -> None:
    count = len(message.keys)
    lengths = {len(message.chosen), len(message.args), len(message.inputs), len(message.option) or count}
    if lengths != {count}:
        raise Unexpected(f"the columns of Graph differ in length: {count} keys, and {sorted(lengths)}")
    if count and not message.options:
        raise Unexpected("a Graph has tasks, and no options for them")
    for options in message.options:
        check_priority(options.priority)


def _make_tasks(state: State, parts: Parts, message: Graph, fresh: list[Task]) -> None:
    """Make the tasks that are not there, into ``fresh``, and number them all."""
    functions: list[FunctionRecord | None] = [state.functions.get(digest) for digest in message.functions]
    restrictions = [restriction_of(options) for options in message.options]
    tasks, by_id, numbered = state.tasks, state.by_id, parts.tasks
    next_id, option = state.next_id, message.option
    columns = zip(message.keys, message.chosen, message.args, message.inputs, strict=True)
    try:
        for index, (key, chosen, args, inputs) in enumerate(columns):
            present = tasks.get(key)
            if present is not None:
                if present.actor:
                    state.spent.pop(present, None)
                numbered.append(present)
                continue
            sources = [numbered[number] for number in inputs] if inputs else ()
            function = functions[chosen]
            if function is None or not _all_known(sources):
                numbered.append(None)
                continue
            if len(sources) > 1 and len(set(inputs)) != len(inputs):
                raise Unexpected("a Graph names an input of a task twice")
            which = option[index] if option else 0
            options = message.options[which]
            next_id += 1
            task = Task(TaskId(next_id), key, function, args, options.priority, options.retries, restrictions[which])
            task.actor = options.actor
            task.inputs = sources  # type: ignore[assignment]
            for source in sources:
                dependents = source.dependents  # type: ignore[union-attr]
                if dependents is None:
                    dependents = source.dependents = {}  # type: ignore[union-attr]
                dependents[task] = None
            tasks[key] = by_id[task.id] = task
            function.made += 1
            if task.restriction is not None:
                state.restrict(task)
            numbered.append(task)
            fresh.append(task)
    except IndexError:
        raise Unexpected("a Graph refers to a task, function or option that it does not have") from None
    finally:
        state.next_id = next_id


def _all_known(sources: Sequence[Task | None]) -> bool:
    return not any(source is None or source.state is FORGOTTEN for source in sources)


def _keep(state: State, parts: Parts, count: int, fresh: list[Task]) -> None:
    """Have the keeper want the last so many tasks; of those that were there already, others may let go."""
    newer = fresh[0].id if fresh else state.next_id + 1
    for task in parts.tasks[len(parts.tasks) - count :]:
        if task is not None:
            state.want(parts.keeper, task)
            if task.state is RELEASED and task.id < newer:
                state.agenda.append((need, task))


def _check_wanted(parts: Parts, message: Graph) -> None:
    if message.wanted and not 0 <= min(message.wanted) <= max(message.wanted) < len(parts.tasks):
        raise Unexpected("a Graph wants a task that it does not have")


def _want(state: State, client: ClientRecord, parts: Parts, message: Graph, fresh: list[Task]) -> None:
    new = dict.fromkeys(fresh)
    first = len(parts.tasks) - len(message.keys)
    for number in message.wanted:
        task = parts.tasks[number]
        if task is not None and task.state is not FORGOTTEN:
            if task in new:
                state.want(client, task)
            else:
                want_again(state, client, task)
        elif number >= first:
            state.report(client, Cancelled(client.seen, [message.keys[number - first]], UNKNOWN_INPUT))
