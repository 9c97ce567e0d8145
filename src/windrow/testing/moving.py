"""Data on the move in the virtual cluster: replicate, rebalance, retire and the memory manager; and what must be true.

What lives here: `Moving`. What this file must never know: how copies are made inside, and what else is played.

Promises checked: each request is answered; scattered data, which nobody can make again, is lost only when all workers
that held it have died or left without being asked to retire; and in the end no copy is under way.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from windrow.keys import Key
from windrow.scheduler import replicas
from windrow.testing.virtual import VirtualClient, VirtualCluster
from windrow.wire.messages import Reply
from windrow.wire.requests import Ask, Rebalance, Replicate, Request, Retire

LOST = "its data was scattered, has been lost"


class Moving:
    """Everything that moves data in one run.

    Parameters
    ----------
    cluster
        Where it is.
    seed
        Draws what is moved.
    """

    def __init__(self, cluster: VirtualCluster, seed: int) -> None:
        self.cluster = cluster
        self.rng = Random(f"moving {seed}")
        self.mover: VirtualClient | None = None
        self.retired: list[str] = []
        self.let_go: dict[str, None] = {}
        """Workers that others may end, as nothing is lost with them."""
        self.holders: dict[Key, list[str]] = {}
        """Who held scattered data when somebody last did, by key."""
        cluster.watchers.append(self._look)

    def note_let_go(self, address: str) -> None:
        """Learn that a worker has retired, and is ended by somebody else."""
        self.let_go[address] = None

    def _look(self) -> None:
        state = self.cluster.core.state
        if not state.retirements:
            for worker in state.workers.values():
                if worker.status == replicas.CLOSING:
                    self.let_go[worker.address] = None
        for key in self.cluster.scattered:
            task = state.tasks.get(key)
            if task is not None:  # those that have been let go do not count
                left = [holder.address for holder in task.holders if holder.address not in self.let_go]
                if left:
                    self.holders[key] = left

    # ------------------------------------------------------------ what is asked

    def act(self, clients: list[VirtualClient]) -> None:
        """Ask for something to be moved."""
        keys = [key for client in clients if not client.closed for key in client.futures]
        some = self.rng.sample(keys, min(len(keys), self.rng.randint(0, 20)))
        self.rng.choice([self._replicate, self._rebalance, self._retire, self._retire, self._tidy])(some)

    def _ask(self, request: Request, then: Callable[[Reply], None] | None = None) -> None:
        if self.mover is None:
            self.mover = VirtualClient(self.cluster, "mover")
        self.mover.call(request, then or self._answered)

    def _answered(self, reply: Reply) -> None:
        assert reply.error is None, "what was asked was refused"

    def _gone(self, reply: Reply) -> None:
        value: Any = reply.value
        self.retired += value

    def _replicate(self, keys: list[Key]) -> None:
        self._ask(Replicate(keys, self.rng.choice([None, 1, 2]), None, self.rng.choice([1, 2])))

    def _rebalance(self, keys: list[Key]) -> None:
        self._ask(Rebalance(self.rng.choice([None, keys])))

    def _tidy(self, keys: list[Key]) -> None:
        self._ask(Ask("amm", "run_once"))

    def _retire(self, keys: list[Key]) -> None:
        addresses = list(self.cluster.workers)
        chosen = self.rng.sample(addresses, min(len(addresses), self.rng.choice([1, 1, 2])))
        if self.mover is None or self.rng.random() < 0.5:
            self._ask(Retire(chosen), self._gone)
        else:
            self.mover.call(Retire(chosen, close=False), self._end)

    def _end(self, reply: Reply) -> None:
        """Those that hold nothing of their own any more are ended from outside."""
        value: Any = reply.value
        for address in value:
            self.let_go[address] = None
            worker = self.cluster.workers.get(address)
            if worker is not None:
                worker.leave(held_nothing=True)  # in its present life: an earlier one may have ended with what it held

    # ------------------------------------------------------------ what must be true

    def settle(self) -> None:
        """Let all be answered, before somebody looks for workers that are there to stay."""
        limit = self.cluster.clock.steps + 100_000
        while self.mover is not None and (
            self.mover.questions or any(address in self.cluster.workers for address in self.retired)
        ):
            assert self.cluster.clock.step(), f"no end of {list(self.mover.questions)}"
            assert self.cluster.clock.steps < limit, "copies go on and on"

    def judge(self, clients: list[VirtualClient]) -> None:
        """Nothing was lost but with those who held it."""
        for client in clients:
            for key, future in client.futures.items():
                if key in self.holders and future.status == "cancelled" and str(future.error).startswith(LOST):
                    left = [address for address in self.holders[key] if address not in self.cluster.ended]
                    assert not left, f"{key} was lost, and {left} held it"

    def clean_up(self) -> None:
        """Nobody asks any more."""
        if self.mover is not None:
            self.mover.close()

    def judge_emptiness(self) -> None:
        """Nothing is under way."""
        state = self.cluster.core.state
        assert not state.copies, f"copies are under way: {state.copies}"
        assert not state.retirements, "somebody still retires"
