"""Sessions in the simulated cluster: what a cut loses arrives later, once."""

from __future__ import annotations

from random import Random

import pytest

from windrow.testing.simulation import Simulation
from windrow.testing.virtual import VirtualClient, VirtualCluster, Work, value_of


def cluster_with(seed: int) -> tuple[VirtualCluster, VirtualClient]:
    cluster = VirtualCluster(Random(seed))
    cluster.lasting = True
    cluster.add_worker(nthreads=2, nanny=False)
    return cluster, VirtualClient(cluster, "c")


@pytest.mark.parametrize("seed", range(10))
def test_what_is_under_way_at_a_cut_is_not_lost(seed: int) -> None:
    cluster, client = cluster_with(seed)
    works = {f"t{number}": Work(number) for number in range(40)}
    for key, work in works.items():
        client.submit(key, work, [])
    rng = Random(seed)
    while cluster.clock.step():
        for line in cluster.lines:
            if line.is_up and rng.random() < 0.02:
                line.cut(rng.random() * 0.01)
    assert {key: future.value for key, future in client.futures.items()} == {
        key: value_of(work, []) for key, work in works.items()
    }
    assert cluster.runs == dict.fromkeys(works, 1), "nothing runs twice"


def test_who_does_not_come_back_is_given_up() -> None:
    cluster, client = cluster_with(1)
    client.submit("t", Work(1, duration_s=1.0), [])
    for _ in range(20):
        cluster.clock.step()
    for line in cluster.lines:
        line.cut(None)
    while cluster.clock.step():
        pass
    state = cluster.core.state
    assert not [*state.workers, *state.clients, *state.tasks, *state.cut]
    assert client.closed


def test_who_is_let_go_after_another_life_has_still_ended_once() -> None:
    """Else what only its first life held would be taken for something that is still there (seed 838)."""
    cluster, _ = cluster_with(1)
    cluster.add_worker(nthreads=1, nanny=False)
    first, second = cluster.workers.values()
    for _ in range(20):
        cluster.clock.step()
    first._start_afresh()
    first.leave(held_nothing=True)
    second.leave(held_nothing=True)
    assert list(cluster.ended) == [first.address]


def test_seeds_cut_connections() -> None:
    cut = 0
    for seed in range(10):
        simulation = Simulation(seed)
        simulation.run()
        cut += sum("is cut off for" in line for line in simulation.cluster.trace)
    assert cut > 20
