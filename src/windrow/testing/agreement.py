"""What the scheduler believes of a worker, beside what is true there: when nothing is under way, both are the same.

What lives here: the promise that no word between two cores is needed to keep their books alike, beyond those that
change them. What this file must never know: which scenario is played, and how a difference could be mended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from windrow.scheduler.state import State, WorkerRecord

if TYPE_CHECKING:
    from windrow.testing.virtual import VirtualWorker

__all__ = ["Agreement"]


class Agreement:
    """Compares a scheduler's books, after each batch, with those of workers that nothing is on its way to or from.

    Parameters
    ----------
    state
        The scheduler's.

    Examples
    --------
    >>> agreement = Agreement(State())
    >>> agreement.look([])
    >>> agreement.compared
    0
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.compared = 0
        """How often a worker's books were compared."""

    def look(self, workers: list[VirtualWorker]) -> None:
        """Raise AssertionError, naming the difference, if the scheduler is wrong about a worker."""
        for worker in workers:
            record = worker.to_scheduler.line.peer
            if self._is_quiet(worker, record):
                self.compared += 1
                _compare(worker, record)

    def _is_quiet(self, worker: VirtualWorker, record: WorkerRecord | None) -> bool:
        """Say whether neither has anything to say that the other has not heard."""
        if record is None or not worker.alive or worker.core.out or record.out:
            return False
        is_known = self.state.workers.get(record.address) is record and record.status != "lost"
        return is_known and worker.to_scheduler.line.is_quiet


def _compare(worker: VirtualWorker, record: WorkerRecord) -> None:
    core = worker.core
    believed = {(task.id, task.attempt) for task in record.processing}
    there = {(attempt.id, attempt.number) for attempt in core.attempts.values()}
    assert not there - believed, f"{record} has attempts {there - believed}, which the scheduler does not know of"
    assert not believed - there, f"{record} does not have attempts {believed - there}, which the scheduler waits for"
    held, stored = {task.id for task in record.holds}, set(core.data)
    assert not stored - held, f"{record} keeps {stored - held}, which the scheduler does not know of"
    assert not held - stored, f"{record} has let go of {held - stored}, which the scheduler believes to be there"
    threads = max(0, record.nthreads - core.ghosts) + len(record.seceded)
    assert record.threads == threads, f"{record} has {threads} threads for tasks, not {record.threads}"
    assert record.paused == core.paused, f"{record} is thought to be paused: {record.paused}"
    seceded = {attempt.id for attempt in core.attempts.values() if attempt.seceded}
    assert {task.id for task in record.seceded} == seceded, f"{record} has {seceded} outside of its threads"
