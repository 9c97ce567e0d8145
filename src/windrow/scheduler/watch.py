"""The look, about once a second, for what does not go on: tasks that no worker can run, and work that nobody moves.

What lives here: `look`, what it remembers between looks, and whom it tells. What this file must never know: clocks (the
tick brings the time), and why a task waits (``obstacles`` and ``explain`` find that, and word it).

No task has a timer. A cause is remembered from the first look that has found it, and forgotten with the first that does
not; while there is one, a client is told of it once, however many of its tasks wait for it. While nothing is queued,
nobody looks. What finds and words causes is loaded when there is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from windrow.errors import NoValidWorkerError, NoWorkerError
from windrow.keys import label
from windrow.primitives.topics import WARN
from windrow.scheduler import placement
from windrow.scheduler.state import QUEUED, ClientRecord, Failure, Keeper, Restriction, State, Task, WorkerRecord
from windrow.scheduler.transitions import fail
from windrow.wire import failure
from windrow.wire.messages import Topic

if TYPE_CHECKING:
    from windrow.scheduler.obstacles import Stranded

LOOK_S = 1.0
"""How often is looked."""
SCALING_S = 10.0
"""Somebody who has asked so lately how many workers are needed is about to start some."""
SCALING_PATIENCE_S = 30.0
"""Then so long is waited before the lack of any worker is worth a warning."""
EXAMPLES = 3

Cause = tuple[str, Restriction | None]


class Seen(Struct, eq=False):
    """A cause that is there since a while."""

    since_s: float
    told: dict[str, None]
    """The clients that know of it."""
    counted: int = 0
    """How many tasks waited for it when clients were last looked for."""


class Remark(Struct, frozen=True):
    """Something for the log of whoever hosts the scheduler."""

    text: str
    is_warning: bool


class Watch:
    """What is remembered between looks.

    Examples
    --------
    >>> Watch()
    <Watch 0 causes>
    """

    __slots__ = ("adapted_s", "looked_s", "moved_s", "seen", "sign", "warned")

    def __init__(self) -> None:
        self.looked_s = -inf
        self.seen: dict[Cause, Seen] = {}
        self.adapted_s = -inf
        """When somebody has last asked how many workers are needed."""
        self.sign: tuple[float, ...] = ()
        """Changes whenever anything moves."""
        self.moved_s = -inf
        self.warned = False
        """Whether the present standstill was told of."""

    def __repr__(self) -> str:
        return f"<Watch {len(self.seen)} causes>"


def is_needed(state: State) -> bool:
    """Say whether something is queued, so that there is a reason to look."""
    if state.queue or state.unrunnable:
        return True
    return any(map(len, state.pools.values())) or any(len(worker.local) for worker in state.local)


def look(state: State) -> None:
    """Look, if it is time again."""
    watch = state.watch
    if state.now_s - watch.looked_s < LOOK_S:
        return
    watch.looked_s = state.now_s
    found: dict[Cause, Stranded] = {}
    if _may_strand(state):
        from windrow.scheduler.obstacles import stranded

        found = {(group.kind, group.restriction): group for group in stranded(state)}
        if any(kind == "forgotten" for kind, _ in found):
            placement.look_again(state)
            found = {cause: group for cause, group in found.items() if cause[0] != "forgotten"}
    for cause in [cause for cause in watch.seen if cause not in found]:
        del watch.seen[cause]
    for cause, group in found.items():
        seen = watch.seen.get(cause)
        if seen is None:
            seen = watch.seen[cause] = Seen(state.now_s, {})
        if state.now_s - seen.since_s >= _patience_s(state, group.kind) and group.count > seen.counted:
            seen.counted = group.count
            _tell_clients(state, seen, group)
        if state.now_s - seen.since_s >= state.config.no_workers_timeout_s:
            _refuse(state, seen, group)
    _look_for_standstill(state)


def _may_strand(state: State) -> bool:
    """Say whether there may be tasks that no worker can run: where the common queue alone is long, there are none."""
    if state.unrunnable or any(map(len, state.pools.values())):
        return True
    return bool(state.queue) and not placement.running(state)


def _patience_s(state: State, kind: str) -> float:
    if kind == "no-workers" and state.now_s - state.watch.adapted_s < SCALING_S:
        return max(SCALING_PATIENCE_S, state.config.impossible_s)
    return state.config.impossible_s


# ---------------------------------------------------------------- no worker can run it


def _tell_clients(state: State, seen: Seen, group: Stranded) -> None:
    """Tell those whose tasks wait, unless they know."""
    from windrow.scheduler.obstacles import clients_of

    waiting: dict[ClientRecord, dict[Task, None]] = {}
    for task, client in clients_of(group.tasks):
        for listener in _listeners(state, client):
            if listener.id not in seen.told:
                waiting.setdefault(listener, {})[task] = None
    for client, tasks in waiting.items():
        seen.told[client.id] = None
        task = next(iter(tasks))
        count = group.count if len(waiting) == 1 and not len(seen.told) > 1 else len(tasks)
        text = _warning(group, task, count)
        event = {
            "action": "no-worker-can-run",
            "text": text,
            "category": "CannotRunWarning",
            "filename": "windrow",
            "key": label(task.key),
            "count": count,
            "cause": msgspec.to_builtins(group.obstacle),
        }
        state.report(client, Topic(WARN, state.epoch_s + state.now_s, event))
        if state.desk is not None:
            state.desk.log(["scheduler"], state.epoch_s + state.now_s, {**event, "client": client.id})
        state.remarks.append(Remark(f"client {client.id} is warned: {text}", is_warning=False))
    if not seen.told:  # nobody is there who could be
        seen.told[""] = None
        state.remarks.append(Remark(_warning(group, group.example, group.count), is_warning=True))


def _listeners(state: State, client: ClientRecord) -> Iterator[ClientRecord]:
    """Yield the clients in programs that stand for one: itself, or for what tasks and services want, all of them."""
    if not isinstance(client, Keeper) and not client.worker:
        yield client
        return
    owners = [each for each in state.clients.values() if not isinstance(each, Keeper) and not each.worker]
    for owner in owners:
        if any(parts.keeper is client for parts in owner.graphs.values()):
            yield owner
            return
    yield from owners


def _warning(group: Stranded, task: Task, count: int) -> str:
    from windrow.causes import count_of, quoted

    obstacle, key = group.obstacle, quoted(label(task.key))
    who = f"task {key}" if count == 1 else f"{count_of(count, 'task')}, such as {key},"
    asks = f"{'it' if count == 1 else key} {obstacle.asks}; " if obstacle.asks else ""
    remedy = f" To do: {obstacle.remedy}." if obstacle.remedy else ""
    return (
        f"No worker can run {who} now: {asks}{obstacle.miss}.{remedy} "
        f"{'It waits' if count == 1 else 'They wait'} until then."
    ).replace(", now:", " now:")


def _refuse(state: State, seen: Seen, group: Stranded) -> None:
    """Have tasks err that have waited for too long (``distributed.scheduler.no-workers-timeout``)."""
    limit_s = state.config.no_workers_timeout_s
    for task in group.tasks:
        came_s = state.notes.submitted_s(task.id)
        if task.state is QUEUED and state.now_s - max(seen.since_s, -inf if came_s is None else came_s) >= limit_s:
            error: Exception
            if group.kind == "no-workers":
                error = NoWorkerError(task.key, limit_s)
            else:
                asked = task.restriction or Restriction(None)
                why = f"{group.obstacle.asks}; {group.obstacle.miss}".removeprefix("; ")
                error = NoValidWorkerError(task.key, asked.workers, dict(asked.resources), limit_s, why)
            blob, text = failure.dump(error)
            fail(state, task, Failure(task.key, blob, text))


# ---------------------------------------------------------------- nothing moves


def _look_for_standstill(state: State) -> None:
    """Say once that nothing moves, though there are free threads and tasks that those could run."""
    watch = state.watch
    workers = state.workers.values()
    queued = len(state.queue) + len(state.unrunnable) + sum(map(len, state.pools.values()))
    queued += sum(len(worker.local) for worker in state.local)
    sent = sum(len(worker.processing) for worker in workers)
    sign = (state.worked_s, state.next_id, len(state.tasks), queued, sent, len(workers))
    if sign != watch.sign:
        watch.sign, watch.moved_s, watch.warned = sign, state.now_s, False
        return
    still_s = state.now_s - watch.moved_s
    if watch.warned or still_s < state.config.standstill_s or not state.idle:
        return
    stuck = [task for worker in state.idle for task in _could_run(state, worker)][:EXAMPLES]
    if stuck:
        from windrow.causes import count_of, span
        from windrow.scheduler import explain

        watch.warned = True
        names = ", ".join(repr(str(worker.name)) for worker in list(state.idle)[:EXAMPLES])
        told = [line for task in stuck for line in explain.task_facts(state, task).lines]
        text = (
            f"nothing has moved for {span(still_s)}, though {count_of(len(state.idle), 'worker')} "
            f"({names}) could run what waits elsewhere:"
        )
        state.remarks.append(Remark("\n  ".join([text, *told]), is_warning=True))


def _could_run(state: State, idle: WorkerRecord) -> Iterator[Task]:
    """Yield tasks, one of each place, that an idle worker could run and that stand elsewhere."""
    from windrow.scheduler.explain import may_run_now

    for queue in [state.queue, *state.pools.values(), *(worker.local for worker in state.local)]:
        head = queue.head()
        if head is not None and may_run_now(state, head, idle):
            yield head
    for worker in state.workers.values():
        if worker is not idle and len(worker.processing) > max(1, worker.threads):
            last = next(reversed(worker.processing))
            if not last.missing and may_run_now(state, last, idle):
                yield last
