"""The memory manager: copies that nobody needs are dropped, by policies that make suggestions.

What lives here: the policies, and `MemoryManager`, the service that asks them from time to time and does what they
suggest. What this file must never know: clocks (the tick brings the time), messages, sockets.

It is off by default. A copy that a worker has fetched for a task stays until the value itself is released: the next
task that takes it there need not wait for it, and what `Client.replicate` or a broadcast has spread stays spread. The
price is memory, which ``Client.amm.start()``, or ``distributed.scheduler.active-memory-manager.start``, saves.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, ClassVar, Literal, TypeAlias

from windrow.primitives.service import Question, Service
from windrow.scheduler.copies import Errand
from windrow.scheduler.replicas import Plan, drop_copy, is_only_on
from windrow.scheduler.state import MEMORY, PROCESSING, QUEUED, WAITING, State, Task, WorkerRecord
from windrow.wire.blobs import Blob

Action: TypeAlias = Literal["replicate", "drop"]

Suggestions: TypeAlias = Generator[tuple[Action, Task, Iterable[WorkerRecord] | None], WorkerRecord | None, None]
"""What a policy yields: what to do with which value, and on which of these workers (None: any); it is sent back the
worker that was chosen, None where there is none."""


class ActiveMemoryManagerPolicy:
    """Base of policies: a subclass says in `run` what it would have done.

    Attributes
    ----------
    manager : MemoryManager
        Who asks; ``manager.state`` is the scheduler's state, to look at.

    Examples
    --------
    >>> class Keep(ActiveMemoryManagerPolicy):
    ...     def run(self):
    ...         yield from ()
    >>> Keep()
    <Keep>
    """

    manager: MemoryManager

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def run(self) -> Suggestions:
        """Yield ``("replicate" | "drop", task, workers or None)``; each yield gives the chosen worker, or None."""
        raise NotImplementedError(f"{type(self).__name__} is a policy, and says nothing: it has no method run")


class ReduceReplicas(ActiveMemoryManagerPolicy):
    """Drop copies beyond one, or beyond one for each worker that has a task, or may get one, that takes the value.

    Examples
    --------
    >>> ReduceReplicas()
    <ReduceReplicas>
    """

    def run(self) -> Suggestions:
        """Suggest the drops."""
        for task in list(self.manager.state.tasks.values()):
            if len(task.holders) > 1 and not task.actor:
                for _ in range(len(task.holders) - max(1, self._users(task))):
                    if (yield "drop", task, None) is None:
                        break

    def _users(self, task: Task) -> int:
        busy = {follower.worker for follower in task.dependents or () if follower.state is PROCESSING}
        return len(busy) + sum(follower.state in (WAITING, QUEUED) for follower in task.dependents or ())


class RetireWorker(ActiveMemoryManagerPolicy):
    """Copy to others what one worker alone holds; the policy leaves when there is nothing left, or no such worker.

    `Client.retire_workers` needs no policy. This one empties a worker that goes on working.

    Parameters
    ----------
    address
        The worker's.

    Examples
    --------
    >>> RetireWorker("tcp://127.0.0.1:4000")
    <RetireWorker tcp://127.0.0.1:4000>
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def __repr__(self) -> str:
        return f"<RetireWorker {self.address}>"

    def run(self) -> Suggestions:
        """Suggest the copies."""
        worker = self.manager.state.workers.get(self.address)
        left = [] if worker is None else [task for task in worker.holds if is_only_on(task, (worker,))]
        if not left:
            self.manager.policies.remove(self)
        for task in left:
            yield "replicate", task, None


class MemoryManager(Service):
    """Asks its policies, every now and then while it runs, and does what they suggest.

    Its answers to "start", "stop", "run_once" and "running" are what ``Client.amm`` offers.
    """

    name: ClassVar[str] = "amm"
    requests: ClassVar[Any] = Literal["start", "stop", "run_once", "running"]

    def __init__(self, desk: Any) -> None:
        super().__init__(desk)
        self.state: State = desk.state
        self.running: bool = self.state.config.manages_memory
        self.policies: list[ActiveMemoryManagerPolicy] = []
        self._last_s = self.state.now_s
        self.add_policy(ReduceReplicas())

    def __repr__(self) -> str:
        return f"<MemoryManager {'running' if self.running else 'stopped'}, policies={self.policies}>"

    def add_policy(self, policy: ActiveMemoryManagerPolicy) -> None:
        """Ask one more."""
        policy.manager = self
        self.policies.append(policy)

    def ask(self, question: Question, request: str, blobs: list[Blob]) -> None:
        """Answer ``Client.amm``."""
        if request == "start":
            self.running = True
        elif request == "stop":
            self.running = False
        elif request == "run_once":
            self.run_once()
        question.answer(self.running)

    @property
    def is_waiting(self) -> bool:
        """Whether the time matters."""
        return self.running

    def tick(self) -> None:
        """Ask the policies, if it is time again."""
        if self.state.now_s - self._last_s >= self.state.config.manage_memory_every_s:
            self.run_once()

    def run_once(self) -> None:
        """Ask every policy now."""
        self._last_s = self.state.now_s
        plan, errand = Plan(self.state), Errand()
        for policy in list(self.policies):
            try:
                self._follow(plan, errand, policy.run())
            except Exception as error:
                # Others' code, perhaps, which must not take the scheduler with it: it is not asked again.
                self.policies.remove(policy)
                self.state.desk.log(
                    ["scheduler"],
                    self.state.epoch_s + self.state.now_s,
                    {"action": "memory-policy-failed", "policy": repr(policy), "error": repr(error)},
                )

    def _follow(self, plan: Plan, errand: Errand, suggestions: Suggestions) -> None:
        chosen: WorkerRecord | None = None
        try:
            while True:
                action, task, among = suggestions.send(chosen)
                chosen = None
                if task.state is MEMORY and not task.actor:
                    if action == "drop":
                        chosen = _drop_one(plan, task, task.holders if among is None else among)
                    elif action == "replicate":
                        chosen = plan.recipient(task, plan.held if among is None else among, errand)
                        if chosen is not None and not plan.start(task, chosen, errand):
                            chosen = None  # the next time
                    else:
                        raise ValueError(f"a policy suggests 'replicate' or 'drop', not {action!r}")
        except StopIteration:
            return


def _drop_one(plan: Plan, task: Task, among: Iterable[WorkerRecord]) -> WorkerRecord | None:
    """Drop a copy where it is not used, from the fullest worker; return that."""
    for worker in sorted(among, key=lambda worker: -plan.held[worker]):
        if drop_copy(plan.state, task, worker):
            plan.held[worker] -= task.nbytes
            return worker
    return None
