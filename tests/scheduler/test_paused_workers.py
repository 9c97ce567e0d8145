"""Workers whose memory is short: nothing is sent to them, nobody counts on them, and what they hold stays."""

from __future__ import annotations

from world import World

from windrow.scheduler.memory_state import memory_of
from windrow.wire.messages import Heartbeat
from windrow.wire.requests import Gather, GetData, Retire, RunFunction, Scatter

MB = 1_000_000


def test_a_paused_worker_gives_back_what_it_has_not_started(world: World) -> None:
    client = world.client()
    world.teach(client)
    first = world.worker("w")
    world.submit(client, "a", "b", "c")
    assert world.keys(first) == ["a", "b", "c"]
    second = world.worker("v")
    world.pause(first)
    assert world.heard(first) == ["recall a b c"]
    world.returned(first, "b", "c")
    assert world.keys(second) == ["b", "c"]
    world.done(first, "a")  # what ran goes on
    assert world.states("a") == ["memory"]
    world.clear()


def test_a_paused_worker_is_sent_nothing_until_it_goes_on(world: World) -> None:
    client, worker = world.client(), world.worker("w")
    world.pause(worker)
    world.submit(client, "a")
    world.tick(after=1.0)
    assert world.heard(worker) == []
    assert worker.status == "paused"
    world.pause(worker, False)
    assert worker.status == "running"
    assert world.keys(worker) == ["a"]


def test_tasks_bound_to_a_paused_worker_wait_for_it(world: World) -> None:
    client, worker, other = world.client(), world.worker("w"), world.worker("v")
    world.pause(worker)
    world.submit(client, "a", workers=["w"])
    assert world.heard(other) == []
    world.pause(worker, False)
    assert world.keys(worker) == ["a"]


def test_tasks_leave_the_queue_of_a_worker_that_pauses(world: World) -> None:
    client, worker, other = world.client(), world.worker("w"), world.worker("v")
    world.submit(client, "x", workers=["w"])
    world.large(worker, "x")
    world.submit(client, "long", function="long", workers=["w"])
    world.submit(client, "also", function="long", workers=["v"])
    world.clear()
    world.submit(client, "a", after=["x"], function="quick")  # stands in the queue of the one that holds x
    world.pause(worker)
    assert world.heard(worker) == ["recall long"]
    world.done(other, "also")
    assert world.heard(other) == ["run a(x@w)"]
    world.clear()


def test_inputs_on_a_paused_worker_are_fetched_from_there(world: World) -> None:
    client, worker, other = world.client(), world.worker("w"), world.worker("v")
    world.submit(client, "x", workers=["w"])
    world.large(worker, "x")
    world.pause(worker)
    world.clear()
    world.submit(client, "a", after=["x"])
    assert world.heard(other) == ["run a(x@w)"]


def test_a_paused_worker_answers(world: World) -> None:
    client, worker = world.client(), world.worker("w")
    world.submit(client, "x")
    world.large(worker, *world.keys(worker))
    world.pause(worker)
    world.clear()
    world.ask(client, Gather(["x"]))
    assert type(world.question(worker).request) is GetData
    world.ask(client, RunFunction(b"call"))
    assert type(world.question(worker).request) is RunFunction
    assert world.core.state.workers["tcp://w"].is_alive


def test_data_is_scattered_to_others(world: World) -> None:
    client, worker, other = world.client(), world.worker("w"), world.worker("v")
    world.pause(worker)
    world.ask(client, Scatter(["x", "y"], [b"1", b"2"], [10, 10], [None, None]))
    assert world.heard(worker) == []
    assert world.heard(other) == ["put x=1", "put y=2"]
    world.clear()


def test_a_paused_worker_can_retire_and_others_take_its_data(world: World) -> None:
    client, worker, other = world.client(), world.worker("w"), world.worker("v")
    world.submit(client, "x", workers=["w"])
    world.large(worker, "x")
    world.pause(worker)
    world.clear()
    world.ask(client, Retire(["tcp://w"]))
    assert world.heard(other) == ["copy x@w"]
    world.copied(other, "x")
    assert world.heard(worker) == ["Close(reason='retired')"]
    assert world.answer(client).value == ["tcp://w"]


def test_a_worker_that_cannot_retire_is_still_paused(world: World) -> None:
    client, worker = world.client(), world.worker("w")
    world.submit(client, "x")
    world.large(worker, *world.keys(worker))
    world.pause(worker)
    world.clear()
    world.ask(client, Retire(["tcp://w"]))
    assert world.answer(client).value == []
    assert worker.status == "paused"


def test_a_worker_that_pauses_while_it_retires_is_told_at_its_end(world: World) -> None:
    client, worker, other = world.client(), world.worker("w"), world.worker("v")
    world.submit(client, "x", workers=["w"])
    world.large(worker, "x")
    world.clear()
    world.ask(client, Retire(["tcp://w"]))
    world.pause(worker)
    assert worker.status == "closing_gracefully"
    assert world.heard(other) == ["copy x@w"]
    world.lose(other)
    assert worker.status == "paused"
    world.clear()


def test_what_a_workers_memory_is_taken_by(world: World) -> None:
    client, worker = world.client(), world.worker("w")
    world.submit(client, "x", "y")
    for _ in "xy":
        world.large(worker, *world.keys(worker), nbytes=40 * MB)
    metrics = {"memory": 100.0 * MB, "spilled": 30.0 * MB, "unmanaged_old": 45.0 * MB}
    world.say(worker, Heartbeat(metrics))
    memory = memory_of(worker)
    assert (memory.process, memory.managed_total, memory.spilled, memory.managed) == (
        100 * MB,
        80 * MB,
        30 * MB,
        50 * MB,
    )
    assert (memory.unmanaged, memory.unmanaged_old, memory.unmanaged_recent) == (50 * MB, 45 * MB, 5 * MB)
    assert memory.optimistic == 95 * MB
    world.clear()


def test_memory_before_the_first_heartbeat_and_with_more_results_than_the_process_has(world: World) -> None:
    client, worker = world.client(), world.worker("w")
    world.submit(client, "x")
    world.large(worker, *world.keys(worker), nbytes=40 * MB)
    assert memory_of(worker).process == memory_of(worker).managed == memory_of(worker).unmanaged == 0
    world.say(worker, Heartbeat({"memory": 30.0 * MB, "unmanaged_old": 20.0 * MB}))
    memory = memory_of(worker)
    assert (memory.managed, memory.unmanaged, memory.unmanaged_recent, memory.optimistic) == (30 * MB, 0, 0, 30 * MB)
    world.clear()
