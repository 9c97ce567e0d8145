"""What must be true of a worker's core between any two entries, recomputed from scratch.

What lives here: `check_worker`, for tests and ``Worker(validate=True)``. What this file must never know: how to repair
anything.
"""

from __future__ import annotations

from windrow.worker.core import WorkerCore
from windrow.worker.state import READY, RUNNING, WAITING

__all__ = ["check_worker"]


def check_worker(core: WorkerCore) -> None:
    """Raise AssertionError, naming attempt and fact, if two sides of any fact disagree (with the lock held)."""
    running = ready = 0
    for id, attempt in core.attempts.items():
        assert attempt.id == id, attempt
        assert attempt.state in (WAITING, READY, RUNNING), attempt
        assert (attempt.queue is not None) == (attempt.state is READY), f"{attempt} stands in a wrong queue"
        running += attempt.state is RUNNING and not attempt.seceded
        ready += attempt.state is READY
        if attempt.state is WAITING:
            absent = [source for source in attempt.inputs if attempt in core.waiting_for.get(source, ())]
            assert attempt.missing == len(absent), f"{attempt} counts {attempt.missing} missing inputs of {absent}"
    assert len(core.ready) == ready, f"{len(core.ready)} are queued of {ready}"
    assert core.running == running + core.ghosts, f"{core.running} run: {running}, and {core.ghosts} freed ones"
    for id, waiting in core.waiting_for.items():
        assert waiting, f"nobody waits for {id}"
        for attempt in waiting:
            assert core.attempts.get(attempt.id) is attempt, f"{attempt} is gone, and waits for {id}"
