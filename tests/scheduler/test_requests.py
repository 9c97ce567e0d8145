"""Questions: what the scheduler answers itself, and what it collects from workers."""

from __future__ import annotations

from typing import Any

import pytest
from world import World

from windrow.scheduler.state import ClientRecord, Unexpected, WorkerRecord
from windrow.wire.messages import (
    Call,
    Cancelled,
    Close,
    Finished,
    Put,
    Reply,
    RestartWorker,
)
from windrow.wire.requests import (
    Gather,
    GetData,
    HasWhat,
    Identity,
    Processing,
    Request,
    Restart,
    Retire,
    RunFunction,
    Scatter,
    Shutdown,
    WhoHas,
)


def answered(world: World, client: ClientRecord, request: Request) -> Any:
    """Ask, and return the value of the answer, which must come at once and alone."""
    number = world.ask(client, request)
    reply = world.answer(client)
    assert (reply.id, reply.error) == (number, None)
    return reply.value


def large_on(world: World, client: ClientRecord, worker: WorkerRecord, *keys: str) -> None:
    """Make large values on a worker."""
    world.submit(client, *keys, workers=[str(worker.name)], function=f"on {worker.name}")
    left = set(keys)
    while left:
        sent = world.keys(worker)
        world.large(worker, *sent)
        left -= set(sent)
    world.clear()


# ---------------------------------------------------------------- facts


