"""Who holds what: values that workers have fetched, and inputs that none of their holders gives."""

from __future__ import annotations

from world import World

from windrow.wire.messages import Close, Heartbeat


def test_fetched_value_is_known_and_freed(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    world.submit(client, "a", workers=["w1"])
    world.large(first, *world.keys(first))
    world.clear()
    world.holds(second, "a")
    world.holds(second, "a")
    assert world.task("a").holders == (first, second)
    world.release(client, "a")
    assert world.heard(first) == world.heard(second) == ["free a"]


def test_fetched_value_of_a_forgotten_task_is_freed_at_once(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    world.submit(client, "a", workers=["w1"])
    world.large(first, *world.keys(first))
    world.release(client, "a")
    world.clear()
    world.holds(second, "a")
    assert world.heard(second) == ["free a"]


def test_fetched_value_of_a_task_that_is_made_again_elsewhere_is_freed(world: World) -> None:
    client = world.client()
    first, second, third = world.workers(3)
    world.submit(client, "a", workers=["w1"], allow_other_workers=True)
    world.large(first, *world.keys(first))
    world.lose(first)
    world.clear()
    maker = world.task("a").worker
    other = third if maker is second else second
    world.holds(other, "a")
    assert world.heard(other) == ["free a"]


def test_fetched_value_of_a_task_that_runs_on_the_same_worker_is_left(world: World) -> None:
    client, worker = world.client(), world.worker()
    world.submit(client, "a")
    world.keys(worker)
    world.holds(worker, "a")
    assert world.heard(worker) == []
    world.done(worker, "a")
    assert world.task("a").holders == (worker,)
    world.clear()


def large_elsewhere(world: World):  # type: ignore[no-untyped-def]
    """A large value a on w1, which is busy, and b on w2, which is to fetch it."""
    client = world.client()
    first, second = world.workers(2)
    world.submit(client, "a")
    world.large(first, *world.keys(first))
    world.submit(client, "long", workers=["w1"], function="g")
    world.submit(client, "b", after=["a"])
    world.clear()
    assert world.task("b").worker is second
    return client, first, second


def test_missing_input_strikes_its_holders_and_is_made_again(world: World) -> None:
    client, first, second = large_elsewhere(world)
    world.missing(second, "b", "a", first)
    assert world.heard(client) == ["lost a"]
    assert world.heard(first) == ["free a"]
    assert world.heard(second) == ["run a#2", "run b#2(a)"]
    world.large(second, "a")
    assert world.heard(client) == ["finished a"]


def test_missing_input_that_another_worker_holds_is_fetched_there(world: World) -> None:
    _, first, second = large_elsewhere(world)
    third = world.worker()
    world.holds(third, "a")
    world.submit(next(iter(world.state.clients.values())), "long2", workers=["w3"], function="g")
    world.clear()
    world.missing(second, "b", "a", first)
    assert world.heard(first) == ["free a"]
    assert world.heard(second) == ["run b#2(a@w3)"]


def test_missing_input_that_was_made_again_meanwhile_keeps_its_new_holder(world: World) -> None:
    _, _, second = large_elsewhere(world)
    gone = world.worker("gone")
    world.say(gone, Close())
    world.missing(second, "b", "a", gone)
    assert world.states("a") == ["memory"]
    assert world.heard(second) == ["run b#2(a@w1)"]


def test_missing_input_without_holders_just_takes_the_attempt_back(world: World) -> None:
    client = world.client()
    world.teach(client)
    worker = world.worker()
    world.chain(client, "a", "b")
    world.keys(worker)
    world.missing(worker, "b", "a")
    assert world.states("a", "b") == ["processing", "waiting"]
    world.done(worker, "a")
    assert world.heard(worker) == ["run b#2(a)"]
    world.clear()


def test_a_worker_that_was_taken_out_holds_nothing(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    world.submit(client, "a", workers=["w1"])
    world.large(first, *world.keys(first))
    world.say(second, Close())
    world.holds(second, "a")
    world.say(second, Heartbeat({"memory": 1.0}))
    assert world.task("a").holders == (first,)
    assert second.metrics == {}
    world.clear()
