"""An adaptive cluster manager in the virtual cluster: the real policy and the real scheduler, workers that are events.

What lives here: `Adapting`. What this file must never know: what work there is.

Promises checked: there are never more workers than the maximum because of it, and whom it closes has no task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from windrow.deploy.policy import AdaptivePolicy, Recommendation
from windrow.testing.virtual import VirtualClient, VirtualCluster
from windrow.wire.messages import Reply
from windrow.wire.requests import AdaptiveTarget, Request, Retire, WorkersToClose


class Adapting:
    """Scales a virtual cluster.

    Parameters
    ----------
    cluster
        Which one.
    policy
        Decides.
    target_duration_s
        The time in which all that could run is to be done.
    start_s
        How long a worker takes to start.
    add
        Starts one.
    """

    def __init__(
        self,
        cluster: VirtualCluster,
        policy: AdaptivePolicy,
        target_duration_s: float = 5.0,
        start_s: float = 0.0,
        add: Callable[[], object] | None = None,
    ) -> None:
        self.cluster = cluster
        self.policy = policy
        self.target_duration_s = target_duration_s
        self.start_s = start_s
        self.add = add or (lambda: cluster.add_worker(nanny=False))
        self.changes: list[tuple[float, Recommendation]] = []
        """What was recommended, and when."""
        self.on_let_go: Callable[[str], None] = lambda address: None
        """Told of the address of each worker that is about to be ended, as nothing is lost with it."""
        self.client: VirtualClient | None = None
        self._starting: dict[str, None] = {}
        self._count = 0
        self._busy = False

    @property
    def plan(self) -> list[str]:
        """Names of the workers that are there or start."""
        return [worker.name for worker in self.cluster.workers.values()] + list(self._starting)

    def every(self, interval_s: float, until_s: float) -> None:
        """Play rounds from now on."""
        self.round()
        if self.cluster.clock.now_s + interval_s < until_s:
            self.cluster.clock.after(interval_s, lambda: self.every(interval_s, until_s))

    def round(self) -> None:
        """Play one round, unless one is being played."""
        if not self._busy:
            self._busy = True
            self._ask(AdaptiveTarget(self.target_duration_s), self._decide)

    def settle(self) -> None:
        """Let the round that is being played end, and all workers start that are to."""
        while self._busy or self._starting:
            assert self.cluster.clock.step(), "a round of adaptive scaling has no end"

    def close(self) -> None:
        """Play no more."""
        if self.client is not None:
            self.client.close()

    def _ask(self, request: Request, then: Callable[[Reply], None]) -> None:
        if self.client is None:
            self.client = VirtualClient(self.cluster, "adaptive")
        self.client.call(request, then)

    def _decide(self, reply: Reply) -> None:
        target = self.policy.clamp(reply.value)
        if len(self.plan) - len(self.policy.absent(target, self.plan, self._observed())) > target:
            idle_only = len(self.plan) <= self.policy.maximum
            self._ask(WorkersToClose(target=target, idle_only=idle_only), lambda reply: self._do(target, reply))
        else:
            self._do(target, Reply(0, []))

    def _observed(self) -> list[Any]:
        return [worker.name for worker in self.cluster.core.state.workers.values()]

    def _do(self, target: int, reply: Reply) -> None:
        plan = self.plan
        proposed: list[Any] = [name for _, name in reply.value]
        recommendation = self.policy.recommend(target, plan=plan, observed=self._observed(), proposed=proposed)
        if recommendation["status"] != "same":
            self.changes.append((self.cluster.clock.now_s, recommendation))
            self.cluster.log(f"adaptive: {recommendation}")
        if recommendation["status"] == "down":
            self._close(recommendation["workers"])
            return
        for _ in range(len(plan), recommendation.get("n", 0)):
            self._start()
        self._busy = False

    def _start(self) -> None:
        self._count += 1
        name = f"starting-{self._count}"
        self._starting[name] = None

        def arrive() -> None:
            if name in self._starting:
                del self._starting[name]
                self.add()

        self.cluster.clock.after(self.start_s, arrive)

    def _close(self, names: list[str]) -> None:
        for name in names:
            self._starting.pop(name, None)
        idle_only = len(self.plan) <= self.policy.maximum
        self._ask(Retire(names, close=False, idle_only=idle_only), lambda reply: self._end(reply, idle_only))

    def _end(self, reply: Reply, idle_only: bool) -> None:
        value: Any = reply.value
        for address in value:
            record = self.cluster.core.state.workers.get(address)
            assert record is None or not record.processing or not idle_only, f"{record} is closed, and has tasks"
            self.on_let_go(address)
            worker = self.cluster.workers.get(address)
            if worker is not None:
                worker.leave(held_nothing=True)
        self._busy = False
