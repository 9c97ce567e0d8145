"""Why no worker that is there can run a task: what it asks for, and the nearest miss.

What lives here: `obstacle`, of one task; `stranded`, of all that wait for a worker that is not there. What this file
must never know: who is told, and when (watch); why a task waits that some worker can run (explain).

Nothing is kept for this: it is found out when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice

from msgspec import Struct

from windrow.causes import Kind, Obstacle, asked_for, count_of, listed
from windrow.errors import in_bytes
from windrow.keys import label
from windrow.runqueue import RunQueue
from windrow.scheduler import fitting, placement
from windrow.scheduler.state import MEMORY, ClientRecord, Restriction, State, Task, WorkerRecord

LOOKED_AT = 20_000
"""So many of the tasks that nobody may run are looked at, at a time."""
ALONE_MAX = 500
"""So many of them for themselves, as their inputs matter."""
RESTRICTIONS_MAX = 200
"""So many different restrictions are."""

_MEMORY = (
    "give workers more memory (memory_limit=), or release results that are not needed; it goes on by itself when "
    "memory is free"
)
_BACK = "look whether machine and network are up; it goes on by itself when the worker is back, or has been given up"
START = "start workers, such as with cluster.scale(n), or with 'windrow worker' and the scheduler's address"
_STATUS: dict[str, tuple[Kind, str, str]] = {
    "paused": ("paused", "paused, as the memory is short", _MEMORY),
    "closing_gracefully": ("retiring", "retiring", "start other workers, such as with cluster.scale(n)"),
    "lost": ("cut-off", "cut off", _BACK),
}


# ---------------------------------------------------------------- one task


def obstacle(state: State, task: Task) -> Obstacle | None:
    """Return why no worker that is there can run a task, were its inputs there; None if one can."""
    workers = list(state.workers.values())
    count = len(workers)
    asks = _asks(task)
    if not workers:
        return Obstacle("no-workers", asks, "there are no workers at all", 0, remedy=START)
    fitting_ones = [worker for worker in workers if may_run(state, task, worker)]
    able = [worker for worker in fitting_ones if fitting.fits(state, task, worker)]
    if any(worker.status == "running" for worker in able):
        return _unreachable(state, task, asks, count)
    if able:
        return _not_now(able, asks, count)
    if fitting_ones:
        roomiest = max(fitting_ones, key=lambda worker: worker.memory_limit)
        most = f"the most that a worker may use is {in_bytes(roomiest.memory_limit)} (worker {roomiest.name!r})"
        asks = " and ".join(filter(None, [asks, f"takes {in_bytes(fitting.needs(task))} of inputs"]))
        remedy = "give workers more memory (memory_limit=), or split it into tasks of smaller inputs"
        return Obstacle("memory", asks, most, count, remedy=remedy)
    assert task.restriction is not None, f"{task} asks for nothing, and no worker may run it"
    return _nobody(task.restriction, workers, asks)


def may_run(state: State, task: Task, worker: WorkerRecord) -> bool:
    """Say whether a task's restriction lets a worker run it, whatever that does just now."""
    restriction = task.restriction
    if restriction is None or placement.is_allowed(worker, restriction):
        return True
    if not restriction.allow_other_workers or not has_all(worker, restriction):
        return False
    return not any(placement.is_allowed(other, restriction) for other in placement.running(state))


def has_all(worker: WorkerRecord, restriction: Restriction) -> bool:
    """Say whether a worker has at all what is asked for of resources."""
    return all(worker.resources.get(name, 0.0) >= quantity for name, quantity in restriction.resources)


def _asks(task: Task) -> str:
    restriction = task.restriction
    if restriction is None:
        return ""
    words = []
    if restriction.workers is not None:
        names = listed([repr(name) for name in restriction.workers])
        words.append(f"names worker{'s' if len(restriction.workers) > 1 else ''} {names or 'none'}")
    if restriction.resources:
        words.append(f"asks for {asked_for(restriction.resources)}")
    return " and ".join(words)


def _not_now(able: Sequence[WorkerRecord], asks: str, count: int) -> Obstacle:
    """Workers could run it, and none of them is running."""
    by_status: dict[str, list[str]] = {}
    for worker in able:
        by_status.setdefault(worker.status, []).append(repr(worker.name))
    known = {status: _STATUS.get(status, ("mixed", status, START)) for status in by_status}
    told = []
    for status, names in by_status.items():
        if len(by_status) == 1 and len(names) == count:
            told.append(
                f"all {count} workers are {known[status][1]}" if count > 1 else _the_one(names, known[status][1])
            )
        else:
            told.append(f"worker{'s' if len(names) > 1 else ''} {listed(names)} could, and "
                        f"{'are' if len(names) > 1 else 'is'} {known[status][1]}")  # fmt: skip
    first = next(iter(known.values()))
    kind: Kind = first[0] if len(known) == 1 else "mixed"
    return Obstacle(kind, asks, "; ".join(told), count, remedy=first[2])


def _the_one(names: list[str], status: str) -> str:
    return f"the one worker, {names[0]}, is {status}"


def _unreachable(state: State, task: Task, asks: str, count: int) -> Obstacle | None:
    """A task was set aside, as whoever alone has an input of it is cut off, and the input cannot be made again."""
    if task not in state.unrunnable:
        return None
    for source in task.inputs:
        if (
            source.state is MEMORY
            and source.value is None
            and all(holder.cut_s is not None for holder in source.holders)
        ):
            names = listed([repr(holder.name) for holder in source.holders])
            miss = f"its input {label(source.key)!r} is with {names} alone, which is cut off"
            return Obstacle("unreachable", asks, miss, count, remedy=_BACK)
    return Obstacle(
        "forgotten", asks, "it was set aside for an input that is there again; the next look finds it", count
    )