def test_who_has(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    large_on(world, client, first, "a")
    world.holds(second, "a")
    world.submit(client, "b")
    world.clear()
    assert answered(world, client, WhoHas(["a", "b", "c"])) == {"a": ["tcp://w1", "tcp://w2"], "b": [], "c": []}
    assert answered(world, client, WhoHas()) == {"a": ["tcp://w1", "tcp://w2"], "b": []}


def test_has_what(world: World) -> None:
    client = world.client()
    first, _ = world.workers(2)
    large_on(world, client, first, "a", "b")
    assert answered(world, client, HasWhat()) == {"tcp://w1": ["a", "b"], "tcp://w2": []}
    assert answered(world, client, HasWhat(["w2"])) == {"tcp://w2": []}
    assert answered(world, client, HasWhat(["tcp://w1"])) == {"tcp://w1": ["a", "b"]}


def test_processing(world: World) -> None:
    client = world.client()
    world.workers(2)
    world.submit(client, "a", "b", "c")
    world.clear()
    assert answered(world, client, Processing()) == {"tcp://w1": ["a"], "tcp://w2": ["b"]}
    assert answered(world, client, Processing(["w2"])) == {"tcp://w2": ["b"]}


def test_identity_describes_the_workers_that_are_there(world: World) -> None:
    client = world.client()
    world.worker(3, 2, memory_limit=100, pid=9, host="h", local_directory="/d")
    lost, _ = world.nursed("lost")
    world.lose(lost)
    found = answered(world, client, Identity())
    assert (found["type"], found["n_workers"], found["total_threads"], found["total_memory"]) == (
        "Scheduler",
        1,
        2,
        100,
    )
    assert found["workers"]["tcp://3"] == {
        "type": "Worker",
        "id": "3",
        "name": 3,
        "host": "h",
        "nthreads": 2,
        "memory_limit": 100,
        "local_directory": "/d",
        "status": "running",
        "pid": 9,
        "nanny": None,
        "last_seen": world.now_s,
        "metrics": {},
        "resources": {},
        "services": {},
        "dashboard_link": "",
    }


@pytest.mark.parametrize("request_", [GetData([]), Shutdown()], ids=lambda request: type(request).__name__)
def test_question_that_is_not_for_the_core_gets_an_error(world: World, request_: Request) -> None:
    client = world.client()
    world.ask(client, request_)
    assert world.answer(client).error is not None


# ---------------------------------------------------------------- gather


def test_small_values_are_gathered_without_asking_anybody(world: World) -> None:
    client = world.client()
    world.submit(client, "a", "b")
    world.settle(world.worker())
    world.clear()
    world.ask(client, Gather(["b", "a"]))
    assert world.answer(client).blobs == [b"1", b"1"]


def test_large_values_are_asked_of_their_holders_in_one_question_each(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    large_on(world, client, first, "a", "c")
    large_on(world, client, second, "b")
    world.ask(client, Gather(["a", "b", "c"]))
    of_first, of_second = world.question(first), world.question(second)
    assert of_first.request == GetData([world.id("a"), world.id("c")])
    assert of_second.request == GetData([world.id("b")])
    world.reply(second, b"B", to=of_second)
    assert world.heard(client) == []
    world.reply(first, b"A", b"C", to=of_first)
    assert world.answer(client).blobs == [b"A", b"B", b"C"]


def test_what_is_not_in_memory_is_gathered_as_none(world: World) -> None:
    client = world.client()
    world.submit(client, "a")
    world.ask(client, Gather(["a", "never heard of"]))
    assert world.answer(client).blobs == [None, None]


def test_value_that_its_holder_has_not_is_struck_reported_lost_and_made_again(world: World) -> None:
    client, worker = world.client(), world.worker()
    large_on(world, client, worker, "a")
    world.ask(client, Gather(["a"]))
    world.reply(worker, None, to=world.question(worker))
    lost, reply = world.take(client)
    assert lost.keys == ["a"]
    assert reply.blobs == [None]
    assert world.heard(worker) == ["run a#2"]


def test_value_that_one_of_two_holders_has_not_stays_in_memory(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    large_on(world, client, first, "a")
    world.holds(second, "a")
    world.ask(client, Gather(["a"]))
    world.reply(first, None, to=world.question(first))
    assert world.answer(client).blobs == [None]
    world.ask(client, Gather(["a"]))
    world.reply(second, b"A", to=world.question(second))
    assert world.answer(client).blobs == [b"A"]


def test_a_worker_that_dies_is_no_longer_waited_for(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    large_on(world, client, first, "a")
    large_on(world, client, second, "b")
    world.ask(client, Gather(["a", "b"]))
    world.reply(second, b"B", to=world.question(second))
    world.question(first)
    world.lose(first)
    lost, reply = world.take(client)
    assert lost.keys == ["a"]
    assert reply.blobs == [None, b"B"]


def test_a_worker_that_closes_is_no_longer_waited_for(world: World) -> None:
    client, worker = world.client(), world.worker()
    large_on(world, client, worker, "a")
    world.ask(client, Gather(["a"]))
    world.question(worker)
    world.say(worker, Close())
    assert [type(message).__name__ for message in world.take(client)] == ["Lost", "Reply"]


def test_a_lost_worker_is_not_asked(world: World) -> None:
    client = world.client()
    worker, _ = world.nursed("w")
    large_on(world, client, worker, "a")
    world.lose(worker)
    world.ask(client, Gather(["a"]))
    assert world.answer(client).blobs == [None]


def test_value_released_while_it_is_gathered_still_arrives(world: World) -> None:
    client, worker = world.client(), world.worker()
    large_on(world, client, worker, "a")
    world.ask(client, Gather(["a"]))
    question = world.question(worker)
    world.release(client, "a")
    assert world.heard(worker) == ["free a"]
    world.reply(worker, b"A", to=question)
    assert world.answer(client).blobs == [b"A"]


def test_none_for_a_value_released_while_it_was_gathered_is_no_loss(world: World) -> None:
    client, worker = world.client(), world.worker()
    large_on(world, client, worker, "a")
    world.ask(client, Gather(["a"]))
    question = world.question(worker)
    world.release(client, "a")
    world.clear()
    world.reply(worker, None, to=question)
    assert world.answer(client).blobs == [None]


def test_reply_to_nothing_is_ignored(world: World) -> None:
    world.say(world.worker(), Reply(99, blobs=[b"?"]))


def test_nothing_is_kept_of_an_answered_question(world: World) -> None:
    client, worker = world.client(), world.worker()
    large_on(world, client, worker, "a")
    world.ask(client, Gather(["a"]))
    world.reply(worker, b"A", to=world.question(worker))
    world.clear()
    assert not world.state.relays


# ---------------------------------------------------------------- scatter


def test_values_are_dealt_to_workers_in_turn(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    world.scatter(client, a=b"1", b=b"2", c=b"3")
    assert world.heard(first) == ["put a=1", "put c=3"]
    assert world.heard(second) == ["put b=2"]
    finished, reply = world.take(client)
    assert finished == Finished(0, ["a", "b", "c"], [b"1", b"2", b"3"], [None] * 3)
    assert type(reply) is Reply


def test_copies_go_to_as_many_workers_as_there_are(world: World) -> None:
    client = world.client()
    workers = world.workers(3)
    world.ask(client, Scatter(["a"], [b"1"], [10], [None], copies=2))
    assert [world.heard(worker) for worker in workers] == [["put a=1"], ["put a=1"], []]
    world.ask(client, Scatter(["b"], [b"2"], [10], [None], copies=5))
    assert [world.heard(worker) for worker in workers] == [["put b=2"]] * 3
    world.clear()


def test_values_go_to_the_workers_that_are_named(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    world.ask(client, Scatter(["a", "b"], [b"1", b"2"], [10, 10], [None, None], workers=["w2"]))
    assert world.heard(second) == ["put a=1", "put b=2"]
    assert world.heard(first) == []
    world.clear()


@pytest.mark.parametrize("nbytes", [10, 10**6])
def test_without_workers_the_scheduler_keeps_the_value(world: World, nbytes: int) -> None:
    client = world.client()
    world.scatter(client, nbytes, a=b"1")
    finished, _ = world.take(client)
    assert finished.values == [b"1"]
    world.submit(client, "b", after=["a"])
    assert world.heard(world.worker()) == ["run b(a=1)"]


def test_large_scattered_value_lives_on_its_worker_only(world: World) -> None:
    client, worker = world.client(), world.worker()
    world.ask(client, Scatter(["a"], [b"1"], [10**6], [b"type"]))
    [put] = world.take(worker)
    assert put == Put(world.id("a"), "a", b"1")
    finished, _ = world.take(client)
    assert finished == Finished(0, ["a"], [None], [b"type"])
    world.submit(client, "b", after=["a"])
    assert world.heard(worker) == ["run b(a)"]


def test_scattering_a_key_that_is_there_wants_it(world: World) -> None:
    first, second = world.client(), world.client()
    world.scatter(first, a=b"1")
    world.clear()
    world.scatter(second, a=b"2")
    finished, _ = world.take(second)
    assert finished.values == [b"1"]
    world.release(first, "a")
    assert world.states("a") == ["memory"]


def test_scattered_value_that_died_with_its_worker_is_gone_with_all_that_needs_it(world: World) -> None:
    client = world.client()
    holder = world.worker()
    world.scatter(client, 10**6, a=b"1")
    world.submit(client, "b", after=["a"])
    world.clear()
    world.lose(holder)
    [told] = world.take(client)
    assert type(told) is Cancelled
    assert sorted(told.keys) == ["a", "b"]
    assert "scattered" in told.reason
    assert world.states("a", "b") == ["forgotten", "forgotten"]


def test_scattered_value_that_died_is_told_to_who_needs_it_again(world: World) -> None:
    client = world.client()
    holder = world.worker()
    world.scatter(client, 10**6, a=b"1")
    world.submit(client, "b", after=["a"])
    world.large(holder, "b")
    world.release(client, "a")
    world.clear()
    world.lose(holder)
    lost, cancelled = world.take(client)
    assert lost.keys == ["b"]
    assert type(cancelled) is Cancelled
    assert cancelled.keys == ["b"]


def test_key_of_scattered_data_that_is_a_mere_recipe_can_be_scattered_again(world: World) -> None:
    client = world.client()
    worker = world.worker()
    world.scatter(client, a=b"1")
    world.submit(client, "b", after=["a"])
    world.done(worker, "b")
    world.release(client, "a")
    world.clear()
    assert world.states("a", "b") == ["released", "memory"]
    world.scatter(client, a=b"2")
    assert world.heard(worker) == ["put a=2"]
    finished, _ = world.take(client)
    assert finished.values == [b"2"]


# ---------------------------------------------------------------- functions on workers


def test_function_is_run_on_all_workers(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    world.ask(client, RunFunction(b"call"))
    questions = [world.question(worker) for worker in (first, second)]
    assert all(question.request == RunFunction(b"call") for question in questions)
    world.reply(second, b"2", to=questions[1])
    assert world.heard(client) == []
    world.reply(first, b"1", to=questions[0])
    reply = world.answer(client)
    assert (reply.value, reply.blobs) == (["tcp://w1", "tcp://w2"], [b"1", b"2"])


def test_function_is_run_on_the_workers_that_are_named(world: World) -> None:
    client = world.client()
    _, second = world.workers(2)
    world.ask(client, RunFunction(b"call", workers=["tcp://w2"]))
    question = world.question(second)
    assert question.request == RunFunction(b"call")
    world.reply(second, b"2", to=question)
    assert world.answer(client).value == ["tcp://w2"]


def test_function_that_nobody_waits_for_is_answered_at_once(world: World) -> None:
    client, worker = world.client(), world.worker()
    world.ask(client, RunFunction(b"call", wait=False))
    assert world.answer(client).value == ["tcp://w1"]
    world.reply(worker, b"1", to=world.question(worker))
    assert world.heard(client) == []
    assert not world.state.relays


def test_function_on_no_worker_is_answered_at_once(world: World) -> None:
    client = world.client()
    world.ask(client, RunFunction(b"call"))
    reply = world.answer(client)
    assert (reply.value, reply.blobs) == ([], [])


def test_death_of_a_worker_leaves_its_place_in_the_answer_empty(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    world.ask(client, RunFunction(b"call"))
    question = world.question(first)
    world.question(second)
    world.lose(second)
    world.reply(first, b"1", to=question)
    reply = world.answer(client)
    assert (reply.value, reply.blobs) == (["tcp://w1", "tcp://w2"], [b"1", None])


def test_lost_worker_is_answered_for_when_its_account_is_there(world: World) -> None:
    client = world.client()
    worker, nanny = world.nursed("w")
    world.ask(client, RunFunction(b"call"))
    world.question(worker)
    world.lose(worker)
    assert world.heard(client) == []
    world.died(nanny, worker)
    assert world.answer(client).blobs == [None]


# ---------------------------------------------------------------- restart and retire


def test_restart_forgets_all_and_has_nannies_start_workers_afresh(world: World) -> None:
    client, other = world.client(), world.client()
    worker, nanny = world.nursed("w")
    bare = world.worker("bare")
    world.chain(client, "a", "b")
    world.submit(other, "x")
    world.clear()
    assert answered_restart(world, client) == 2
    assert world.states("a", "b", "x") == ["forgotten"] * 3
    assert world.heard(other) == ["cancelled x: the scheduler was restarted"]
    [order] = world.take(nanny)
    assert type(order) is RestartWorker
    assert list(world.state.workers.values()) == [bare]
    assert world.heard(worker) == ["free a"]
    assert world.heard(bare) == ["free x"]
    world.died(nanny, worker, expected=True)
    world.lose(worker)
    world.submit(client, "again")
    world.submit(client, "more")
    fresh = world.worker("w", nanny=nanny.id)
    assert (world.keys(bare), world.keys(fresh)) == (["again"], ["more"])


def answered_restart(world: World, client: ClientRecord) -> Any:
    """Restart; return how many workers are to come back."""
    world.ask(client, Restart())
    *reports, reply = world.take(client)
    assert all(type(report) is Cancelled for report in reports)
    return reply.value


def test_restart_ends_questions_to_the_workers_that_go(world: World) -> None:
    client = world.client()
    worker, _ = world.nursed("w")
    number = world.ask(client, RunFunction(b"call"))
    world.question(worker)
    world.ask(client, Restart())
    assert number in [message.id for message in world.take(client)]
    world.clear()


def test_retired_worker_is_closed_when_another_holds_its_values(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    large_on(world, client, first, "a")
    world.ask(client, Retire(["w1"]))
    assert (world.heard(second), world.take(client), world.take(first)) == (["copy a@w1"], [], [])
    world.copied(second, "a")
    assert world.answer(client).value == ["tcp://w1"]
    assert [type(message) for message in world.take(first)][-1] is Close
    assert list(world.state.workers.values()) == [second]
    world.clear()


def test_retiring_blames_nobody(world: World) -> None:
    client, worker = world.client(), world.worker()
    world.submit(client, "a")
    world.keys(worker)
    world.ask(client, Retire(["tcp://w1"]))
    assert world.task("a").deaths is None
    world.clear()


def test_retiring_nobody_is_answered(world: World) -> None:
    assert answered(world, world.client(), Retire(["who?"])) == []


def test_reports_do_not_overtake_an_answer(world: World) -> None:
    client = world.client()
    world.teach(client)
    worker = world.worker()
    world.submit(client, "a", "b")
    world.keys(worker)
    world.done(worker, "a")
    world.ask(client, WhoHas([]))
    world.done(worker, "b")
    assert [type(message).__name__ for message in world.take(client)] == ["Finished", "Reply", "Finished"]


def test_a_worker_may_not_ask(world: World) -> None:
    with pytest.raises(Unexpected):
        world.say(world.worker(), Call(1, WhoHas()))


def test_columns_of_different_length_are_unexpected_in_scatter() -> None:
    world = World()
    with pytest.raises(Unexpected):
        world.ask(world.client(), Scatter(["a", "b"], [b"1"], [10], [None]))
