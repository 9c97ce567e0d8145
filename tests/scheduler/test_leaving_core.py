"""What the core does when a worker says that it leaves, or offers other resources."""

from __future__ import annotations

from world import World

from windrow.wire.messages import Close, Leaving, Supply


def keep(world: World, client: object, worker: object, key: str) -> None:
    """Have a worker hold a value that nobody else has."""
    world.submit(client, key, workers=[worker.name], allow_other_workers=True)  # type: ignore[arg-type, attr-defined]
    world.keys(worker)  # type: ignore[arg-type]
    world.large(worker, key)  # type: ignore[arg-type]
    world.take(client)  # type: ignore[arg-type]


def test_who_leaves_is_sent_nothing_more_and_gives_back_what_has_not_started(world: World) -> None:
    client = world.client()
    world.teach(client)
    first = world.worker("first")
    world.submit(client, "x", "y")
    assert world.keys(first) == ["x", "y"]
    second = world.worker("second")
    world.say(first, Leaving("it is asked to"))
    assert first.status == "closing_gracefully"
    assert world.heard(first) == ["recall x y"]
    world.say(first, Leaving("it is asked to"))  # again is harmless
    assert world.heard(first) == []
    world.returned(first, "y")
    world.submit(client, "z")
    assert world.keys(second) == ["y", "z"]
    world.done(first, "x")  # what runs there counts
    assert world.states("x") == ["memory"]
    world.clear()


def test_then_others_take_what_it_holds(world: World) -> None:
    client = world.client()
    first = world.worker("first")
    keep(world, client, first, "a")
    second = world.worker("second")
    world.say(first, Leaving("bye"), Leaving("bye", now=True))
    assert world.heard(second) == ["copy a@first"]
    assert world.take(first) == []
    world.copied(second, "a")
    assert [type(message) for message in world.take(first)] == [Close]
    assert list(world.state.workers) == ["tcp://second"]
    assert world.states("a") == ["memory"]
    world.clear()


def test_what_still_runs_runs_again_and_nobody_is_blamed(world: World) -> None:
    client = world.client()
    first = world.worker("first")
    world.submit(client, "x")
    assert world.keys(first) == ["x"]
    second = world.worker("second")
    world.say(first, Leaving("bye", now=True))
    assert world.keys(second) == ["x"]
    assert world.task("x").deaths is None
    world.clear()


def test_the_last_one_goes_although_nobody_can_take_its_data(world: World) -> None:
    client = world.client()
    only = world.worker("only")
    keep(world, client, only, "a")
    world.say(only, Leaving("bye", now=True))
    assert [type(message) for message in world.take(only)] == [Close]
    assert not world.state.workers
    assert world.states("a") == ["queued"]  # it is made again, when there is a worker
    world.clear()


def test_more_of_a_resource_lets_tasks_run(world: World) -> None:
    client = world.client()
    worker = world.worker("w", nthreads=4, resources={"GPU": 1})
    world.submit(client, "a", "b", resources={"GPU": 2})
    assert world.keys(worker) == []
    world.say(worker, Supply({"GPU": 4}))
    assert world.keys(worker) == ["a", "b"]
    world.clear()


def test_less_of_a_resource_than_is_taken(world: World) -> None:
    client = world.client()
    world.teach(client)
    worker = world.worker("w", nthreads=4, resources={"GPU": 2})
    world.submit(client, "a", "b", "c", resources={"GPU": 1})
    assert world.keys(worker) == ["a", "b"]
    world.say(worker, Supply({"GPU": 1}))
    world.done(worker, "a")
    assert world.keys(worker) == []  # the other has all that there is
    world.done(worker, "b")
    assert world.keys(worker) == ["c"]
    world.clear()
