"""How many workers the work at hand asks for, which can be missed, and since when nothing is to be done.

What lives here: `adaptive_target`, `missable` (`workers_to_close`) and `idle_since_s`: questions about the state, which
change nothing. What this file must never know: who asks, how workers are started or stopped, clocks (``state.now_s`` is
the time).

Nothing here walks all tasks: how many of a function are queued is counted where they enter and leave a queue, and what
asks for workers or resources is listed by what it asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import ceil, inf
from typing import Any

from msgspec import Struct

from windrow.scheduler import placement
from windrow.scheduler.state import (
    PROCESSING,
    QUEUED,
    WAITING,
    FunctionRecord,
    State,
    Task,
    WorkerRecord,
)

FULL = 0.6
"""Where what is stored takes more than this part of all workers' memory, as many workers again are asked for."""

SPARE_MEMORY = 2.0
"""The memory of those that stay is to be so many times what is stored, unless it is said otherwise."""

LATE = 2.0
"""A task that has run so many times as long as expected may well run for as long again."""

TINY = 0.01
"""So little of a worker is not worth another one."""


# ---------------------------------------------------------------- how many


def adaptive_target(
    state: State, target_duration_s: float, nthreads: int = 1, memory_ratio: float | None = None
) -> int:
    """Return how many workers would do the work at hand in about this time.

    Work is what could run now: what workers were sent, and what is queued. A task that waits for others is none. No
    more threads are asked for than there are tasks, and no fewer workers than are at work or hold what would fit
    nowhere else. What asks for resources is counted by those. A task that may run on none of the workers asks for one
    at the most, as another of the same kind could not run it either. Workers that are paused, as their memory is full,
    are of no help, and come on top.

    Parameters
    ----------
    target_duration_s
        How long all that could run now may take.
    nthreads
        The threads of a worker, where there is none to be asked.
    memory_ratio
        See `missable`.
    """
    assert target_duration_s > 0
    present, running = staff(state), placement.running(state)
    wanted = Demand(state, target_duration_s).workers(running, nthreads)
    if wanted:
        wanted += len(present) - len(running)
    limits = sum([worker.memory_limit or inf for worker in present])
    if sum([worker.stored for worker in present]) > FULL * limits:
        wanted = max(wanted, 2 * len(present))
    if wanted < len(present):
        wanted = max(wanted, len(present) - len(missable(state, memory_ratio=memory_ratio)))
    return wanted


def staff(state: State) -> list[WorkerRecord]:
    """Return the workers that are there to stay: they take tasks, or are paused."""
    return [worker for worker in state.workers.values() if worker.status in ("running", "paused")]


class Demand:
    """What could run now, in threads and in resources, if it is to take no longer than a given time."""

    def __init__(self, state: State, target_duration_s: float) -> None:
        self.state = state
        self.target_s = target_duration_s
        self.late = overdue(state)
        self.seconds = 0.0
        self.tasks = 0
        self.resources: dict[str, float] = {}
        self.stranded = len(state.unrunnable)
        for worker in state.workers.values():
            self._count_sent(worker)
        for function in state.functions.values():
            if function.queued:
                self._count(function.queued, function)
        self._count_pools()
        self._count_by_host()

    def workers(self, present: list[WorkerRecord], nthreads: int) -> int:
        """Return how many workers like those that are present meet it."""
        mean_threads = sum([worker.nthreads for worker in present]) / len(present) if present else nthreads
        most = min(self.seconds / self.target_s, self.tasks) / mean_threads
        for name, units in self.resources.items():
            supplies = [worker.resources[name] for worker in present if worker.resources.get(name)]
            if supplies:
                most = max(most, units * len(supplies) / sum(supplies))
        return max(ceil(most - TINY), 1 if self.tasks or self.stranded else 0)

    def _count(self, tasks: int, function: FunctionRecord | None) -> float:
        each_s = self._expected_s(function)
        self.tasks += tasks
        self.seconds += tasks * each_s
        return each_s

    def _expected_s(self, function: FunctionRecord | None) -> float:
        assert function is not None
        return max(function.expected_s, self.late.get(function, 0.0))

    def _take(self, resources: tuple[tuple[str, float], ...], tasks: int, each_s: float) -> None:
        at_once = min(tasks * each_s / self.target_s, tasks)
        for name, quantity in resources:
            self.resources[name] = self.resources.get(name, 0.0) + at_once * quantity

    def _count_sent(self, worker: WorkerRecord) -> None:
        """Count what a worker was sent: by what it was expected to take, unless it takes longer than that."""
        oldest = oldest_attempt(worker)
        if oldest is None:
            return
        if oldest.function in self.late:
            for task in worker.processing:
                if task not in worker.seceded:
                    self._count(1, task.function)
        else:
            self.tasks += len(worker.processing) - len(worker.seceded)
            self.seconds += worker.expected_s
        if worker.used:
            for task in worker.processing:
                if task.restriction is not None:
                    self._take(task.restriction.resources, 1, self._expected_s(task.function))

    def _count_pools(self) -> None:
        """Count what is queued and takes of resources; all in a pool as its first task."""
        for restriction, pool in list(self.state.pools.items()):
            first = pool.head()
            if first is None:
                continue
            if any(placement.is_allowed(worker, restriction) for worker in self.state.workers.values()):
                self._take(restriction.resources, len(pool), self._count(len(pool), first.function))
            else:
                self.stranded += len(pool)

    def _count_by_host(self) -> None:
        """Count what is queued for a host, where more workers may come; what asks for workers by name is theirs."""
        state = self.state
        if not state.restricted:
            return
        hosts = {worker.host for worker in state.workers.values()}
        for restriction, tasks in state.restricted.items():
            if not restriction.resources and not hosts.isdisjoint(restriction.workers or ()):
                for task in tasks:
                    if task.state is QUEUED:
                        self._count(1, task.function)


