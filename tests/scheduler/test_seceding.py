"""Attempts that leave their worker's threads: others run beside them."""

from __future__ import annotations

from world import World

from windrow.scheduler.state import WorkerRecord
from windrow.wire.messages import Ghosts, Rescheduled, Seceded


def secede(world: World, worker: WorkerRecord, key: str, gone: bool = True) -> None:
    run = world.run(worker, key)
    world.say(worker, Seceded(run.task, run.attempt, gone))


def slow(world: World, worker: WorkerRecord, *keys: str) -> None:
    """Send a worker tasks that fill it."""
    [client] = world.state.clients.values()
    world.submit(client, *keys)


def test_another_task_starts_beside_one_that_has_left(world: World) -> None:
    client, worker = world.client(), world.worker()
    world.submit(client, "a", "b")
    assert world.keys(worker) == ["a"]
    secede(world, worker, "a")
    assert world.keys(worker) == ["b"]
    world.clear()


def test_one_that_comes_back_takes_its_place_again(world: World) -> None:
    client, worker = world.client(), world.worker()
    world.submit(client, "a", "b", "c")
    assert world.keys(worker) == ["a"]
    secede(world, worker, "a")
    assert world.keys(worker) == ["b"]
    secede(world, worker, "a", gone=False)
    world.done(worker, "b", seconds=1.0)
    assert world.keys(worker) == []
    world.done(worker, "a", seconds=1.0)
    assert world.keys(worker) == ["c"]
    world.clear()


def test_the_end_of_one_that_left_frees_no_thread_twice(world: World) -> None:
    client, worker = world.client(), world.worker()
    world.submit(client, "a", "b", "c", "d")
    world.keys(worker)
    secede(world, worker, "a")
    assert world.keys(worker) == ["b"]
    world.done(worker, "a", seconds=1.0)
    assert world.keys(worker) == []
    assert worker.threads == 1
    world.clear()


def test_a_cancelled_one_takes_no_thread(world: World) -> None:
    client, worker = world.client(), world.worker()
    world.submit(client, "a", "b", "c")
    world.keys(worker)
    secede(world, worker, "a")
    world.keys(worker)
    world.cancel(client, "a")
    assert worker.threads == 1
    assert world.heard(worker) == ["free a"]
    world.clear()


def test_ghosts_and_those_that_left_are_counted_apart(world: World) -> None:
    client, worker = world.client(), world.worker("w", nthreads=2)
    world.submit(client, "a", "b", "c", "d")
    assert world.keys(worker) == ["a", "b"]
    secede(world, worker, "a")
    assert world.keys(worker) == ["c"]
    world.cancel(client, "b")
    assert world.heard(worker) == ["free b", "run d"]
    world.say(worker, Ghosts(1))
    assert worker.threads == 2
    world.clear()


def test_word_of_an_attempt_that_is_over_changes_nothing(world: World) -> None:
    client, worker = world.client(), world.worker()
    world.submit(client, "a")
    world.keys(worker)
    run = world.run(worker, "a")
    world.say(worker, Seceded(run.task, run.attempt + 1, True))
    assert worker.threads == 1
    world.clear()


def test_one_that_asks_to_be_made_again_goes_back_to_the_queue(world: World) -> None:
    client, worker = world.client(), world.worker()
    world.submit(client, "a", retries=0)
    world.keys(worker)
    run = world.run(worker, "a")
    world.say(worker, Rescheduled(run.task, run.attempt))
    assert world.heard(worker) == ["run a#2"]
    assert world.heard(client) == []


def test_the_death_of_a_worker_brings_those_that_left_back_too(world: World) -> None:
    client, worker = world.client(), world.worker()
    world.submit(client, "a", "b")
    world.keys(worker)
    secede(world, worker, "a")
    world.keys(worker)
    world.lose(worker)
    other = world.worker("other", nthreads=2)
    assert sorted(world.keys(other)) == ["a", "b"]


def test_nothing_is_recalled_that_has_left(world: World) -> None:
    client, worker = world.client(), world.worker()
    world.submit(client, "a", "b")
    world.keys(worker)
    secede(world, worker, "a")
    assert world.keys(worker) == ["b"]
    idle = world.worker("idle")
    world.tick(after=10)
    assert world.heard(worker) == []
    assert world.heard(idle) == []
    world.clear()


def test_what_was_sent_ahead_of_one_that_waits_is_not_in_the_way_of_those_it_waits_for(world: World) -> None:
    client = world.client()
    world.teach(client)
    world.teach(client, seconds=1.0, function="slow")
    worker = world.worker()
    world.submit(client, "a")
    world.submit(client, "b", after=["a"], function="slow")
    world.submit(client, "c", after=["b"])
    assert world.keys(worker) == ["a", "b"]
    secede(world, worker, "a")
    world.submit(client, "inner")
    assert world.heard(worker) == ["free b", "run inner"]
    world.done(worker, "inner")
    secede(world, worker, "a", gone=False)
    assert world.heard(worker) == ["run b#2(a)"]
    world.clear()


def test_nothing_is_sent_ahead_of_one_that_has_left(world: World) -> None:
    client = world.client()
    world.teach(client)
    worker = world.worker()
    world.submit(client, "a")
    assert world.keys(worker) == ["a"]
    secede(world, worker, "a")
    world.submit(client, "b", after=["a"])
    assert world.heard(worker) == []
    world.done(worker, "a")
    assert world.heard(worker) == ["run b(a)"]
    world.clear()
