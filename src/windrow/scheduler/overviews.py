"""Explanations of several tasks, of a worker, and of why nothing moves; and the answer to `Explain`.

What lives here: sums over what ``explain`` and ``obstacles`` find. What this file must never know: how it is told.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence

from windrow.causes import asked_for, count_of, listed, span
from windrow.errors import in_bytes
from windrow.explanation import (
    ClusterExplanation,
    Explanation,
    Group,
    TaskExplanation,
    TasksExplanation,
    WorkerExplanation,
)
from windrow.keys import Key, from_plain, is_key, label
from windrow.scheduler import placement
from windrow.scheduler.explain import causes, task_facts
from windrow.scheduler.obstacles import has_all, stranded
from windrow.scheduler.state import MEMORY, RELEASED, WAITING, State, Task, WorkerRecord
from windrow.wire.requests import Explain

TASKS_MAX = 20_000
"""So many tasks of a collection are counted by state, those that they need included."""
EXPLAINED_MAX = 500
"""So many of them are explained."""
GROUPS_MAX = 8
UNKNOWN = (
    "the scheduler does not know it: it was never submitted, or it was cancelled, or nobody has wanted its result any "
    "more, or another scheduler has it"
)


def answer(state: State, request: Explain) -> Explanation:
    """Return what a request asks for."""
    if request.worker is not None:
        return worker_facts(state, request.worker)
    if request.keys is None:
        return cluster_facts(state)
    if len(request.keys) == 1 and not request.several:
        task = find(state, request.keys[0])
        return unknown(request.keys[0]) if task is None else task_facts(state, task)
    tasks = [find(state, key) for key in request.keys]
    return several(state, [task for task in tasks if task is not None], len(tasks) - sum(map(bool, tasks)))


def find(state: State, key: Key) -> Task | None:
    """Return a task by its key, or by the text of its key."""
    task = state.tasks.get(key)
    if task is not None or type(key) is not str:
        return task
    try:
        meant = ast.literal_eval(key)
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # just a text
        return None
    return state.tasks.get(from_plain(meant)) if is_key(meant) else None


def unknown(key: Key) -> TaskExplanation:
    """Return what can be said of a key that is in no table."""
    return TaskExplanation(key=label(key), state="unknown", detail=UNKNOWN)


# ---------------------------------------------------------------- several tasks


def several(state: State, asked: Sequence[Task], unknowns: int = 0) -> TasksExplanation:
    """Return what some tasks wait for, and what those need, summed up."""
    seen: dict[Task, None] = dict.fromkeys(asked[:TASKS_MAX])
    stack = list(seen)
    while stack and len(seen) < TASKS_MAX:
        task = stack.pop()
        if task.state is WAITING:
            for source in task.inputs:
                if source not in seen and source.state is not MEMORY:
                    seen[source] = None
                    stack.append(source)
    states: dict[str, int] = {"unknown": unknowns} if unknowns else {}
    for task in seen:
        states[task.state] = states.get(task.state, 0) + 1
    groups = _groups(state, [task for task in seen if task.state not in (MEMORY, WAITING, RELEASED)])
    return TasksExplanation(states=states, groups=groups, more=max(0, len(asked) - TASKS_MAX))


def _groups(state: State, tasks: Sequence[Task]) -> tuple[Group, ...]:
    """Group tasks by what their causes are called; beyond a measure, those of one state and function are alike."""
    counts: dict[tuple[str, ...], int] = {}
    examples: dict[tuple[str, ...], Task] = {}
    alike: dict[tuple[str, object, object], tuple[str, ...]] = {}
    for number, task in enumerate(tasks):
        kin = (task.state, task.function, task.restriction)
        if number < EXPLAINED_MAX or kin not in alike:
            alike[kin] = _named(state, task)
        name = alike[kin]
        counts[name] = counts.get(name, 0) + 1
        examples.setdefault(name, task)
    most = sorted(counts, key=lambda name: -counts[name])[:GROUPS_MAX]
    return tuple([Group(counts[name], "+".join(name[:1]), task_facts(state, examples[name])) for name in most])


def _named(state: State, task: Task) -> tuple[str, ...]:
    found = causes(state, task)
    first = type(found[0]).__name__.lower()
    asks = getattr(found[0], "asks", "") or getattr(found[0], "error", "")
    return (first, str(getattr(found[0], "kind", "")), asks)


# ---------------------------------------------------------------- a worker


def worker_facts(state: State, name: str) -> WorkerExplanation:
    """Return what a worker does, and why it is given no more; it is named by its address or name."""
    found = state.workers.get(name) or next((w for w in state.workers.values() if str(w.name) == name), None)
    if found is None:
        there = listed([repr(str(worker.name)) for worker in state.workers.values()]) or "none"
        return WorkerExplanation(
            name=name,
            address="?",
            status="unknown",
            threads=0,
            reasons=(f"there is no such worker; there are {there}",),
        )
    longest = next(iter(found.processing.items()), None)
    return WorkerExplanation(
        name=str(found.name),
        address=found.address,
        status=found.status.replace("_", " "),
        threads=found.nthreads,
        processing=len(found.processing),
        longest=None if longest is None else label(longest[0].key),
        longest_s=0.0 if longest is None else state.now_s - longest[1],
        own_queue=len(found.local),
        held=len(found.holds),
        held_bytes=found.stored,
        memory=int(found.metrics.get("memory", 0)),
        memory_limit=found.memory_limit,
        silent_s=max(0.0, state.now_s - found.last_seen_s),
        reasons=tuple(_why_no_more(state, found)),
    )


def _why_no_more(state: State, worker: WorkerRecord) -> list[str]:
    if worker.cut_s is not None:
        waited_s = state.now_s - worker.cut_s
        left = span(max(0.0, worker.patience_s - waited_s))
        return [
            f"it has been cut off for {span(waited_s)}, and may come back within {left}; it is sent nothing meanwhile"
        ]
    if worker.status == "lost":
        return [f"it ended {span(state.now_s - worker.lost_s)} ago; its nanny's account is awaited"]
    if worker.status == "paused":
        process = in_bytes(worker.metrics.get("memory", 0))
        limit = f" of {in_bytes(worker.memory_limit)}" if worker.memory_limit else ""
        return [f"it has paused, as its memory is short ({process}{limit}): it starts nothing until memory is free"]
    if worker.status == "closing_gracefully":
        return ["it is to leave: it starts nothing more, and others take what it alone holds"]
    reasons = []
    in_threads = len(worker.processing) - len(worker.seceded)
    ghosts = worker.nthreads + len(worker.seceded) - worker.threads
    if ghosts > 0:
        reasons.append(f"{count_of(ghosts, 'thread is', 'threads are')} taken by cancelled tasks that still run")
    if worker.stalled:
        reasons.append("it had no news for a while when others were idle: it is sent nothing ahead until it has")
    if in_threads >= worker.threads - len(worker.seceded):
        return [*reasons, f"all its threads are taken{_own_queue(worker)}"]
    if worker in state.idle and worker.processing and not reasons:
        reasons.append(f"it has free threads{_own_queue(worker)}")
    return reasons + _why_idle(state, worker)


def _own_queue(worker: WorkerRecord) -> str:
    return f", and {count_of(len(worker.local), 'task stands', 'tasks stand')} in its own queue" if worker.local else ""


def _why_idle(state: State, worker: WorkerRecord) -> list[str]:
    """Say why a worker with a free thread is given nothing of what is queued."""
    reasons = []
    if len(state.queue) or len(worker.local):
        reasons.append(
            f"{count_of(len(state.queue) + len(worker.local), 'task')} for it are handed out with the next batch"
        )
    for restriction, pool in list(state.pools.items())[:GROUPS_MAX]:
        if not len(pool):
            continue
        asks = f"{count_of(len(pool), 'queued task asks', 'queued tasks ask')} for {asked_for(restriction.resources)}"
        if not has_all(worker, restriction):
            has = asked_for(sorted(worker.resources.items())) or "no resources"
            reasons.append(f"{asks}, and it has {has}")
        elif not placement.is_allowed(worker, restriction):
            reasons.append(f"{asks}, and must run on {listed([repr(name) for name in restriction.workers or ()])}")
        elif not placement.has_free(worker, restriction):
            reasons.append(f"{asks}, and what it has of that is taken")
    for other in list(state.local)[:GROUPS_MAX]:
        head = other.local.head()
        if other is worker or head is None:
            continue
        told = f"{count_of(len(other.local), 'task')} in the queue of worker {str(other.name)!r}"
        if head.restriction is not None and not placement.is_allowed(worker, head.restriction):
            reasons.append(f"{told}, the first of which must run there")
        else:
            move_s = placement.move_s(state, head, worker)
            reasons.append(f"{told}: bringing the first one's inputs here takes {span(move_s)}, which does not pay yet")
    if state.unrunnable:
        reasons.append(f"{count_of(len(state.unrunnable), 'task')} can run on no worker that is there")
    if not reasons:
        elsewhere = sum(len(other.processing) for other in state.workers.values() if other is not worker)
        reasons.append(f"nothing is queued: {count_of(elsewhere, 'task is', 'tasks are')} on other workers")
    return reasons


# ---------------------------------------------------------------- everything


def cluster_facts(state: State) -> ClusterExplanation:
    """Return what cannot go on, by cause, and who is idle."""
    statuses: dict[str, int] = {}
    for worker in state.workers.values():
        status = worker.status.replace("_", " ")
        statuses[status] = statuses.get(status, 0) + 1
    queued = len(state.queue) + len(state.unrunnable) + sum(map(len, state.pools.values()))
    queued += sum(len(worker.local) for worker in state.local)
    processing = sum(len(worker.processing) for worker in state.workers.values())
    news_s = [worker.progress_s for worker in state.workers.values() if worker.processing]
    still_s = state.now_s - max(news_s) if news_s else None
    groups = [Group(each.count, each.kind, task_facts(state, each.example)) for each in stranded(state)]
    for worker in sorted(state.workers.values(), key=lambda worker: worker.progress_s)[:GROUPS_MAX]:
        oldest = next(iter(worker.processing), None)
        if oldest is not None:
            groups.append(Group(len(worker.processing), "processing", task_facts(state, oldest)))
    return ClusterExplanation(
        workers=statuses,
        tasks=len(state.tasks),
        queued=queued,
        processing=processing,
        stuck=tuple(groups[:GROUPS_MAX]),
        idle=tuple([repr(str(worker.name)) for worker in state.idle]),
        still_s=still_s if still_s is not None and still_s >= 1.0 else None,
    )