def overdue(state: State) -> dict[FunctionRecord, float]:
    """Return what functions may take whose tasks run for much longer than was expected.

    One that has never finished is believed to take twice as long as it has run for anywhere. One that has is only
    doubted when it is late wherever it runs: one straggler says nothing about the next thousand.
    """
    longest: dict[FunctionRecord, float] = {}
    shortest: dict[FunctionRecord, float] = {}
    for worker in state.workers.values():
        task = oldest_attempt(worker)
        if task is not None and task.function is not None:
            ran_s = state.now_s - worker.progress_s  # at the least
            longest[task.function] = max(ran_s, longest.get(task.function, 0.0))
            shortest[task.function] = min(ran_s, shortest.get(task.function, inf))
    late: dict[FunctionRecord, float] = {}
    for function, longest_s in longest.items():
        ran_s = shortest[function] if function.count else longest_s
        if LATE * ran_s > function.expected_s * (LATE if function.count else 1.0):
            late[function] = LATE * ran_s
    return late


def oldest_attempt(worker: WorkerRecord) -> Task | None:
    """Return what a worker was sent first of what takes its threads and could start."""
    for task in worker.processing:
        if not task.missing and task not in worker.seceded:
            return task
    return None


# ---------------------------------------------------------------- which can be missed


def workers_to_close(
    state: State,
    *,
    memory_ratio: float | None = None,
    n: int | None = None,
    key: Callable[[WorkerRecord], Hashable] | None = None,
    minimum: int | None = None,
    target: int | None = None,
    attribute: str = "address",
    idle_only: bool = False,
) -> list[Any]:
    """Return an attribute of the workers that `missable` names; the same parameters."""
    chosen = missable(
        state, memory_ratio=memory_ratio, n=n, key=key, minimum=minimum, target=target, idle_only=idle_only
    )
    return [getattr(worker, attribute) for worker in chosen]


def missable(
    state: State,
    *,
    memory_ratio: float | None = None,
    n: int | None = None,
    key: Callable[[WorkerRecord], Hashable] | None = None,
    minimum: int | None = None,
    target: int | None = None,
    idle_only: bool = False,
) -> list[WorkerRecord]:
    """Return the workers that can be missed: idle groups, those with the least data first.

    Never those with a task that has left its thread, or with an actor, those that a plugin keeps, and the last of those
    that may run a task that asks for workers or resources.

    Parameters
    ----------
    memory_ratio
        Without ``n`` and ``target``: groups go while the memory of those that stay is so many times what is stored
        (by default `SPARE_MEMORY`), and none that works.
    n, target
        So many, or as many as are more than that; groups that work go after the idle ones.
    key
        Those of which it says the same go together, or not at all.
    minimum
        So many stay.
    idle_only
        None that works, whatever else is asked for.
    """
    present = staff(state)
    count = n if target is None else max(0, len(present) - target)
    ratio = SPARE_MEMORY if memory_ratio is None else memory_ratio
    stored = sum([worker.stored for worker in present])
    rest = Rest(present, _needed(state))
    chosen: list[WorkerRecord] = []
    for group in _groups(state, present, key):
        if len(present) - len(chosen) - len(group.workers) < (minimum or 0) or (idle_only and group.works):
            continue
        if count is not None:
            if len(chosen) + len(group.workers) > count:
                continue
        elif group.works or not rest.can_hold(ratio * stored, group.workers):
            break
        if rest.let_go(group.workers):
            chosen += group.workers
    return chosen


