"""The memory manager: policies, and what comes of what they suggest."""

from __future__ import annotations

from typing import Any

import pytest
from world import World

from windrow.scheduler.memory_manager import (
    ActiveMemoryManagerPolicy,
    MemoryManager,
    ReduceReplicas,
    RetireWorker,
    Suggestions,
)
from windrow.scheduler.state import ClientRecord
from windrow.wire.requests import Ask, Scatter


def manager(world: World) -> MemoryManager:
    found = world.core.desk.services["amm"]
    assert isinstance(found, MemoryManager)
    return found


def spread(world: World, client: ClientRecord, *keys: str) -> None:
    """Large scattered data on all workers."""
    world.ask(client, Scatter(list(keys), [b"v"] * len(keys), [10**6] * len(keys), [None] * len(keys), copies=99))
    world.clear()


def holders(world: World, key: str) -> list[Any]:
    return [holder.name for holder in world.task(key).holders]


def asked(world: World, client: ClientRecord, what: str) -> Any:
    world.ask(client, Ask("amm", what))
    return world.answer(client).value


def test_it_is_off_and_can_be_started_and_stopped(world: World) -> None:
    client = world.client()
    assert asked(world, client, "running") is False
    assert world.core.desk.is_waiting is False
    asked(world, client, "start")
    assert asked(world, client, "running") is True
    assert world.core.desk.is_waiting is True
    asked(world, client, "stop")
    assert asked(world, client, "running") is False


def test_it_can_run_from_the_start() -> None:
    assert manager(World(manages_memory=True)).running


def test_what_it_does_not_know_is_refused(world: World) -> None:
    client = world.client()
    world.ask(client, Ask("amm", "dance"))
    assert world.answer(client).error is not None


def test_it_looks_every_now_and_then(world: World) -> None:
    client = world.client()
    world.workers(2)
    spread(world, client, "a")
    asked(world, client, "start")
    world.tick(after=5.0)
    assert holders(world, "a") in (["w1"], ["w2"])
    spread(world, client, "b")
    world.clear()
    world.tick(after=1.0)
    assert len(holders(world, "b")) == 2
    world.tick(after=1.0)
    assert len(holders(world, "b")) == 1
    world.clear()


def test_one_copy_is_left_on_the_emptiest(world: World) -> None:
    client = world.client()
    first, second, third = world.workers(3)
    spread(world, client, "a")
    world.ask(client, Scatter(["b"], [b"v"], [10**7], [None], ["tcp://w1"]))
    world.ask(client, Scatter(["c"], [b"v"], [10**6], [None], ["tcp://w3"]))
    world.clear()
    asked(world, client, "run_once")
    assert holders(world, "a") == ["w2"]
    assert world.heard(first) == world.heard(third) == ["free a"]
    assert world.heard(second) == []


def test_copies_in_use_stay(world: World) -> None:
    client = world.client()
    first, second, _ = world.workers(3)
    spread(world, client, "a")
    world.submit(client, "x", after=["a"], workers=["w1"])
    world.submit(client, "y", after=["a"], workers=["w2"])
    assert world.keys(first) + world.keys(second) == ["x", "y"]
    manager(world).run_once()
    assert holders(world, "a") == ["w1", "w2"]
    world.clear()


def test_as_many_copies_stay_as_tasks_wait_for_them(world: World) -> None:
    client = world.client()
    world.workers(3)
    world.submit(client, "busy", workers=["w1"])
    spread(world, client, "a")
    world.submit(client, "x", after=["a", "busy"])
    world.submit(client, "y", after=["a", "busy"])
    manager(world).run_once()
    assert len(holders(world, "a")) == 2
    world.clear()


def test_retire_worker_empties_it_and_leaves(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    world.ask(client, Scatter(["a"], [b"v"], [10**6], [None], ["tcp://w1"]))
    world.clear()
    manager(world).add_policy(RetireWorker("tcp://w1"))
    manager(world).run_once()
    assert world.heard(second) == ["copy a@w1"]
    manager(world).policies.pop(0)  # which would drop one of the two
    world.copied(second, "a")
    manager(world).run_once()
    assert manager(world).policies == []
    assert first.status == "running"


def test_policy_is_sent_back_what_was_chosen(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    spread(world, client, "a")
    said: list[Any] = []

    class Mine(ActiveMemoryManagerPolicy):
        def run(self) -> Suggestions:
            task = self.manager.state.tasks["a"]
            said.append((yield "drop", task, [first]))
            said.append((yield "drop", task, None))
            said.append((yield "replicate", task, None))

    manager(world).policies = []
    manager(world).add_policy(Mine())
    manager(world).run_once()
    assert said == [first, None, first]
    assert world.heard(first) == ["free a", "copy a@w2"]
    assert world.heard(second) == []


@pytest.mark.parametrize("wrong", ["raises", "suggests"])
def test_policy_that_fails_is_not_asked_again(world: World, wrong: str) -> None:
    client = world.client()
    world.worker()
    spread(world, client, "a")

    class Wrong(ActiveMemoryManagerPolicy):
        def run(self) -> Any:
            if wrong == "raises":
                raise OSError("no")
            yield "hide", self.manager.state.tasks["a"], None

    manager(world).add_policy(Wrong())
    manager(world).run_once()
    assert [type(policy) for policy in manager(world).policies] == [ReduceReplicas]
    _, event = manager(world).state.desk.services["events"].events["scheduler"][-1]
    assert (event["action"], event["policy"]) == ("memory-policy-failed", "<Wrong>")


def test_policy_without_run(world: World) -> None:
    with pytest.raises(NotImplementedError, match="has no method run"):
        ActiveMemoryManagerPolicy().run()
