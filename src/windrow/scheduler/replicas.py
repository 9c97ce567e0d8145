"""How many workers hold a value, and which: replicate, rebalance, retire.

What lives here: these three as errands (see copies), and the estimates and rules that they share with the memory
manager. What this file must never know: messages, who asked, and how a copy travels.

An errand looks at the state anew after each round of copies, so that whatever happened meanwhile (deaths, results,
releases, a copy that failed) changes its next round and needs no code of its own. A value that was lost, or is nobody's
any more, is no business of an errand.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator

from msgspec import Struct

from windrow.scheduler import copies, placement, workers
from windrow.scheduler.copies import Errand
from windrow.scheduler.state import MEMORY, State, Task, WorkerRecord
from windrow.scheduler.transitions import free, return_attempt
from windrow.wire.messages import Close, Key, Leaving, Recall

ROUND_BYTES = 64 * 2**20
"""So much is sent to a worker in one round, or one value that is larger: what is under way must fit into memory."""

TRIES = 3
"""So often a worker tries to get a value, before an errand looks for another worker."""

GAP = 0.1
"""Workers whose bytes differ by less than this part of the mean are as full as each other."""

CLOSING = "closing_gracefully"


# ---------------------------------------------------------------- estimates and rules


class Plan:
    """What workers will hold when all copies under way have arrived; made anew for each round."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.held = {worker: worker.stored for worker in state.workers.values()}
        self.sent: dict[WorkerRecord, int] = {}
        for task, under_way in state.copies.items():
            for worker in under_way:
                if worker not in task.holders:
                    self.held[worker] += task.nbytes

    def recipient(self, task: Task, candidates: Iterable[WorkerRecord], errand: Errand) -> WorkerRecord | None:
        """Return the emptiest of some workers that can take a copy; those whose memory it fits into come first."""
        if copies.is_cut_off(self.state, task):
            return None
        under_way = self.state.copies.get(task, {})
        best: tuple[bool, bool, int] | None = None
        chosen = None
        for worker in candidates:
            if worker in task.holders or worker in under_way or worker.status != "running":
                continue
            if self._has_tried(errand, task, worker):
                continue
            held = self.held[worker]
            is_full = 0 < worker.memory_limit < held + task.nbytes
            rank = copies.is_silent(self.state, worker), is_full, held
            if best is None or rank < best:
                best, chosen = rank, worker
        return chosen

    def _has_tried(self, errand: Errand, task: Task, worker: WorkerRecord) -> bool:
        return errand.failures.get((task.id, worker.address), 0) >= TRIES

    def join(self, task: Task, group: Collection[WorkerRecord], errand: Errand) -> list[WorkerRecord]:
        """Wait for copies to a group that others have asked for, where these are worth the wait; return the workers."""
        if task not in self.state.copies or copies.is_cut_off(self.state, task):
            return []
        joined = []
        for worker in self.state.copies[task]:
            if worker in task.holders or worker not in group or worker.status != "running":
                continue
            if not copies.is_silent(self.state, worker) and not self._has_tried(errand, task, worker):
                joined.append(worker)
        for worker in joined:
            copies.start(self.state, task, worker, errand)
        return joined

    def start(self, task: Task, worker: WorkerRecord, errand: Errand, first: int = 0) -> bool:
        """Have a worker hold a copy; False if this round has brought it enough."""
        sent = self.sent.get(worker, 0)
        if sent and sent + task.nbytes > ROUND_BYTES and task.value is None:
            return False
        self.sent[worker] = sent + task.nbytes
        self.held[worker] += task.nbytes
        copies.start(self.state, task, worker, errand, first)
        return True


def is_used_on(task: Task, worker: WorkerRecord) -> bool:
    """Say whether an attempt on this worker counts on a value being there."""
    return any(follower.worker is worker for follower in task.dependents or ())


def is_only_on(task: Task, leaving: Collection[WorkerRecord]) -> bool:
    """Say whether a value would be lost with these workers."""
    return task.value is None and not any(holder.is_alive and holder not in leaving for holder in task.holders)


def drop_copy(state: State, task: Task, worker: WorkerRecord) -> bool:
    """Have a worker free its copy; False if it is used there, or is the last, or is being copied."""
    if worker not in task.holders or task.actor or task in state.copies:
        return False
    if is_used_on(task, worker) or is_only_on(task, (worker,)):
        return False
    state.remove_holder(task, worker)
    free(state, worker, task)
    return True


