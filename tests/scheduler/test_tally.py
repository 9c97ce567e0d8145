"""What happens is counted for monitors, and what is forgotten stays counted."""

from __future__ import annotations

from typing import Any

import pytest
from world import SHORT_S, World

from windrow.scheduler import tally
from windrow.wire.messages import Close, HelloObserver, Reply
from windrow.wire.requests import AdaptiveTarget, WorkerFacts


def functions(world: World) -> dict[str, Any]:
    told: dict[str, Any] = tally.report(world.state)["functions"]
    return told


def test_what_becomes_of_tasks_is_counted_by_function(world: World) -> None:
    worker, client = world.worker("w", nthreads=2), world.client("c")
    world.submit(client, "a", "b")
    world.flush()
    world.done(worker, "a", seconds=2.0)
    world.erred(worker, "b", "boom")
    world.submit(client, "g", function="g")
    world.clear()
    told = functions(world)
    facts = {"made": 2, "forgotten": 0, "started": 2, "count": 1, "erred": 1, "suspected": 0}
    assert told["f"] == {**facts, "seconds": 2.0 + SHORT_S}
    assert (told["g"]["made"], told["g"]["started"], told["g"]["count"]) == (1, 1, 0)


def test_what_is_forgotten_stays_counted(world: World) -> None:
    worker, client = world.worker("w"), world.client("c")
    world.submit(client, "a")
    world.flush()
    world.done(worker, "a")
    before = functions(world)["f"]
    world.release(client, "a")
    assert functions(world)["f"] == {**before, "forgotten": 1}
    world.say(client, Close(""))
    assert not world.state.functions
    assert functions(world)["f"] == {**before, "forgotten": 1}
    world.submit(world.client("d"), "b")
    assert functions(world)["f"]["made"] == 2
    world.clear()


def test_who_comes_and_goes_is_counted(world: World) -> None:
    worker, client = world.worker("w"), world.client("c")
    world.worker("x")
    world.say(client, Close(""))
    world.lose(client)  # as the shell tells it
    world.say(worker, Close(""))
    told = tally.report(world.state)
    assert (told["clients"], told["workers"]) == ([1, 1], [2, 1])


def test_a_task_that_ran_at_a_death_is_suspected(world: World) -> None:
    worker, client = world.worker("w"), world.client("c")
    world.submit(client, "a")
    world.flush()
    world.lose(worker)
    world.clear()
    assert functions(world)["f"]["suspected"] == 1


def test_an_input_that_errs_is_counted_with_what_depends_on_it(world: World) -> None:
    worker, client = world.worker("w"), world.client("c")
    world.chain(client, "a", "b")
    world.flush()
    world.erred(worker, "a")
    world.clear()
    assert functions(world)["f"]["erred"] == 2


def test_recalls_are_counted(world: World) -> None:
    client = world.client()
    world.teach(client, 1e-4)
    world.worker()
    world.submit(client, *[f"k{number}" for number in range(10)])
    world.clear()
    world.worker()
    assert tally.report(world.state)["recalled"] == [0, 0.0]
    world.tick(after=0.06)
    world.clear()
    assert tally.report(world.state)["recalled"] == [9, pytest.approx(9 * 1.08e-4)]


def test_names_without_end_are_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "NAMES_MAX", 2)
    found: dict[str, tally.Totals] = {}
    for name in "abcb":
        tally.add_up(found, name, tally.Totals(made=1))
    assert {name: totals.made for name, totals in found.items()} == {"a": 1, "b": 2, tally.OTHERS: 1}


# ---------------------------------------------------------------- an observer's question to a worker


def ask_worker(world: World, address: str) -> Any:
    observer = world.core.join(HelloObserver("o"), world.now_s)
    world.ask(observer, WorkerFacts(address))
    return observer


def test_a_worker_is_asked_what_it_says_of_itself(world: World) -> None:
    worker = world.worker("w")
    world.clear()
    observer = ask_worker(world, worker.address)
    call = world.question(worker)
    assert type(call.request) is WorkerFacts
    world.say(worker, Reply(call.id, {"states": {}}))
    assert world.answer(observer).value == {"states": {}}


def test_of_a_worker_that_is_not_there_or_goes_there_is_no_answer(world: World) -> None:
    observer = ask_worker(world, "tcp://nobody")
    assert world.answer(observer).value is None
    worker = world.worker("w")
    world.clear()
    observer = ask_worker(world, worker.address)
    world.clear()
    world.lose(worker)
    assert world.answer(observer).value is None


def test_an_observer_may_ask_how_many_workers_are_wanted(world: World) -> None:
    observer = world.core.join(HelloObserver("o"), world.now_s)
    world.ask(observer, AdaptiveTarget(5.0))
    assert world.answer(observer).value == 0
    world.submit(world.client("c"), "a", "b")
    world.clear()
    world.ask(observer, AdaptiveTarget(5.0))
    assert world.answer(observer).value == 1
