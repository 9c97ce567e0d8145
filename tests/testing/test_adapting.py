"""Adaptive scaling on the virtual clock: it follows the load, and does not flap."""

from __future__ import annotations

from random import Random

import pytest

from windrow.deploy.policy import AdaptivePolicy
from windrow.keys import Key
from windrow.testing.adapting import Adapting
from windrow.testing.simulation import Simulation
from windrow.testing.virtual import VirtualClient, VirtualCluster, Work

INTERVAL_S = 1.0


def play(
    seed: int,
    period_s: float,
    edges: int,
    tasks: int,
    minimum: int = 1,
    maximum: int = 6,
    start_s: float = 0.5,
    nbytes: int = 5000,
) -> tuple[Adapting, VirtualCluster, dict[Key, int]]:
    """A square wave of load, whose results are kept: so many tasks of a second at every other edge."""
    cluster = VirtualCluster(Random(seed))
    client = VirtualClient(cluster, "c")
    policy = AdaptivePolicy(minimum, maximum, wait_count=3)
    adapting = Adapting(cluster, policy, target_duration_s=2.0, start_s=start_s)
    counts: dict[Key, int] = {}
    for edge in range(0, edges, 2):
        for number in range(tasks):
            key = f"e{edge}-{number}"
            counts[key] = 1
            work = Work(len(counts), duration_s=1.0, nbytes=nbytes)
            cluster.clock.at(edge * period_s, lambda key=key, work=work: client.submit(key, work, []))  # type: ignore[misc]
    adapting.every(INTERVAL_S, (edges + 1) * period_s)
    while cluster.clock.step():
        assert len(adapting.plan) <= maximum
    assert all(future.status == "finished" and future.value is not None for future in client.futures.values())
    return adapting, cluster, counts


@pytest.mark.parametrize("seed", range(5))
def test_a_slow_wave_is_followed_and_nothing_runs_twice(seed: int) -> None:
    adapting, cluster, counts = play(seed, period_s=30.0, edges=6, tasks=40)
    assert cluster.runs == counts
    ups = [time_s for time_s, change in adapting.changes if change["status"] == "up"]
    downs = [time_s for time_s, change in adapting.changes if change["status"] == "down"]
    for edge in (0, 2, 4):
        start_s, end_s = edge * 30.0, (edge + 2) * 30.0
        grown = [time_s for time_s in ups if start_s <= time_s < end_s]
        assert grown[0] - start_s <= 2.0
        assert len(grown) <= 2  # the function is not known at first, so that its first tasks may ask for more
        shrunk = [time_s for time_s in downs if start_s <= time_s < end_s]
        assert shrunk, "it stays large"
        assert min(shrunk) > max(grown)  # one rise and one fall, whose workers become idle one after another
    assert len(adapting.plan) == 1


@pytest.mark.parametrize("period_s", [0.7, 1.0, 1.3, 2.0])
def test_a_quick_wave_makes_it_grow_once_and_stay(period_s: float) -> None:
    adapting, cluster, counts = play(1, period_s, edges=60, tasks=6)
    assert cluster.runs == counts
    changes = [change["status"] for time_s, change in adapting.changes if time_s < 60 * period_s]
    assert changes.count("up") <= 4
    assert changes.count("down") <= 2


def test_it_starts_from_nothing_and_goes_back_to_nothing() -> None:
    adapting, cluster, counts = play(3, period_s=30.0, edges=2, tasks=20, minimum=0, nbytes=10)
    assert cluster.runs == counts
    grown = [change["n"] for time_s, change in adapting.changes if time_s <= 2.0]
    assert max(grown) >= 5
    assert adapting.plan == []


def test_workers_that_take_long_to_start_are_asked_for_once() -> None:
    adapting, _, _ = play(4, period_s=60.0, edges=2, tasks=60, start_s=20.0, minimum=0)
    assert [change for _, change in adapting.changes if change["status"] == "up"] == [{"status": "up", "n": 6}]


def test_seeds_scale_down_and_up() -> None:
    changes = []
    for seed in (2, 7, 12, 17, 22):
        simulation = Simulation(seed)
        simulation.run()
        changes += [change["status"] for _, change in simulation.adapting.changes]
    assert {"up", "down"} <= set(changes)
