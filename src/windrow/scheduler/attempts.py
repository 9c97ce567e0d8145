"""Attempts: a task goes to a worker under a number, and comes off it again.

What lives here: the two ends of an attempt, and the message that begins it. What this file must never know: why a
worker was chosen (placement, dispatch), or what the attempt led to (transitions).
"""

from __future__ import annotations

from windrow.scheduler.state import MEMORY, State, Task, WorkerRecord
from windrow.wire.blobs import Blob, Shared
from windrow.wire.messages import Function, Run, TaskId


def send_attempt(state: State, task: Task) -> None:
    """Send a task to ``task.worker`` under a new attempt number, with the small inputs that it lacks."""
    worker, function = task.worker, task.function
    assert worker is not None
    assert function is not None
    task.attempt += 1
    if function.id not in worker.functions:
        worker.functions[function.id] = None
        state.tell(worker, Function(function.id, function.name, function.code))
    function.started += 1
    cost = task.cost_s = function.expected_s
    if not worker.processing:
        worker.progress_s = state.now_s
    worker.processing[task] = state.now_s
    worker.expected_s += cost
    if task.restriction is not None:
        for name, quantity in task.restriction.resources:
            worker.used[name] = worker.used.get(name, 0.0) + quantity
    wanted = bool(task.clients or task.dependents)
    args = task.args
    if type(args) is Shared:
        args = state.config.sent(args, worker.memory)
    run = Run(task.id, task.attempt, task.key, function.id, args, task.priority, wanted, actor=task.actor)
    if task.restriction is not None:
        run.takes = bool(task.restriction.resources)
    if task.inputs:
        _send_inputs(state, task, worker, run)
    worker.out.append(run)
    if not worker.dirty:
        state.touch(worker)
    count, threads = len(worker.processing), worker.threads
    if count == threads or (count > threads and worker.expected_s >= threads * state.config.pipeline_s):
        state.open_or_idle(worker)


def _send_inputs(state: State, task: Task, worker: WorkerRecord, run: Run) -> None:
    shipped: dict[TaskId, Blob] = {}
    where: dict[TaskId, tuple[int, list[str]]] = {}
    for source in task.inputs:
        if source.state is MEMORY and worker not in source.holders:
            if source.value is not None:
                shipped[source.id] = source.value
                state.add_holder(source, worker)
            else:
                where[source.id] = source.nbytes, [holder.address for holder in source.holders]
    run.inputs = [source.id for source in task.inputs]
    run.shipped = shipped
    run.where = where


def leave_threads(state: State, worker: WorkerRecord, task: Task) -> None:
    """An attempt takes no thread any more: another may start beside it."""
    if task not in worker.seceded:
        worker.seceded[task] = None
        worker.threads += 1
        worker.expected_s = max(0.0, worker.expected_s - task.cost_s)
        task.cost_s = 0.0
        state.open_or_idle(worker)


def come_back_to_threads(state: State, worker: WorkerRecord, task: Task) -> None:
    """An attempt takes a thread again."""
    if task in worker.seceded:
        _stay_away_no_longer(worker, task)
        task.cost_s = task.expected_s
        worker.expected_s += task.cost_s
        state.open_or_idle(worker)


def _stay_away_no_longer(worker: WorkerRecord, task: Task) -> None:
    del worker.seceded[task]
    worker.threads -= 1


def haunt(worker: WorkerRecord, task: Task) -> None:
    """An attempt is about to be freed: what it takes is not there for others before it has ended."""
    if task.worker is worker and task.restriction is not None and task.restriction.resources:
        worker.haunted[task.id, task.attempt] = task.restriction.resources


def lay_ghost(worker: WorkerRecord, task: TaskId, attempt: int) -> None:
    """A freed attempt has ended."""
    resources = worker.haunted.pop((task, attempt), None)
    if resources is not None:
        _give_back(worker, resources)


def _give_back(worker: WorkerRecord, resources: tuple[tuple[str, float], ...]) -> None:
    for name, quantity in resources:
        worker.used[name] -= quantity
    if resources and not worker.processing and not worker.haunted:
        worker.used.clear()  # sums of floats drift


def end_attempt(state: State, task: Task) -> None:
    """Take a task off its worker."""
    worker = task.worker
    assert worker is not None
    del worker.processing[task]
    if worker.processing:
        worker.expected_s -= task.cost_s
    else:
        worker.expected_s = 0.0  # sums of floats drift
    if worker.recalled:
        worker.recalled.pop(task, None)
    if worker.seceded and task in worker.seceded:
        _stay_away_no_longer(worker, task)
    if task.restriction is not None and (task.id, task.attempt) not in worker.haunted:
        _give_back(worker, task.restriction.resources)
    task.worker = None
    if len(worker.processing) < worker.threads or worker not in state.open:
        state.open_or_idle(worker)
