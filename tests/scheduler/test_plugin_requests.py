"""Plugins of workers and nannies on the bare core: kept as they came, passed on, and answered for."""

from __future__ import annotations

import pytest
from world import World

from windrow.scheduler.state import ClientRecord
from windrow.wire import failure
from windrow.wire.messages import Call, Close, Reply, RestartWorker
from windrow.wire.requests import RegisterPlugin, RestartWorkers, RunFunction, UnregisterPlugin


@pytest.fixture
def client(world: World) -> ClientRecord:
    return world.client("c")


def test_a_worker_plugin_is_kept_and_set_up_by_all_workers(world: World, client: ClientRecord) -> None:
    one, two = world.worker("one"), world.worker("two")
    number = world.ask(client, RegisterPlugin("worker", "p", b"blob"))
    questions = [world.question(worker) for worker in (one, two)]
    assert [question.request for question in questions] == [RegisterPlugin("worker", "p", b"blob")] * 2
    world.reply(one, b"1", to=questions[0])
    assert world.take(client) == []
    world.reply(two, b"2", to=questions[1])
    assert world.answer(client) == Reply(number, [one.address, two.address], [b"1", b"2"])
    assert world.state.plugins == {"worker": {"p": b"blob"}, "nanny": {}}


def test_without_workers_the_answer_comes_at_once(world: World, client: ClientRecord) -> None:
    world.ask(client, RegisterPlugin("worker", "p", b"blob"))
    assert world.answer(client).value == []


def test_a_nanny_plugin_goes_to_nannies_and_is_answered_by_worker(world: World, client: ClientRecord) -> None:
    worker, nanny = world.nursed("w")
    alone = world.nanny("no worker yet")
    world.ask(client, RegisterPlugin("nanny", "p", b"blob"))
    for party in (nanny, alone):
        [call] = world.take(party)
        world.say(party, Reply(call.id, blobs=[b"done"]))
    assert world.answer(client).value == [worker.address, alone.id]
    assert world.take(worker) == []


def test_a_party_that_leaves_is_answered_for(world: World, client: ClientRecord) -> None:
    nanny = world.nanny("n")
    world.ask(client, RegisterPlugin("nanny", "p", b"blob"))
    world.take(nanny)
    world.lose(nanny)
    assert world.answer(client).blobs == [None]


def test_an_idempotent_plugin_is_left_where_it_is(world: World, client: ClientRecord) -> None:
    worker = world.worker("w")
    world.state.plugins["worker"]["p"] = b"first"
    world.ask(client, RegisterPlugin("worker", "p", b"second", idempotent=True))
    assert world.answer(client).value == []
    assert world.take(worker) == []
    assert world.state.plugins["worker"]["p"] == b"first"


def test_another_plugin_takes_the_place_of_one_of_its_name(world: World, client: ClientRecord) -> None:
    world.state.plugins["worker"]["p"] = b"first"
    world.ask(client, RegisterPlugin("worker", "p", b"second"))
    world.clear()
    assert world.state.plugins["worker"]["p"] == b"second"


def test_an_unregistered_plugin_is_torn_down_and_forgotten(world: World, client: ClientRecord) -> None:
    worker = world.worker("w")
    world.state.plugins["worker"]["p"] = b"blob"
    world.ask(client, UnregisterPlugin("worker", "p"))
    question = world.question(worker)
    assert question.request == UnregisterPlugin("worker", "p")
    assert world.state.plugins["worker"] == {}
    world.reply(worker, b"done", to=question)
    assert world.answer(client).blobs == [b"done"]


def test_an_unknown_name_is_refused_with_those_that_are_known(world: World, client: ClientRecord) -> None:
    world.state.plugins["nanny"]["known"] = b"blob"
    world.ask(client, UnregisterPlugin("nanny", "p"))
    error = world.answer(client).error
    assert error is not None
    with pytest.raises(ValueError, match="no nanny plugin 'p'; registered are: 'known'"):
        raise failure.load(error)


def test_a_function_runs_on_nannies(world: World, client: ClientRecord) -> None:
    worker, nanny = world.nursed("w")
    world.ask(client, RunFunction(b"call", nanny=True))
    [call] = world.take(nanny)
    assert type(call) is Call
    world.say(nanny, Reply(call.id, blobs=[b"result"]))
    reply = world.answer(client)
    assert (reply.value, reply.blobs) == ([worker.address], [b"result"])
    assert world.take(worker) == []


def test_a_function_for_nannies_is_refused_where_a_worker_has_none(world: World, client: ClientRecord) -> None:
    world.worker("w")
    world.ask(client, RunFunction(b"call", nanny=True))
    error = world.answer(client).error
    assert error is not None
    assert "tcp://w" in str(failure.load(error))


def test_workers_are_started_afresh_and_their_tasks_run_elsewhere(world: World, client: ClientRecord) -> None:
    worker, nanny = world.nursed("w")
    world.submit(client, "a")
    assert world.keys(worker) == ["a"]
    world.ask(client, RestartWorkers([worker.address, "tcp://nobody"]))
    world.answer(client)
    assert [type(message) for message in world.take(nanny)] == [RestartWorker]
    other = world.worker("other")
    assert world.keys(other) == ["a"]
    assert world.task("a").deaths is None


def test_a_nanny_that_closes_in_good_order_is_answered_for(world: World, client: ClientRecord) -> None:
    nanny = world.nanny("n")
    world.ask(client, RegisterPlugin("nanny", "p", b"blob"))
    world.take(nanny)
    world.say(nanny, Close())
    assert world.answer(client).blobs == [None]