# ---------------------------------------------------------------- replicate


def replicate(
    state: State,
    tasks: list[Task],
    n: int | None,
    names: list[str] | None,
    branching_factor: int,
    then: Callable[[], None],
) -> None:
    """Have ``n`` of the named workers (all: None) hold each value; no more where others need not, and no fewer.

    Each holder is copied from by at most ``branching_factor`` others in a round, so that a broadcast to many
    workers goes along a tree.
    """
    errand = Errand()
    errand.steps = _replicate(state, errand, tasks, n, names, branching_factor, then)
    errand.go_on(state)


def _replicate(
    state: State,
    errand: Errand,
    tasks: list[Task],
    n: int | None,
    names: list[str] | None,
    branching_factor: int,
    then: Callable[[], None],
) -> Iterator[None]:
    while True:
        plan = Plan(state)
        group = [
            worker
            for worker in placement.running(state)
            if names is None or worker.address in names or str(worker.name) in names
        ]
        goal = len(group) if n is None else min(n, len(group))
        for task in tasks:
            if task.state is MEMORY and not task.actor:
                _spread(plan, errand, task, group, goal, branching_factor)
        if not errand.open:
            break
        yield
    for task in tasks:
        if task.state is MEMORY:
            for worker in _surplus(plan, task, group, goal):
                drop_copy(state, task, worker)
    then()


def _spread(
    plan: Plan, errand: Errand, task: Task, group: list[WorkerRecord], goal: int, branching_factor: int
) -> None:
    """Start the copies of one round of one value."""
    most = goal - len(plan.join(task, group, errand)) - sum([worker in task.holders for worker in group])
    if task.value is None:
        most = min(most, len(task.holders) * branching_factor)
    for number in range(most):
        worker = plan.recipient(task, group, errand)
        if worker is None or not plan.start(task, worker, errand, first=number):
            return


def _surplus(plan: Plan, task: Task, group: list[WorkerRecord], goal: int) -> list[WorkerRecord]:
    """Return the fullest of the holders beyond the goal, and those who use the value last."""
    holders = [worker for worker in group if worker in task.holders]
    holders.sort(key=lambda worker: (is_used_on(task, worker), -plan.held[worker]))
    return holders[: max(0, len(holders) - goal)]


# ---------------------------------------------------------------- rebalance


class Move(Struct, eq=False):
    """A value that is to leave one worker for another."""

    task: Task
    source: WorkerRecord
    to: WorkerRecord


def rebalance(
    state: State, tasks: list[Task] | None, group: list[WorkerRecord], then: Callable[[list[Key]], None]
) -> None:
    """Move values (None: any) within a group of workers until these are about equally full.

    ``then`` is given the keys that were to be moved, and could not.
    """
    errand = Errand()
    errand.steps = _rebalance(state, errand, tasks, group, then)
    errand.go_on(state)


def _rebalance(
    state: State, errand: Errand, tasks: list[Task] | None, group: list[WorkerRecord], then: Callable[[list[Key]], None]
) -> Iterator[None]:
    left = choose_moves(tasks, group)
    failed: list[Key] = []
    while left:
        plan = Plan(state)
        begun: list[Move] = []
        later: list[Move] = []
        for move in left:
            task = move.task
            if task.state is not MEMORY or move.source not in task.holders:
                continue
            if move.to.status != "running":
                failed.append(task.key)
            else:
                (begun if plan.start(task, move.to, errand) else later).append(move)
        if errand.open:
            yield
        for move in begun:
            task = move.task
            if task.state is not MEMORY or move.source not in task.holders:
                continue
            if move.to in task.holders:
                drop_copy(state, task, move.source)
            elif errand.failures.get((task.id, move.to.address), 0) < TRIES:
                later.append(move)
            else:
                failed.append(task.key)
        left = later
    then(failed)


