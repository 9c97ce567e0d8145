"""Asking the scheduler, again and again in a run, why each task is not done: there must always be a cause that moves.

What lives here: the promise that `scheduler.explain` finds a live cause for whatever is not done, and that nothing of
it raises. What this file must never know: which scenario is played.

It finds stalls where they begin. A task that a worker could run and that nobody hands out, one that waits for inputs
that nobody makes, or for itself: each is found at the next look, and not when the whole run fails to end.
"""

from __future__ import annotations

from windrow.causes import Cause, Inputs, Obstacle, Soon
from windrow.scheduler import explain, overviews
from windrow.scheduler.state import MEMORY, QUEUED, WAITING, State, Task

__all__ = ["Explaining"]

EVERY = 40
"""After so many batches all tasks are asked for; after the others, the first of each queue, and the next few."""
FEW = 2


class Explaining:
    """Asks, at a bounded cost, after each batch of a scheduler.

    Parameters
    ----------
    state
        The scheduler's.

    Examples
    --------
    >>> Explaining(State()).look()
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.looks = 0
        self.asked = 0
        """How many tasks were asked for."""
        self._place = 0

    def look(self) -> None:
        """Ask for some tasks, or for all; the scheduler has just handed out what it could."""
        self.looks += 1
        tasks = list(self.state.tasks.values())
        if self.looks % EVERY == 0:
            self.all()
            return
        state = self.state
        for queue in [state.queue, *state.pools.values(), *(worker.local for worker in state.local)]:
            if (head := queue.head()) is not None:
                self._ask(head)
        for _ in range(min(FEW, len(tasks))):
            self._place = (self._place + 1) % len(tasks)
            self._ask(tasks[self._place])

    def all(self) -> None:
        """Ask for everything."""
        state = self.state
        for task in state.tasks.values():
            self._ask(task)
        for worker in list(state.workers.values()):
            assert repr(overviews.worker_facts(state, worker.address))
        assert repr(overviews.cluster_facts(state))
        assert repr(overviews.several(state, list(state.tasks.values())))

    def _ask(self, task: Task) -> None:
        self.asked += 1
        told = explain.task_facts(self.state, task)
        assert repr(told), task
        if task.state not in (MEMORY, "erred", "released"):
            assert told.causes, f"nobody knows why {task} is not done"
            _check(task, told.causes)


def _check(task: Task, causes: tuple[Cause, ...]) -> None:
    """Raise AssertionError unless what keeps a task from being done is something that goes on."""
    for cause in causes:
        if isinstance(cause, Inputs):
            assert task.state is WAITING, f"{task} waits for inputs"
            assert cause.causes, f"{task} waits for inputs that wait for each other, or for nothing: {cause.sentence}"
            assert not any(isinstance(below, Soon) for below in cause.causes), f"below {task}: {cause.sentence}"
        if isinstance(cause, Obstacle):
            assert cause.kind != "forgotten", f"nobody looks where {task} is"
        if isinstance(cause, Soon):
            assert task.state is not QUEUED, f"{task} could be handed out, and is not: {cause.sentence}"
            raise AssertionError(f"{task} waits for nothing: {cause.sentence}")
