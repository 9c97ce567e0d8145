"""What the scheduler tells of tasks when it is asked."""

from __future__ import annotations

from typing import Any

import pytest
from world import World

from windrow.wire.requests import Facts


def facts(world: World, client: Any, *keys: Any, names: list[str] | None = None) -> dict[Any, dict[str, Any]]:
    call = world.ask(client, Facts(list(keys) or None, names))
    reply = world.answer(client)
    assert reply.id == call
    return dict(reply.value)


@pytest.fixture
def told(world: World) -> dict[Any, dict[str, Any]]:
    worker, client = world.worker("w"), world.client("c")
    world.chain(client, "a", "b")
    world.submit(client, "d", priority=2.0, retries=1)
    world.take(worker)
    return facts(world, client)


def test_all_tasks_are_told_of_when_none_is_named(told: dict[Any, dict[str, Any]]) -> None:
    assert told.keys() == {"a", "b", "d"}
    assert told["a"]["dependents"] == ["b"]
    assert told["b"]["dependencies"] == ["a"]
    assert (told["d"]["priority"], told["d"]["retries"]) == (2.0, 1)
    assert {each["processing_on"] for each in told.values()} <= {None, "tcp://w"}
    assert [each["who_wants"] for each in told.values()] == [["c"]] * 3
    assert {each["nbytes"] for each in told.values()} == {None}


def test_unknown_keys_and_facts_are_left_out(world: World) -> None:
    client = world.client("c")
    world.submit(client, "a")
    assert facts(world, client, "a", "never", names=["state", "colour"]) == {"a": {"state": "queued"}}
