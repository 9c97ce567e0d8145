"""Values in memory that both sides map: who is asked for them so, and who is not sent them."""

from __future__ import annotations

import pytest
from world import World

from windrow.scheduler.state import ClientRecord
from windrow.wire.messages import Gather, GetData, Put, Reach, Reply, Scatter, Shared

VALUE = Shared(7, 5, 1234, 1, [100, 1_000_000])


def scatter(world: World, client: ClientRecord, nbytes: int = 10**6, copies: int = 1) -> None:
    world.ask(client, Scatter(["a"], [VALUE], [nbytes], [None], copies=copies))


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


def test_data_is_put_where_it_is_held_already(world: World) -> None:
    client, worker = world.client(), world.worker("w")
    scatter(world, client)
    asked = world.question(worker)
    assert asked.request == Reach([VALUE])
    assert "a" not in world.state.tasks
    world.reply(worker, b"1", to=asked)
    [put] = world.take(worker)
    assert (type(put), put.value) == (Put, VALUE)
    finished, reply = world.take(client)
    assert finished.values == [None]  # it stays with the worker
    assert reply.value is None


@pytest.mark.parametrize("answers", [(b"1", None), (None, b"1"), (None, None)])
def test_nothing_is_placed_if_one_cannot_have_it(world: World, answers: tuple[bytes | None, ...]) -> None:
    client, workers = world.client(), world.workers(2)
    scatter(world, client, copies=2)
    for worker, answer in zip(workers, answers, strict=True):
        assert world.take(client) == []
        world.reply(worker, answer, to=world.question(worker))
    assert world.answer(client).value is True
    assert "a" not in world.state.tasks


def test_nothing_is_placed_if_one_leaves_before_it_has_answered(world: World) -> None:
    client, first, second = world.client(), world.worker("v"), world.worker("w")
    scatter(world, client, copies=2)
    world.reply(first, b"1", to=world.question(first))
    world.lose(second)
    assert world.answer(client).value is True
    assert "a" not in world.state.tasks
    world.inbox.pop(second, None)


def test_nothing_is_placed_for_a_client_that_is_gone(world: World) -> None:
    client, worker = world.client(), world.worker("w")
    scatter(world, client)
    asked = world.question(worker)
    world.lose(client)
    world.reply(worker, b"1", to=asked)
    assert world.take(worker) == []
    assert "a" not in world.state.tasks


def test_the_scheduler_itself_never_keeps_it(world: World) -> None:
    client = world.client()
    scatter(world, client)
    assert world.answer(client).value is True
    worker = world.worker("w")
    scatter(world, client, nbytes=10)  # as small as what rides along
    world.reply(worker, b"1", to=world.question(worker))
    world.clear()
    assert world.task("a").value is None
    assert world.task("a").holders == (worker,)


def test_only_who_gets_it_is_asked(world: World) -> None:
    client, first, second = world.client(), world.worker("v"), world.worker("w")
    scatter(world, client)
    assert world.question(first).request == Reach([VALUE])
    assert world.take(second) == []