def _nobody(restriction: Restriction, workers: Sequence[WorkerRecord], asks: str) -> Obstacle:
    """No worker is named, or none has what is asked for: say which comes nearest."""
    count = len(workers)
    bare = Restriction(restriction.workers)
    named = [worker for worker in workers if placement.is_allowed(worker, bare)]
    if not named and not restriction.allow_other_workers:
        names = listed([repr(worker.name) for worker in workers])
        hosts = listed(sorted({repr(worker.host) for worker in workers if worker.host}))
        there = f"{'there is only' if count == 1 else 'there are'} {names}" + (f" (on {hosts})" if hosts else "")
        miss = f"there is no worker of this name, address or host; {there}"
        remedy = "name one that is there, give allow_other_workers=True, or start it under that name"
        return Obstacle("name", asks, miss, count, remedy=remedy)
    among = named or list(workers)
    are_named = restriction.workers is not None and bool(named)
    misses = [_miss(name, quantity, among, are_named) for name, quantity in restriction.resources]
    if lacking := [miss for miss in misses if miss]:
        miss = "; ".join(lacking)
        kind: Kind = "resource"
    else:
        best = max(among, key=lambda w: sum(w.resources.get(n, 0.0) >= q for n, q in restriction.resources))
        has = asked_for(sorted(best.resources.items())) or "nothing"
        miss, kind = f"no worker has all of it; the nearest, {best.name!r}, has {has}", "resources"
    example = asked_for(restriction.resources)
    remedy = f"start a worker with resources={dict(restriction.resources)!r} (--resources {example!r}), or ask for less"
    return Obstacle(kind, asks, miss, count, remedy=remedy)


def _miss(name: str, quantity: float, among: Sequence[WorkerRecord], are_named: bool) -> str:
    """Return what is lacking of one resource; "" where a worker has enough of it."""
    best = max(among, key=lambda worker: worker.resources.get(name, 0.0))
    most = best.resources.get(name, 0.0)
    if most >= quantity:
        return ""
    which = "of those, " if are_named and len(among) > 1 else ""
    if name in best.resources:
        return f"{which}the most that a worker has is {name}={most:g} (worker {best.name!r})"
    if are_named and len(among) == 1:
        return f"worker {best.name!r} has no {name}"
    of_all = which or f"of {count_of(len(among), 'worker')} "
    return f"{of_all}none has {name}"


# ---------------------------------------------------------------- all that wait for such a worker


class Stranded(Struct, eq=False):
    """Tasks that wait for a worker that is not there, for one reason."""

    kind: str
    restriction: Restriction | None
    obstacle: Obstacle
    example: Task
    count: int
    tasks: list[Task]
    """Some of them."""


def stranded(state: State) -> list[Stranded]:
    """Return what waits for a worker that is not there, by reason; at a bounded cost."""
    found: dict[tuple[str, Restriction | None], Stranded] = {}
    for restriction, pool, first, why in _stranded_pools(state):
        tasks = list(islice(pool, LOOKED_AT))
        found[why.kind, restriction] = Stranded(why.kind, restriction, why, first, len(pool), tasks)
    head = state.queue.head()
    if head is not None and (reason := obstacle(state, head)) is not None:
        tasks = list(islice(state.queue, LOOKED_AT))
        found[reason.kind, None] = Stranded(reason.kind, None, reason, head, len(state.queue), tasks)
    _look_at_unrunnable(state, found)
    return list(found.values())


def count(state: State) -> int:
    """Return how many tasks could run, and no worker that is there may run them; at a bounded cost."""
    return len(state.unrunnable) + sum(len(pool) for _, pool, _, _ in _stranded_pools(state))


def _stranded_pools(state: State) -> Iterator[tuple[Restriction, RunQueue[Task], Task, Obstacle]]:
    """Return what waits together for a worker that is not there, its first task, and why; what is empty is dropped."""
    for restriction, pool in list(state.pools.items())[:RESTRICTIONS_MAX]:
        head = pool.head()
        if head is None:
            del state.pools[restriction]
        elif (reason := obstacle(state, head)) is not None:
            yield restriction, pool, head, reason


def _look_at_unrunnable(state: State, found: dict[tuple[str, Restriction | None], Stranded]) -> None:
    reasons: dict[Restriction | None, Obstacle | None] = {}
    alone = 0
    for task in islice(state.unrunnable, LOOKED_AT):
        restriction = task.restriction
        by_inputs = alone < ALONE_MAX and bool(task.inputs) and (restriction is None or fitting.is_heavy(state, task))
        alone += by_inputs
        if restriction not in reasons or by_inputs:
            if len(reasons) >= RESTRICTIONS_MAX:
                continue
            reasons[restriction] = obstacle(state, task)
        reason = reasons[restriction]
        if reason is None:
            continue
        group = found.get((reason.kind, restriction))
        if group is None:
            group = found[reason.kind, restriction] = Stranded(reason.kind, restriction, reason, task, 0, [])
        group.count += 1
        group.tasks.append(task)


def clients_of(tasks: Sequence[Task], most: int = LOOKED_AT) -> Iterator[tuple[Task, ClientRecord]]:
    """Yield (task, client) for the clients that want some tasks, or what depends on them."""
    seen: dict[Task, None] = dict.fromkeys(tasks)
    stack = [(task, task) for task in reversed(tasks)]
    while stack:
        origin, task = stack.pop()
        for client in task.clients:
            yield origin, client
        for follower in chain(task.dependents or ()):
            if follower not in seen and len(seen) < most:
                seen[follower] = None
                stack.append((origin, follower))
