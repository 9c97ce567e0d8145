"""Where tasks run: small inputs travel, large ones attract, restrictions bind, idle workers take over."""

from __future__ import annotations

import pytest
from world import World

from windrow.scheduler.placement import is_allowed
from windrow.scheduler.state import Restriction, WorkerRecord
from windrow.wire.messages import STAYS, Close

MB = 1_000_000


def on(world: World, worker: WorkerRecord, key: str, nbytes: int = MB) -> None:
    """Have a large value made on a worker; everything said meanwhile is claimed."""
    [client] = world.state.clients.values()
    world.submit(client, key, function="make", workers=[str(worker.name)])
    world.large(worker, key, nbytes=nbytes)
    world.clear()


def busy(world: World, *workers: WorkerRecord) -> None:
    """Have workers run one long task on each thread."""
    [client] = world.state.clients.values()
    for worker in workers:
        for thread in range(worker.nthreads):
            world.submit(client, f"long-{worker.name}-{thread}", function="long", workers=[str(worker.name)])
    world.clear()


# ---------------------------------------------------------------- small inputs


def test_small_input_is_shipped_to_another_worker(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    world.submit(client, "a")
    world.done(first, *world.keys(first), value=b"7")
    world.submit(client, "b", after=["a"])
    assert world.heard(second) == ["run b(a=7)"]
    world.clear()


def test_small_input_is_shipped_once_to_each_worker(world: World) -> None:
    client = world.client()
    world.teach(client)
    first, second = world.workers(2)
    world.submit(client, "a")
    world.done(first, *world.keys(first), value=b"7")
    world.submit(client, "b", "c", "d", "e", after=["a"])
    assert world.heard(first) == ["run d(a)", "run e(a)"]
    assert world.heard(second) == ["run b(a=7)", "run c(a)"]
    world.done(second, "b", "c")
    world.submit(client, "f", after=["a"])
    world.clear()
    world.release(client, "a", "b", "c", "d", "e", "f")
    assert world.heard(first)[0].startswith("free ")
    assert "a" in world.heard(second)[0].split()


def test_value_of_a_shipped_input_is_freed_wherever_it_went(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    world.submit(client, "a")
    world.done(first, *world.keys(first))
    world.submit(client, "b", after=["a"])
    world.done(second, *world.keys(second))
    world.clear()
    world.release(client, "b", "a")
    assert world.heard(first) == ["free a"]
    assert world.heard(second) == ["free b a"]


# ---------------------------------------------------------------- large inputs


def test_task_goes_to_the_holder_of_its_large_input(world: World) -> None:
    client = world.client()
    _, holder, _ = world.workers(3)
    on(world, holder, "big", 100 * MB)
    world.submit(client, "b", after=["big"])
    assert world.heard(holder) == ["run b(big)"]


def test_task_goes_where_most_of_its_large_inputs_are(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    on(world, first, "big", 100 * MB)
    on(world, second, "bigger", 200 * MB)
    world.submit(client, "b", after=["big", "bigger"])
    assert world.heard(second) == ["run b(big@w1, bigger)"]


def test_task_goes_elsewhere_when_the_holder_is_busy_for_longer_than_the_move(world: World) -> None:
    client = world.client()
    holder, idle = world.workers(2)
    on(world, holder, "big")
    busy(world, holder)
    world.submit(client, "b", after=["big"])
    assert world.heard(idle) == ["run b(big@w1)"]


def test_an_idle_worker_competes_with_a_holder_that_is_busy_for_an_instant(world: World) -> None:
    client = world.client()
    world.teach(client, 0.0005, function="instant")
    holder, idle = world.workers(2)
    on(world, holder, "big", 100_000)
    world.submit(client, "running", function="instant", workers=["w1"])
    world.clear()
    world.submit(client, "b", after=["big"])  # to be moved in a fifth of that time
    assert world.heard(idle) == ["run b(big@w1)"]


def test_task_waits_for_a_busy_holder_when_the_move_would_take_longer(world: World) -> None:
    client = world.client()
    holder, idle = world.workers(2)
    on(world, holder, "big", 10_000 * MB)
    busy(world, holder)
    world.submit(client, "b", after=["big"])
    assert world.heard(idle) == []
    world.done(holder, "long-w1-0", seconds=0.5)
    assert world.heard(holder) == ["run b(big)"]
    world.clear()


def test_all_holders_are_named_to_fetch_from(world: World) -> None:
    client = world.client()
    first, second, third = world.workers(3)
    on(world, first, "big")
    busy(world, first)
    world.submit(client, "b", after=["big"])
    assert world.heard(second) == ["run b(big@w1)"]
    world.holds(second, "big")
    busy(world, second)
    world.submit(client, "c", after=["big"])
    assert world.heard(third) == ["run c(big@w1+w2)"]


def test_a_fetched_copy_counts_for_placement(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    on(world, first, "big", 100 * MB)
    busy(world, first)
    world.submit(client, "b", after=["big"])
    world.keys(second)
    world.holds(second, "big")
    world.done(second, "b")
    world.submit(client, "c", after=["big"])
    assert world.heard(second) == ["run c(big)"]
    world.clear()


# ---------------------------------------------------------------- take-over


def test_idle_worker_takes_over_from_the_queue_of_a_busy_holder(world: World) -> None:
    client = world.client()
    holder = world.worker()
    on(world, holder, "big")
    busy(world, holder)
    world.submit(client, "b", "c", after=["big"])
    assert world.heard(holder) == []
    idle = world.worker()
    assert world.heard(idle) == ["run b(big@w1)"]


def test_idle_worker_leaves_what_would_take_longer_to_move(world: World) -> None:
    client = world.client()
    holder = world.worker()
    on(world, holder, "big", 10_000 * MB)
    busy(world, holder)
    world.submit(client, "b", after=["big"])
    idle = world.worker()
    assert world.heard(idle) == []


def test_take_over_respects_restrictions(world: World) -> None:
    client = world.client()
    holder = world.worker()
    busy(world, holder)
    world.submit(client, "b", workers=["w1"])
    assert world.heard(world.worker()) == []


def test_many_tasks_on_one_large_input_spread_to_idle_workers(world: World) -> None:
    client = world.client()
    world.teach(client, 0.5)
    workers = world.workers(4)
    on(world, workers[0], "big")
    world.submit(client, *(f"k{number}" for number in range(8)), after=["big"])
    assert [len(world.keys(worker)) for worker in workers] == [1, 1, 1, 1]


# ---------------------------------------------------------------- restrictions


@pytest.mark.parametrize("name", ["tcp://far", "far", "elsewhere"])
def test_restriction_names_address_name_or_host(world: World, name: str) -> None:
    client = world.client()
    near = world.worker("near", host="here")
    far = world.worker("far", host="elsewhere")
    world.submit(client, "a", workers=[name])
    assert world.heard(far) == ["run a"]
    assert world.heard(near) == []


def test_a_number_is_a_name_too() -> None:
    assert is_allowed(WorkerRecord("tcp://w", 3, 1, 0.0), Restriction(("3",)))
    assert not is_allowed(WorkerRecord("tcp://w", 3, 1, 0.0), Restriction(("33",)))


def test_task_that_no_worker_may_run_waits_for_one(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a", workers=["late"])
    world.submit(client, "b")
    assert world.heard(worker) == ["run b"]
    assert world.states("a") == ["queued"]
    assert world.heard(world.worker("late")) == ["run a"]


def test_task_that_nobody_may_run_can_be_cancelled(world: World) -> None:
    client = world.client()
    world.submit(client, "a", workers=["late"])
    world.cancel(client, "a")
    assert world.states("a") == ["forgotten"]
    assert world.heard(world.worker("late")) == []


def test_other_workers_help_when_allowed(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a", workers=["late"], allow_other_workers=True)
    assert world.heard(worker) == ["run a"]


def test_the_less_loaded_of_the_allowed_is_chosen(world: World) -> None:
    client = world.client()
    world.workers(2, host="here")
    first, second = world.state.workers.values()
    busy(world, first)
    world.submit(client, "a", workers=["here"])
    assert world.heard(second) == ["run a"]


def test_restricted_queue_of_a_worker_that_goes_finds_another(world: World) -> None:
    client = world.client()
    first, second = world.workers(2, host="here")
    busy(world, first, second)
    world.submit(client, "a", "b", workers=["here"])
    world.done(second, "long-w2-0", seconds=0.5)
    [ran] = world.keys(second)
    world.say(first, Close())
    world.done(second, ran, seconds=0.5)
    assert set(world.keys(second)) == {"a", "b"} - {ran}
    world.clear()


def test_restricted_queue_of_the_only_worker_waits_for_its_like(world: World) -> None:
    client = world.client()
    first = world.worker(host="here")
    other = world.worker(host="there")
    busy(world, first)
    world.submit(client, "a", workers=["here"])
    world.say(first, Close())
    world.clear()
    assert world.states("a") == ["queued"]
    assert world.keys(other) == []
    assert "a" in world.keys(world.worker(host="here", nthreads=2))


# ---------------------------------------------------------------- what cannot be moved


def test_what_cannot_be_pickled_is_used_where_it_is(world: World) -> None:
    client = world.client()
    world.teach(client)
    first, second = world.workers(2)
    world.submit(client, "generator", workers=[str(first.name)])
    world.large(first, "generator", nbytes=100, value_type=STAYS)
    busy(world, first)
    world.submit(client, "list", after=["generator"])
    assert world.heard(second) == []
    world.tick(after=60)
    assert world.heard(second) == []
    world.done(first, f"long-{first.name}-0", seconds=1.0)
    assert "run list(generator)" in world.heard(first)
    world.clear()
