"""Values in memory that both sides map: who is asked for them so, and who is not sent them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from world import World, worlds

from windrow import memfd, segments
from windrow.scheduler import server
from windrow.scheduler.state import ClientRecord, WorkerRecord
from windrow.wire import payload, sharing
from windrow.wire.blobs import Attached, Blob, Shared
from windrow.wire.messages import (
    Declare,
    Done,
    Put,
    Reply,
    Rescheduled,
    Run,
    Submit,
)
from windrow.wire.requests import Gather, GetData, Reach, Recipe, Scatter

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


# ---------------------------------------------------------------- arguments


def sent(blob: Shared, memory: str) -> Blob:
    """As the shell has it: an offer to who has our memory, all of it to others."""
    return blob if memory == "ours" else b"all"


@pytest.fixture
def near() -> Iterator[World]:
    yield from worlds(sent=sent)


def submit(world: World, client: ClientRecord, key: str, **options: Any) -> None:
    world.say(client, Declare(b"f", "f", b"code"), Submit(b"f", [key], [VALUE], **options))


def arguments(world: World, worker: WorkerRecord) -> Blob:
    run = world.take(worker)[-1]
    assert type(run) is Run
    return run.args


@pytest.mark.parametrize(("memory", "expected"), [("ours", VALUE), ("another", b"all"), ("", b"all")])
def test_arguments_are_offered_to_who_has_our_memory(near: World, memory: str, expected: Blob) -> None:
    client, worker = near.client(), near.worker(memory=memory)
    submit(near, client, "a")
    assert arguments(near, worker) == expected


def test_who_could_not_open_them_is_sent_all_from_then_on(near: World) -> None:
    client, worker = near.client(), near.worker(memory="ours")
    submit(near, client, "a")
    run = near.take(worker)[-1]
    assert run.args == VALUE
    near.say(worker, Rescheduled(run.task, run.attempt, unopened=True))
    again = near.take(worker)[-1]
    assert (again.args, again.attempt) == (b"all", run.attempt + 1)
    near.say(worker, Done(again.task, again.attempt, 0.1, 10, b"1"))
    assert near.heard(client) == ["finished a=1"]
    submit(near, client, "b")
    assert arguments(near, worker) == b"all"


def test_a_task_that_only_asks_to_be_made_again_is_offered_them_again(near: World) -> None:
    client, worker = near.client(), near.worker(memory="ours")
    submit(near, client, "a")
    run = near.take(worker)[-1]
    near.say(worker, Rescheduled(run.task, run.attempt))
    assert arguments(near, worker) == VALUE


def test_who_asks_how_a_task_is_made_is_told_all(near: World) -> None:
    client = near.client()
    submit(near, client, "a")
    near.ask(client, Recipe("a"))
    assert near.answer(client).blobs == [b"code", b"all"]


@pytest.mark.skipif(not memfd.host_token(), reason="this system has no memory of this kind")
@pytest.mark.parametrize("memory", ["ours", "another", ""])
def test_what_no_process_has_makes_the_task_err(memory: str) -> None:
    """A client that makes up numbers: nothing is opened, and no worker is offered it."""
    memory = segments.token() if memory == "ours" else memory
    blob = server.sent(Shared(0, 0, 0, 0, [10, 100_000]), memory)
    with pytest.raises(OSError, match="segment"):
        payload.loads(blob)


@pytest.mark.skipif(not memfd.host_token(), reason="this system has no memory of this kind")
def test_what_this_process_has_is_offered_to_its_host_and_sent_elsewhere() -> None:
    shared = sharing.packed([memoryview(payload.dumps("x"))])
    assert shared is not None
    assert server.sent(shared, segments.token()) == shared
    assert "held" not in server.sent(shared, segments.token()).__dict__
    for memory in ("", "another"):
        assert type(server.sent(shared, memory)) is Attached
        assert payload.loads(server.sent(shared, memory)) == "x"
