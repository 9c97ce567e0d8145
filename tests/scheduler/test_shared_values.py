"""Values in memory that both sides map: who is asked for them so, and who is not sent them."""

from __future__ import annotations

from world import World

from windrow.scheduler.state import ClientRecord
from windrow.wire.messages import Call, Gather, GetData, Put, Reach, Reply, Scatter, Shared

VALUE = Shared(7, 5, 1234, 1, [100, 1_000_000])


def scatter(world: World, client: ClientRecord, *near: str, nbytes: int = 10**6, copies: int = 1) -> None:
    world.ask(client, Scatter(["a"], [VALUE], [nbytes], [None], copies=copies, near=list(near)))


def test_who_gathers_says_its_host_to_the_holder(world: World) -> None:
    client, worker = world.client(), world.worker()
    world.submit(client, "x")
    world.large(worker, "x")
    world.clear()
    world.ask(client, Gather(["x"], "this host"))
    asked = world.question(worker)
    assert asked.request == GetData([world.id("x")], "this host")
    world.say(worker, Reply(asked.id, blobs=[VALUE]))
    assert world.answer(client).blobs == [VALUE]


def test_shared_data_goes_to_a_worker_that_can_open_it(world: World) -> None:
    client, worker = world.client(), world.worker("w")
    scatter(world, client, "tcp://w")
    put, call = world.take(worker)
    assert (type(put), put.value) == (Put, VALUE)
    [finished] = world.take(client)
    assert finished.values == [None]  # it stays with the worker
    world.reply(worker, b"1", to=call)
    assert world.answer(client).value == []


def test_the_answer_waits_until_all_that_get_it_have_it(world: World) -> None:
    client, first, second = world.client(), world.worker("v"), world.worker("w")
    scatter(world, client, "tcp://v", "tcp://w", copies=2)
    calls = [world.take(worker)[-1] for worker in (first, second)]
    assert [call.request for call in calls] == [Reach(), Reach()]
    world.take(client)
    world.reply(first, b"1", to=calls[0])
    assert world.take(client) == []
    world.lose(second)  # it will not answer any more
    assert type(world.answer(client)) is Reply


def test_nothing_is_placed_where_a_worker_cannot_open_it(world: World) -> None:
    client, first, second = world.client(), world.worker("v"), world.worker("w")
    scatter(world, client, "tcp://w", copies=2)
    assert world.answer(client).value is True
    assert world.heard(first) == world.heard(second) == []
    assert "a" not in world.state.tasks


def test_the_scheduler_itself_never_keeps_it(world: World) -> None:
    client = world.client()
    scatter(world, client)
    assert world.answer(client).value is True
    worker = world.worker("w")
    scatter(world, client, "tcp://w", nbytes=10)  # as small as what rides along
    world.clear()
    assert world.task("a").value is None
    assert world.task("a").holders == (worker,)


def test_only_the_workers_that_would_get_it_must_be_near(world: World) -> None:
    client, first, second = world.client(), world.worker("v"), world.worker("w")
    scatter(world, client, "tcp://v")
    assert type(world.take(first)[0]) is Put
    assert world.take(second) == []
    world.clear()


def test_all_workers_are_asked_whether_they_reach_a_client(world: World) -> None:
    client, first, second = world.client(), world.worker("v"), world.worker("w")
    world.ask(client, Reach(VALUE))
    questions: list[Call] = [world.question(worker) for worker in (first, second)]
    assert [question.request for question in questions] == [Reach(VALUE)] * 2
    world.reply(first, None, to=questions[0])
    world.reply(second, b"1", to=questions[1])
    answer = world.answer(client)
    assert (answer.value, answer.blobs) == (["tcp://v", "tcp://w"], [None, b"1"])
