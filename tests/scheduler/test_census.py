"""Tasks are counted a few at a time, for observers who change nothing."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from world import World

from windrow.scheduler import census
from windrow.scheduler.state import Peer, Unexpected
from windrow.wire import failure
from windrow.wire.messages import HelloObserver, Submit
from windrow.wire.requests import Facts, Identity, Overview, RunOnScheduler


def watch(world: World) -> Peer[Any]:
    return world.core.join(HelloObserver("o"), world.now_s)


def look(world: World, observer: Any) -> dict[str, Any]:
    world.ask(observer, Overview())
    value: dict[str, Any] = world.answer(observer).value
    return value


def test_an_overview_counts_what_is_there(world: World) -> None:
    worker, client, observer = world.worker("w", nthreads=2), world.client("c"), watch(world)
    world.submit(client, "a", "b")
    world.done(worker, "a", nbytes=5)
    world.erred(worker, "b", "boom")
    world.submit(client, "g", function="g")
    world.submit(client, "h", after=["g"], function="h")
    world.clear()
    told = look(world, observer)
    assert told["prefixes"] == {
        "f": {"memory": 1, "erred": 1},
        "g": {"processing": 1},
        "h": {"processing": 1},  # sent ahead of its input
    }
    assert (told["tasks"], told["clients"], told["bytes"], told["unrunnable"]) == (4, 1, 5, 0)
    assert told["erred"] == [["b", "f", "boom"]]
    assert told["counted"] == told["now"] == world.now_s
    [(address, counts)] = told["workers"].items()
    assert address == "tcp://w"
    assert (counts["processing"], counts["stored"], counts["stored_bytes"]) == (2, 1, 5)
    assert (counts["idle"], counts["saturated"]) == (False, True)


def test_a_task_is_let_go_of_as_soon_as_it_is_counted(world: World) -> None:
    world.worker("w")
    world.submit(world.client("c"), "a", "b")
    world.clear()
    tasks = list(world.core.state.tasks.values())
    counting = census.Census(list(tasks), 0.0)
    held = [sys.getrefcount(task) for task in tasks]
    assert not counting.step(1)
    kept = [sys.getrefcount(task) for task in tasks]
    assert (kept[0], kept[1]) == (held[0] - 1, held[1])
    assert counting.step(1)


def test_tasks_that_ask_for_what_no_worker_has_can_run_nowhere(world: World) -> None:
    world.worker("w", resources={"CPU": 1})
    client, observer = world.client("c"), watch(world)
    world.submit(client, "x", "y", resources={"GPU": 1})
    world.submit(client, "z", resources={"CPU": 1})
    world.submit(client, "later", resources={"CPU": 1})
    world.clear()
    assert look(world, observer)["unrunnable"] == 2
    world.worker("v", resources={"GPU": 1})
    world.clear()
    assert look(world, observer)["unrunnable"] == 0


def test_of_tasks_that_fail_with_their_input_only_the_root_is_named(world: World) -> None:
    worker, client, observer = world.worker("w"), world.client("c"), watch(world)
    world.chain(client, "a", "b")
    world.erred(worker, "a")
    world.clear()
    told = look(world, observer)
    assert told["prefixes"] == {"f": {"erred": 2}}
    assert [key for key, _, _ in told["erred"]] == ["a"]


def test_many_tasks_are_counted_over_several_ticks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "STEP_TASKS", 2)
    client, observer = world.client("c"), watch(world)
    assert not world.core.is_busy()
    world.submit(client, "a", "b", "c", "d", "e")
    first = look(world, observer)
    assert (first["counted"], first["prefixes"], first["tasks"]) == (None, {}, 5)
    assert world.core.is_busy()  # and so it is ticked, though nothing runs
    world.release(client, "e")  # forgotten before its turn
    world.tick(0.025)
    assert world.core.is_busy()
    world.tick(0.025)
    assert not world.core.is_busy()
    assert look(world, observer)["prefixes"] == {"f": {"queued": 4}}


def test_asking_often_counts_no_more_often(world: World) -> None:
    client, observer = world.client("c"), watch(world)
    world.submit(client, "a")
    first = look(world, observer)
    world.submit(client, "b")
    again = look(world, observer)
    assert (again["counted"], again["prefixes"], again["tasks"]) == (first["counted"], {"f": {"queued": 1}}, 2)
    world.now_s += census.APART_S
    assert look(world, observer)["prefixes"] == {"f": {"queued": 2}}


def test_an_observer_is_no_client_and_may_only_look(world: World) -> None:
    observer: Any = watch(world)
    assert look(world, observer)["clients"] == 0
    assert not world.state.clients
    world.ask(observer, Identity())
    assert world.answer(observer).value["type"] == "Scheduler"
    world.ask(observer, Facts())
    assert world.answer(observer).value == []
    world.ask(observer, RunOnScheduler(b""))
    refused = world.answer(observer).error
    assert refused is not None
    with pytest.raises(PermissionError, match="RunOnScheduler"):
        raise failure.load(refused)
    with pytest.raises(Unexpected, match="Submit"):
        world.say(observer, Submit(b"f", ["a"], [b""]))
    world.lose(observer)


@pytest.mark.parametrize(
    ("key", "prefix"),
    [
        ("inc", "inc"),
        ("read-csv-1f2e", "read-csv"),
        (("x-1f", 0), "x"),
        ((("y-2", 1), 0), "y"),
        (3, "3"),
        ("-1", ""),
    ],
)
def test_keys_of_one_kind_have_one_prefix(key: Any, prefix: str) -> None:
    assert census.prefix_of(key) == prefix
