"""Attempts: whatever is said about a forgotten one is dropped, and what begins one says all that a worker needs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from world import World

from windrow.scheduler.state import WorkerRecord
from windrow.wire.messages import Close, Done, Erred, Message, Missing, Returned, Run

About = Callable[[Run], Message]

ABOUT_AN_ATTEMPT: dict[str, About] = {
    "done": lambda run: Done(run.task, run.attempt, 0.1, 10, b"old"),
    "erred": lambda run: Erred(run.task, run.attempt, 0.1, b"old", "old"),
    "returned": lambda run: Returned([run.task], [run.attempt]),
    "missing": lambda run: Missing(run.task, run.attempt, run.task, []),
}

each_message = pytest.mark.parametrize("about", ABOUT_AN_ATTEMPT.values(), ids=ABOUT_AN_ATTEMPT.keys())


@each_message
def test_what_is_said_of_an_earlier_attempt_is_dropped(world: World, about: About) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a", retries=1)
    old = world.run(worker, "a")
    world.erred(worker, "a")
    assert world.heard(worker) == ["run a", "run a#2"]
    world.say(worker, about(old))
    assert world.states("a") == ["processing"]
    assert world.task("a").attempt == 2
    assert world.heard(client) == []


@each_message
def test_what_another_worker_says_of_an_attempt_is_dropped(world: World, about: About) -> None:
    first, second = world.workers(2)
    client = world.client()
    world.submit(client, "a")
    assert world.heard(first) == ["run a"]
    world.say(second, about(world.run(first, "a")))
    assert world.task("a").worker is first


@each_message
def test_what_is_said_of_a_forgotten_task_is_dropped(world: World, about: About) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    run = world.run(worker, "a")
    world.release(client, "a")
    world.clear()
    world.say(worker, about(run))
    assert world.states("a") == ["forgotten"]


@each_message
def test_what_is_said_of_a_finished_attempt_is_dropped(world: World, about: About) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    run = world.run(worker, "a")
    world.done(worker, "a", value=b"new")
    world.clear()
    world.say(worker, about(run))
    assert world.states("a") == ["memory"]
    assert world.task("a").value == b"new"


@each_message
def test_a_worker_that_was_taken_out_is_not_listened_to(world: World, about: About) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    run = world.run(worker, "a")
    world.say(worker, Close())
    world.clear()
    world.say(worker, about(run))
    assert world.states("a") == ["queued"]


def test_each_assignment_has_the_next_number(world: World) -> None:
    client = world.client()
    world.submit(client, "a")
    for number in range(1, 4):
        worker = world.worker()
        [_, run] = world.take(worker)
        assert run.attempt == number
        world.say(worker, Close())


def test_result_of_a_cancelled_attempt_does_not_reach_its_successor(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    old = world.run(worker, "a")
    world.cancel(client, "a")
    world.submit(client, "a")
    world.clear()
    world.say(worker, Done(old.task, old.attempt, 0.1, 10, b"old"))
    world.done(worker, "a", value=b"new")
    assert world.heard(client) == ["finished a=new"]


def test_expected_load_of_a_worker_falls_to_exactly_nothing(world: World) -> None:
    client = world.client()
    world.teach(client, 0.0001)
    worker = world.worker()
    world.submit(client, *(f"k{number}" for number in range(50)))
    world.settle(worker)
    assert worker.expected_s == 0.0
    world.clear()


def test_duration_of_a_function_is_learnt_from_its_tasks(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a", "b")
    [function] = world.state.functions.values()
    assert (function.count, function.expected_s) == (0, 0.5)
    world.done(worker, *world.keys(worker), seconds=1.0)
    assert function.expected_s == pytest.approx(1.0, abs=1e-4)
    world.done(worker, *world.keys(worker), seconds=2.0)
    assert function.expected_s == pytest.approx(1.1, abs=1e-4)
    world.clear()


def test_a_dropped_result_teaches_nothing(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a", "b")
    run = world.run(worker, "a")
    world.release(client, "a")
    world.say(worker, Done(run.task, run.attempt, 100.0, 10))
    assert world.task("b").function.count == 0  # type: ignore[union-attr]
    world.clear()


def test_a_dropped_result_is_still_a_sign_of_progress(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a")
    run = world.run(worker, "a")
    world.release(client, "a")
    world.clear()
    world.now_s += 5
    world.say(worker, Done(run.task, run.attempt, 0.1, 10))
    assert progress_s(worker) == world.now_s


def progress_s(worker: WorkerRecord) -> float:
    """When a worker last ended an attempt."""
    return worker.progress_s
