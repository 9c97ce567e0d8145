"""Work that was sent to the wrong place comes back: recall of what has not started.

What lives here: the periodic look at who idles while others hold more than they can start. What this file must never
know: clocks (the tick brings the time), sockets, results.

Nothing is taken on suspicion: a worker answers a `Recall` with what it gives back, and until then the attempts are
its own. So no task runs twice for the sake of balance.
"""

from __future__ import annotations

from windrow.scheduler.placement import is_allowed
from windrow.scheduler.state import State, Task, WorkerRecord
from windrow.wire.messages import Recall


def rebalance(state: State) -> None:
    """Recall what has not started from workers that stall, or hold much, while others idle with nothing to do."""
    if not state.idle or state.queue:
        return
    hungry = sum(worker.threads - len(worker.processing) for worker in state.idle)
    for worker in state.workers.values():
        if hungry <= 0:
            return
        if worker.status == "running" and len(worker.processing) > worker.threads and not worker.recalled:
            hungry -= _recall(state, worker)


def _recall(state: State, worker: WorkerRecord) -> int:
    """Ask one worker back for its part; return how many tasks that is."""
    stalled = state.now_s - worker.progress_s > state.config.stall_s
    remaining_s = sum(task.expected_s for task in worker.processing) / worker.nthreads
    if not stalled and remaining_s < state.config.stall_s:
        return 0
    in_threads = worker.threads - len(worker.seceded)
    sent = [task for task in worker.processing if task not in worker.seceded]
    not_started = [task for task in sent[in_threads:] if not task.missing]
    if not stalled:  # it moves: leave it half of what it has
        not_started = not_started[len(not_started) // 2 :]
    not_started = [task for task in not_started if _may_go(state, task)]
    if not_started:
        worker.stalled = stalled
        state.open_or_idle(worker)
        worker.recalled = dict.fromkeys(not_started)
        state.tell(worker, Recall([task.id for task in not_started]))
        state.tally.recalled += len(not_started)
        state.tally.recalled_s += sum([task.expected_s for task in not_started])
    return len(not_started)


def _may_go(state: State, task: Task) -> bool:
    """Say whether an idle worker may run a task."""
    return task.restriction is None or any(is_allowed(worker, task.restriction) for worker in state.idle)
