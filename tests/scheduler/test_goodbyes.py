"""What follows a goodbye, and numbers that are none."""

from __future__ import annotations

import pytest
from world import World

from windrow.scheduler.state import Unexpected
from windrow.wire.messages import Close, Declare, Done, Graph, HelloClient, Submit, TaskOptions


def test_what_a_client_says_after_its_goodbye_is_nobodys(world: World) -> None:
    client = world.client()
    world.say(client, Close(""), Declare(b"f", "f", b""), Submit(b"f", ["a"], [b""]))
    world.say(client, Declare(b"f", "f", b""), Submit(b"f", ["b"], [b""]))
    assert not world.state.tasks
    assert not world.state.functions


def test_whose_place_another_has_taken_says_nothing_more(world: World) -> None:
    first = world.client("c")
    second = world.core.join(HelloClient("c"), world.now_s)
    world.say(first, Declare(b"f", "f", b""), Submit(b"f", ["a"], [b""]))
    assert not world.state.tasks
    world.submit(second, "b")
    assert list(world.state.tasks) == ["b"]


def test_what_a_worker_says_after_its_goodbye_is_nobodys(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    world.core.flush()
    task = world.state.tasks["a"]
    world.say(worker, Close(""), Done(task.id, task.attempt, 0.1, 1, b"1"))
    assert world.states("a") == ["queued"]


@pytest.mark.parametrize("how", ["Submit", "Graph"])
def test_a_priority_that_cannot_be_compared_is_refused(world: World, how: str) -> None:
    client = world.client()
    world.say(client, Declare(b"f", "f", b""))
    nan = float("nan")
    if how == "Submit":
        message = Submit(b"f", ["a"], [b""], priority=nan)
    else:
        message = Graph(1, [], ["a"], [b"f"], [0], [b""], [[]], [0], [TaskOptions(priority=nan)])
    with pytest.raises(Unexpected, match="not NaN"):
        world.say(client, message)
    assert not world.state.tasks


@pytest.mark.parametrize("quantity", [float("nan"), float("inf"), -1.0])
def test_resources_that_are_no_number_are_refused(world: World, quantity: float) -> None:
    client = world.client()
    with pytest.raises(Unexpected, match="of a resource a task takes a number that is none"):
        world.submit(client, "a", resources={"gpu": quantity})
    assert not world.state.tasks
