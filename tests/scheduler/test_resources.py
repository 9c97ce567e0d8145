"""Resources: only workers that have enough of them run a task, and never more at a time than there is."""

from __future__ import annotations

import pytest
from world import World

from windrow.wire.messages import Done, Erred, Missing, Rescheduled, Returned, Stopped


def test_only_a_worker_that_has_it_runs_it(world: World) -> None:
    client = world.client()
    without, having = world.worker("without"), world.worker("having", resources={"GPU": 1})
    world.submit(client, "a", "b", resources={"GPU": 1})
    assert world.settle(having) == ["a", "b"]
    assert world.heard(without) == []
    world.clear()


def test_no_more_at_a_time_than_there_is(world: World) -> None:
    client = world.client()
    world.teach(client)
    worker = world.worker("w", nthreads=4, resources={"GPU": 2})
    world.submit(client, "a", "b", "c", resources={"GPU": 1})
    world.submit(client, "plain")
    assert sorted(world.keys(worker)) == ["a", "b", "plain"]
    world.done(worker, "a")
    assert world.keys(worker) == ["c"]
    world.clear()


def test_fractions_add_up(world: World) -> None:
    client = world.client()
    world.teach(client)
    worker = world.worker("w", nthreads=20, resources={"R": 1})
    keys = [f"t{i}" for i in range(12)]
    world.submit(client, *keys, resources={"R": 0.1})
    assert len(world.keys(worker)) == 10
    world.clear()


def test_what_no_worker_has_waits_for_one(world: World) -> None:
    client = world.client()
    world.worker("w", resources={"GPU": 1})
    world.submit(client, "a", resources={"GPU": 2})
    assert world.states("a") == ["queued"]
    late = world.worker("late", resources={"GPU": 2})
    assert world.keys(late) == ["a"]


def test_a_death_gives_the_task_and_not_the_resource_back(world: World) -> None:
    client = world.client()
    first = world.worker("first", resources={"GPU": 1})
    world.submit(client, "a", resources={"GPU": 1})
    assert world.keys(first) == ["a"]
    world.lose(first)
    second = world.worker("second", resources={"GPU": 1})
    assert world.keys(second) == ["a"]
    assert second.used == {"GPU": 1.0}


def test_priority_decides_between_those_that_take_and_those_that_do_not(world: World) -> None:
    client = world.client()
    worker = world.worker("w", resources={"GPU": 1})
    world.submit(client, "busy")
    assert world.keys(worker) == ["busy"]
    world.submit(client, "plain")
    world.submit(client, "taking", resources={"GPU": 1}, priority=1)
    world.done(worker, "busy", seconds=1.0)
    assert world.keys(worker) == ["taking"]
    world.clear()


def test_names_and_resources_both_bind(world: World) -> None:
    client = world.client()
    one, two = (world.worker(name, resources={"GPU": 1}) for name in ("one", "two"))
    world.submit(client, "a", "b", resources={"GPU": 1}, workers=["two"])
    assert world.heard(one) == []
    assert world.keys(two) == ["a"]
    world.clear()


def test_others_may_take_over_only_where_none_of_the_named_is_there(world: World) -> None:
    client = world.client()
    other = world.worker("other", resources={"GPU": 1})
    world.submit(client, "a", resources={"GPU": 1}, workers=["named"], allow_other_workers=True)
    assert world.keys(other) == ["a"]
    named = world.worker("named", resources={"GPU": 1})
    world.done(other, "a")
    world.submit(client, "b", "c", resources={"GPU": 1}, workers=["named"], allow_other_workers=True)
    assert world.keys(named) == ["b"]
    world.clear()


def test_a_cancelled_task_gives_back_what_it_took_when_it_has_ended(world: World) -> None:
    client = world.client()
    worker = world.worker("w", nthreads=2, resources={"GPU": 1})
    world.submit(client, "a", "b", resources={"GPU": 1})
    assert world.keys(worker) == ["a"]
    run = world.run(worker, "a")
    assert run.takes
    world.cancel(client, "a")
    assert world.heard(worker) == ["free a"]
    world.say(worker, Stopped(run.task, run.attempt))
    assert world.heard(worker) == ["run b"]
    world.clear()


@pytest.mark.parametrize("end", [Done, Erred, Missing, Rescheduled, Returned], ids=lambda end: end.__name__)
def test_the_end_of_a_cancelled_task_may_be_on_its_way_already(world: World, end: type) -> None:
    client = world.client()
    worker = world.worker("w", nthreads=2, resources={"GPU": 1})
    world.submit(client, "a", "b", resources={"GPU": 1})
    assert world.keys(worker) == ["a"]
    task, attempt = world.run(worker, "a").task, world.run(worker, "a").attempt
    world.cancel(client, "a")
    assert world.heard(worker) == ["free a"]
    more = {Done: (0.1, 1), Erred: (0.1, b"", ""), Missing: (task, []), Rescheduled: (), Returned: ()}
    world.say(worker, Returned([task], [attempt]) if end is Returned else end(task, attempt, *more[end]))
    assert world.heard(worker) == ["run b"]
    world.clear()


def test_a_task_made_anew_beside_its_own_ghost_takes_its_share_once(world: World) -> None:
    client = world.client()
    worker = world.worker("w", nthreads=3, resources={"GPU": 2})
    world.submit(client, "a", resources={"GPU": 1})
    assert world.keys(worker) == ["a"]
    first = world.run(worker, "a")
    world.cancel(client, "a")
    world.heard(worker)
    world.submit(client, "a", resources={"GPU": 1})
    assert world.keys(worker) == ["a"]
    assert worker.used == {"GPU": 2.0}
    world.say(worker, Stopped(first.task, first.attempt))
    assert worker.used == {"GPU": 1.0}
    world.done(worker, "a")
    assert worker.used == {}
    world.clear()