class Group(Struct, eq=False):
    """Workers that go together, or not at all."""

    workers: list[WorkerRecord]
    works: bool


class Rest:
    """Those that stay: what memory they have, and which of them may run what asks for workers."""

    def __init__(self, present: list[WorkerRecord], needed: list[dict[WorkerRecord, None]]) -> None:
        self.count = len(present)
        self.unlimited = sum([not worker.memory_limit for worker in present])
        self.limits = sum([worker.memory_limit for worker in present])
        self.needed = needed

    def can_hold(self, stored: float, group: list[WorkerRecord]) -> bool:
        """Say whether they may hold so much without these; those without a limit may hold anything."""
        if self.count == len(group):  # nobody would be left, but the scheduler with copies of what is small
            return not any(task.value is None for worker in group for task in worker.holds)
        if self.unlimited > sum([not worker.memory_limit for worker in group]):
            return True
        return self.limits - sum([worker.memory_limit for worker in group]) >= stored

    def let_go(self, group: list[WorkerRecord]) -> bool:
        """Take these out; False if some task could run nowhere then."""
        if any(all(worker in group for worker in able) for able in self.needed):
            return False
        for able in self.needed:
            for worker in group:
                able.pop(worker, None)
        self.count -= len(group)
        self.unlimited -= sum([not worker.memory_limit for worker in group])
        self.limits -= sum([worker.memory_limit for worker in group])
        return True


def _groups(state: State, present: list[WorkerRecord], key: Callable[[WorkerRecord], Hashable] | None) -> list[Group]:
    """Return the groups that may go; who is missed the least comes first."""
    able = [worker for worker in present if worker.status == "running" and not worker.seceded and not worker.actors]
    if state.may_go is not None and able:
        able = state.may_go(able)
    allowed = dict.fromkeys(able)
    together: dict[Hashable, list[WorkerRecord]] = {}
    for worker in present:
        together.setdefault(worker if key is None else key(worker), []).append(worker)
    groups = [
        Group(workers, any(is_working(worker) for worker in workers))
        for workers in together.values()
        if all(worker in allowed for worker in workers)
    ]
    groups.sort(key=lambda group: (group.works, sum([worker.stored for worker in group.workers])))
    return groups


def is_working(worker: WorkerRecord) -> bool:
    """Say whether a worker has tasks, or some wait for it."""
    return bool(worker.processing or worker.local)


def _needed(state: State) -> list[dict[WorkerRecord, None]]:
    """Return, for each thing that unfinished tasks ask for, the workers that have it."""
    needed = []
    running = placement.running(state)
    for restriction, tasks in state.restricted.items():
        if restriction.allow_other_workers and not restriction.resources:
            continue
        able = {worker: None for worker in running if placement.is_allowed(worker, restriction)}
        if able and any(task.state in (WAITING, QUEUED, PROCESSING) for task in tasks):
            needed.append(able)
    return needed


# ---------------------------------------------------------------- is anything to be done


def is_idle(state: State) -> bool:
    """Say whether nothing runs, or could run, or is being asked of workers."""
    if state.queue or state.unrunnable or state.relays:
        return False
    if any(len(pool) for pool in state.pools.values()):
        return False
    return not any(worker.processing or worker.local for worker in state.workers.values())


def idle_since_s(state: State) -> float | None:
    """Return since when nothing was done, in the scheduler's time; None while something is to be done.

    Results in memory are nothing to be done, and neither is a worker that comes or goes, nor a client that looks on.
    """
    if not is_idle(state):
        state.worked_s = state.looked_s = max(state.worked_s, state.now_s)
        state.looked_id = state.next_id
        return None
    if state.looked_id != state.next_id or state.worked_s == state.looked_s:
        # Something has come or gone since the last look without a word of a worker; at the latest, it was this.
        state.worked_s = max(state.worked_s, state.now_s)
        state.looked_id, state.looked_s = state.next_id, -inf
    return state.worked_s
