"""The simulated cluster notices where the scheduler's books and a worker's differ, though nothing is under way."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from windrow.testing.simulation import Simulation
from windrow.testing.virtual import VirtualClient, VirtualCluster, VirtualWorker, Work


def cluster_at_work() -> tuple[VirtualCluster, VirtualWorker, VirtualClient]:
    """A worker that runs a task and holds the result of another, and no word is under way."""
    cluster = VirtualCluster(Random(1))
    worker = cluster.add_worker(nthreads=2, nanny=False, resources={})
    client = VirtualClient(cluster, "c")
    client.submit("held", Work(1, nbytes=2000), [])
    client.submit("runs", Work(2, duration_s=60.0), [])
    while not (worker.to_scheduler.line.is_quiet and len(worker.core.data) == 1 and worker.core.running == 1):
        assert cluster.clock.step()
    cluster._flush()
    return cluster, worker, client


def _lose_attempt(worker: VirtualWorker) -> None:
    worker.core.attempts.popitem()


def _lose_value(worker: VirtualWorker) -> None:
    worker.core.data.drop(list(worker.core.data))


def _keep_value(worker: VirtualWorker) -> None:
    worker.core.data[999] = 1


def _keep_ghost(worker: VirtualWorker) -> None:
    worker.core.ghosts += 1


def _pause(worker: VirtualWorker) -> None:
    worker.core.paused = True


def _leave(worker: VirtualWorker) -> None:
    next(iter(worker.core.attempts.values())).seceded = True


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_lose_attempt, "does not have attempts {(2, "),
        (_lose_value, "has let go of {1}"),
        (_keep_value, "keeps {999}"),
        (_keep_ghost, "has 1 threads for tasks, not 2"),
        (_pause, "thought to be paused: False"),
        (_leave, "outside of its threads"),
    ],
)
def test_a_difference_is_noticed(spoil: Callable[[VirtualWorker], None], words: str) -> None:
    cluster, worker, _ = cluster_at_work()
    spoil(worker)
    with pytest.raises(AssertionError) as caught:
        cluster._flush()
    assert words in str(caught.value)


def test_who_has_something_to_hear_is_not_compared() -> None:
    cluster, worker, client = cluster_at_work()
    client.submit("more", Work(3), [])
    compared = cluster.agreement.compared
    while not worker.to_scheduler.line._scheduler_end.waiting_bytes:
        assert cluster.clock.step()
    assert cluster.agreement.compared == compared


def test_seeds_compare_often() -> None:
    compared = 0
    for seed in range(5):
        simulation = Simulation(seed)
        simulation.run()
        compared += simulation.cluster.agreement.compared
    assert compared > 500
