"""Tasks whose inputs do not fit into memory: where they run instead, and how they are refused."""

from __future__ import annotations

import pytest
from world import World

from windrow.scheduler.state import ClientRecord, WorkerRecord
from windrow.wire import failure
from windrow.wire.messages import Failed, Rescheduled

GB = 2**30


def made(world: World, client: ClientRecord, worker: WorkerRecord, **sizes: int) -> None:
    """Have large values made on a worker; everything said meanwhile is claimed."""
    for key, nbytes in sizes.items():
        world.submit(client, key, function="make", workers=[str(worker.name)])
        world.large(worker, key, nbytes=nbytes)
    world.clear()


def refusal(world: World, client: ClientRecord, key: str = "sum") -> str:
    """Claim the one failure that a client was told of; return its words."""
    [failed] = world.take(client)
    assert type(failed) is Failed
    assert failed.keys == [key]
    assert isinstance(failed.error, bytes)
    error = failure.load(failed.error)
    assert type(error) is MemoryError
    return str(error)


def test_inputs_that_fit_nowhere_are_refused_with_names_sizes_and_advice(world: World) -> None:
    client, worker = world.client(), world.worker("w", memory_limit=GB)
    made(world, client, worker, a=600 * 2**20, b=500 * 2**20, c=2**20, d=2**20, e=2**20)
    world.submit(client, "sum", after=["a", "b", "c", "d", "e"])
    words = refusal(world, client)
    assert words.startswith("Task 'sum' was not run: its inputs take 1.1 GiB together")
    assert "the one worker that may run it (the largest: 1.0 GiB, worker 'w')" in words
    assert "'a' (600.0 MiB), 'b' (500.0 MiB), 'c' (1.0 MiB) and 2 more" in words
    assert "memory_limit=" in words
    assert "distributed.worker.memory.terminate" in words


def test_inputs_that_just_fit_are_no_matter(world: World) -> None:
    client, worker = world.client(), world.worker("w", memory_limit=GB)
    made(world, client, worker, a=GB // 2, b=GB // 2)
    world.submit(client, "sum", after=["a", "b"])
    assert world.heard(worker) == ["run sum(a, b)"]


@pytest.mark.parametrize("limit", [0, 3 * GB])
def test_a_worker_with_more_room_takes_it(world: World, limit: int) -> None:
    client, small, large = world.client(), world.worker("small", memory_limit=GB), world.worker("l", memory_limit=limit)
    made(world, client, small, a=GB, b=GB)
    world.submit(client, "sum", after=["a", "b"])
    assert world.heard(large) == ["run sum(a@small, b@small)"]


def test_it_waits_for_the_one_worker_with_room_and_no_other_takes_it_over(world: World) -> None:
    client, small, large = world.client(), world.worker("s", memory_limit=GB), world.worker("l", memory_limit=3 * GB)
    made(world, client, small, a=GB, b=GB)
    world.submit(client, "long", function="long", workers=["l"])
    world.clear()
    world.submit(client, "sum", after=["a", "b"])
    world.tick(after=5.0)
    assert world.heard(small) == []
    world.done(large, "long")
    world.submit(client, "other", function="long", workers=["s"])
    assert world.heard(large) == ["run sum(a@s, b@s)"]
    world.clear()


def test_it_waits_while_the_worker_with_room_is_paused(world: World) -> None:
    client, small, large = world.client(), world.worker("s", memory_limit=GB), world.worker("l", memory_limit=3 * GB)
    made(world, client, small, a=GB, b=GB)
    world.pause(large)
    world.submit(client, "sum", after=["a", "b"])
    assert world.states("sum") == ["queued"]
    world.pause(large, False)
    assert world.heard(large) == ["run sum(a@s, b@s)"]


def test_it_is_refused_when_the_one_worker_with_room_goes(world: World) -> None:
    client, small, large = world.client(), world.worker("s", memory_limit=GB), world.worker("l", memory_limit=3 * GB)
    made(world, client, small, a=GB, b=GB)
    world.submit(client, "sum", after=["a", "b"])
    world.clear()
    world.lose(large)
    assert "worker 's'" in refusal(world, client)


def test_only_workers_that_may_run_it_count(world: World) -> None:
    client, small, large = world.client(), world.worker("s", memory_limit=GB), world.worker("l", memory_limit=3 * GB)
    made(world, client, small, a=GB, b=GB)
    world.submit(client, "sum", after=["a", "b"], workers=["s"])
    assert "worker 's'" in refusal(world, client)
    world.submit(client, "loose", after=["a", "b"], workers=["s"], allow_other_workers=True)
    assert "worker 's'" in refusal(world, client, "loose")
    world.submit(client, "free", after=["a", "b"], workers=["l", "s"])
    assert world.heard(large) == ["run free(a@s, b@s)"]


def test_tasks_that_take_resources_are_held_to_it_too(world: World) -> None:
    client = world.client()
    small = world.worker("s", memory_limit=GB, resources={"GPU": 1.0})
    large = world.worker("l", memory_limit=3 * GB, resources={"GPU": 1.0})
    made(world, client, small, a=GB, b=GB)
    world.submit(client, "sum", after=["a", "b"], resources={"GPU": 1.0})
    assert world.heard(large) == ["run sum(a@s, b@s)"]
    world.lose(large)
    assert "worker 's'" in refusal(world, client)


def test_small_inputs_and_workers_without_limit_are_no_matter(world: World) -> None:
    client, worker = world.client(), world.worker("w", memory_limit=1000)
    world.submit(client, "a", "b")
    world.done(worker, *world.keys(worker), value=b"1", nbytes=900)
    world.done(worker, *world.keys(worker), value=b"1", nbytes=900)
    world.submit(client, "sum", after=["a", "b"])
    assert "sum" in world.settle(worker)
    world.clear()


def test_the_check_can_be_switched_off() -> None:
    world = World(guards_memory=False)
    client, worker = world.client(), world.worker("w", memory_limit=1000)
    made(world, client, worker, a=2000)
    world.submit(client, "sum", after=["a"])
    assert world.heard(worker) == ["run sum(a)"]


def test_what_depends_on_it_fails_too_and_it_may_be_tried_again(world: World) -> None:
    client, worker = world.client(), world.worker("w", memory_limit=GB)
    made(world, client, worker, a=GB, b=GB)
    world.chain(client, "x")
    world.settle(worker)
    world.clear()
    world.submit(client, "sum", after=["a", "b"])
    world.submit(client, "more", after=["sum"])
    assert world.states("sum", "more") == ["erred", "erred"]
    world.clear()


def test_what_was_sent_ahead_comes_back_and_is_refused(world: World) -> None:
    client = world.client()
    world.teach(client)
    worker = world.worker("w", memory_limit=GB)
    world.submit(client, "a", "b")
    world.submit(client, "sum", after=["a", "b"])
    assert world.heard(worker) == ["run a", "run b", "run sum(a, b)"]
    world.large(worker, "a", "b", nbytes=GB)
    run = world.run(worker, "sum")
    world.say(worker, Rescheduled(run.task, run.attempt))
    assert world.states("sum") == ["erred"]
    world.clear()