def choose_moves(tasks: list[Task] | None, group: list[WorkerRecord]) -> list[Move]:
    """Return moves, of large values first, from the fullest worker to the emptiest, while that brings them closer.

    A value stays where an attempt counts on it. Each value is looked at once on each of its holders: the gap between
    the fullest and the emptiest worker only shrinks, and so what is too large for it once stays so.
    """
    held = {worker: worker.stored for worker in group}
    within = None if tasks is None else dict.fromkeys(tasks)
    movable = {
        worker: sorted(
            [
                task
                for task in worker.holds
                if (within is None or task in within) and not task.actor and not is_used_on(task, worker)
            ],
            key=lambda task: task.nbytes,  # taken from the end
        )
        for worker in group
    }
    moves: list[Move] = []
    taken: dict[tuple[Task, WorkerRecord], None] = {}
    least_gap = GAP * sum(held.values()) / len(group) if group else 0.0
    sources = list(group)
    while sources:
        source = max(sources, key=lambda worker: held[worker])
        if not movable[source]:
            sources.remove(source)
            continue
        if held[source] - min(held.values()) <= least_gap:
            break
        task = movable[source].pop()
        others = [worker for worker in group if worker not in task.holders and (task, worker) not in taken]
        if not others:
            continue
        to = min(others, key=lambda worker: held[worker])
        if 0 < task.nbytes < held[source] - held[to]:
            moves.append(Move(task, source, to))
            taken[task, to] = None
            held[source] -= task.nbytes
            held[to] += task.nbytes
    return moves


# ---------------------------------------------------------------- retire


def on_leaving(state: State, worker: WorkerRecord, message: Leaving) -> None:
    """A worker is to end: it is sent no more tasks, or others take what it holds, as far as they can, and it goes."""
    if message.now:
        retire(state, [worker], True, lambda gone: None, anyway=True)
    elif worker.status != CLOSING:
        _send_nothing_more(state, worker)


def _send_nothing_more(state: State, worker: WorkerRecord) -> None:
    worker.status = CLOSING
    placement.remove_worker(state, worker)
    if worker.processing:
        state.tell(worker, Recall([task.id for task in worker.processing]))  # which gives back what has not started


def retire(
    state: State,
    chosen: list[WorkerRecord],
    close: bool,
    then: Callable[[list[str]], None],
    anyway: bool = False,
) -> None:
    """Have workers leave when others hold what they alone hold; without ``close`` they stay, and are sent no tasks.

    ``then`` is given the addresses of those that went. Those where actors live, and those whose data nobody can take,
    go on as before, unless they are to leave ``anyway``. What has not started runs elsewhere at once, and what still
    runs when the data is out runs again elsewhere; nobody is blamed for either. Retirements wait for each other, or two
    could rely on each other's workers.
    """
    errand = Errand()
    errand.steps = _retire(state, errand, chosen, close, then, anyway)
    state.retirements.append(errand)
    if len(state.retirements) == 1:
        errand.go_on(state)


def _retire(
    state: State,
    errand: Errand,
    chosen: list[WorkerRecord],
    close: bool,
    then: Callable[[list[str]], None],
    anyway: bool,
) -> Iterator[None]:
    # Those that stayed, emptied, may be closed later.
    able = [worker for worker in chosen if worker.is_alive or (close and worker.status == CLOSING)]
    leaving = [worker for worker in able if anyway or not worker.actors]
    for worker in leaving:
        _send_nothing_more(state, worker)
    while True:
        for worker in leaving:
            worker.status_before = "running"  # one that is cut meanwhile does not retire, should it come back
        leaving = [worker for worker in leaving if worker.status == CLOSING]
        plan = Plan(state)
        for worker in leaving:
            for task in list(worker.holds):
                _save(plan, errand, task, leaving)
        if not errand.open:
            break
        yield
    gone = []
    for worker in leaving:
        if not anyway and (worker.actors or any(is_only_on(task, leaving) for task in worker.holds)):
            worker.status = "paused" if worker.paused else "running"
            placement.add_worker(state, worker)
        else:
            gone.append(worker.address)
            _let_leave(state, worker, close)
    then(gone)
    state.retirements.popleft()
    if state.retirements:
        state.retirements[0].go_on(state)


def _save(plan: Plan, errand: Errand, task: Task, leaving: list[WorkerRecord]) -> None:
    """Have another worker hold what only leaving workers hold, unless one is about to."""
    if task.actor or not is_only_on(task, leaving):
        return
    if plan.join(task, plan.held, errand):
        return
    to = plan.recipient(task, plan.held, errand)
    if to is not None:
        plan.start(task, to, errand)


def _let_leave(state: State, worker: WorkerRecord, close: bool) -> None:
    if close:
        workers.remove(state, worker, "it was retired", blame=False)
        state.tell(worker, Close("retired"))
        return
    for task in list(worker.processing):
        if task.worker is worker:  # it may have come back with one before it
            free(state, worker, task)
            return_attempt(state, task)
