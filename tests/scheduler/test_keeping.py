"""Tasks that nobody waits for: wanted until their end, and then by nobody."""

from __future__ import annotations

import pytest
from world import World

from windrow.scheduler.state import ClientRecord
from windrow.wire.messages import Call
from windrow.wire.requests import Ask


def fire(world: World, client: ClientRecord, *keys: str) -> None:
    """Want tasks though no future is held on them."""
    world.say(client, Call(1, Ask("fire-and-forget", list(keys))))
    world.release(client, *keys)
    world.flush()
    del world.inbox[client]


def test_a_task_runs_that_no_future_is_held_on(world: World) -> None:
    client, worker = world.client(), world.worker()
    world.submit(client, "a")
    fire(world, client, "a")
    assert world.settle(worker) == ["a"]
    assert world.states("a") == ["forgotten"]


@pytest.mark.parametrize("end", ["done", "failed", "cancelled", "done before"])
def test_nobody_is_left_who_wanted_it(world: World, end: str) -> None:
    client, worker = world.client(), world.worker()
    world.submit(client, "a")
    world.keys(worker)
    if end == "done before":
        world.done(worker, "a")
    fire(world, client, "a")
    if end == "done":
        world.done(worker, "a")
    elif end == "failed":
        world.erred(worker, "a")
    elif end == "cancelled":
        world.cancel(client, "a", force=True)
    world.flush()
    assert list(world.state.clients) == [client.id]
    assert world.states("a") == ["forgotten"]
    world.clear()
