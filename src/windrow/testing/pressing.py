"""Short memory in the virtual cluster: workers that pause at any moment, and fetch little at a time.

What lives here: `Pressing`. What this file must never know: what else is played.

Promises checked: no more is fetched at a time than is allowed; a worker that is paused starts nothing; and in the end,
with all workers going on again, nothing waits for ever (which is for others to see).
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from windrow.worker.incoming import Limits

if TYPE_CHECKING:
    from windrow.testing.virtual import VirtualCluster


class Pressing:
    """Which workers of a run are short of memory, and when.

    Parameters
    ----------
    cluster
        Where they are.
    seed
        Draws it.
    """

    def __init__(self, cluster: VirtualCluster, seed: int) -> None:
        self.cluster = cluster
        self.rng = Random(f"pressing {seed}")
        if self.rng.random() < 0.5:
            cluster.limits = Limits(
                self.rng.choice([1, 2, 10]), self.rng.choice([10, 5000, 12000]), self.rng.choice([10, 5000])
            )

    def act(self) -> None:
        """A worker pauses, or goes on."""
        workers = list(self.cluster.workers.values())
        for worker in workers:
            worker.core.incoming.check()
        if not workers:
            return
        worker = self.rng.choice(workers)
        self._pause(worker.address, self.rng.random() < 0.6)

    def _pause(self, address: str, paused: bool) -> None:
        worker = self.cluster.workers[address]
        if paused is not worker.core.paused:
            self.cluster.log(f"{worker.name} {'pauses' if paused else 'goes on'}")
            worker.core.pause(paused)
            running = list(worker.running)
            worker.go_on()
            assert not paused or worker.running == running, f"{worker.name} is paused, and starts {worker.running}"

    def settle(self) -> None:
        """All go on."""
        for address in list(self.cluster.workers):
            self._pause(address, False)

    def judge(self) -> None:
        """Nobody is thought to be paused, and nothing is under way."""
        for record in self.cluster.core.state.workers.values():
            assert not record.paused, f"{record} is thought to be paused"
        for worker in self.cluster.workers.values():
            worker.core.incoming.check()
            assert not worker.core.incoming.questions, f"{worker.name} waits for answers"
