"""Actors as the scheduler sees them: made once, on one worker, never moved, and gone with it."""

from __future__ import annotations

import pytest
from world import World

from windrow.errors import ActorLostError
from windrow.scheduler.state import ClientRecord, Unexpected, WorkerRecord
from windrow.wire import failure
from windrow.wire.messages import Close, Done, Failed, Retry
from windrow.wire.requests import ActorCall, Retire


def staged(world: World, key: str = "a") -> tuple[ClientRecord, WorkerRecord]:
    """An actor that a client wants, alone on a worker."""
    client, worker = world.client(), world.worker("home")
    world.submit(client, key, actor=True)
    world.done(worker, key, value=b"proxy")
    world.clear()
    return client, worker


def lost(world: World, client: ClientRecord) -> ActorLostError:
    """Claim the one report that a client gets: that something failed, with an actor."""
    [report] = world.take(client)
    assert type(report) is Failed
    error = failure.load(report.error, report.text)
    assert isinstance(error, ActorLostError)
    return error


# ---------------------------------------------------------------- its life


def test_its_value_for_all_is_the_proxy(world: World) -> None:
    client, home = staged(world)
    assert list(home.actors) == [world.task("a")]
    other = world.worker("other")
    world.submit(client, "b", after=["a"], workers=["other"])
    assert world.heard(other) == ["run b(a=proxy)"]
    assert world.heard(home) == []
    assert list(other.actors) == []


def test_the_worker_is_told_that_it_makes_an_actor(world: World) -> None:
    client, worker = world.client(), world.worker(nthreads=2)
    world.submit(client, "a", actor=True)
    world.submit(client, "b")
    assert (world.run(worker, "a").actor, world.run(worker, "b").actor) == (True, False)
    world.clear()


def test_an_actor_without_a_proxy_is_no_result(world: World) -> None:
    client, worker = world.client(), world.worker()
    world.submit(client, "a", actor=True)
    run = world.run(worker, "a")
    with pytest.raises(Unexpected, match="no proxy"):
        world.say(worker, Done(run.task, run.attempt, 0.1, 10))
    world.clear()


def test_it_ends_with_the_last_who_wants_it(world: World) -> None:
    client, home = staged(world)
    world.submit(client, "b", after=["a"])
    assert world.heard(home) == ["run b(a)"]
    world.release(client, "a")
    assert world.heard(home) == []
    world.done(home, "b")
    assert world.heard(home) == ["free a"]
    assert home.actors == {}
    world.clear()


def test_proxies_elsewhere_are_freed_with_it(world: World) -> None:
    client, home = staged(world)
    other = world.worker("other")
    world.submit(client, "b", after=["a"], workers=["other"])
    world.done(other, "b")
    world.release(client, "a")
    assert (world.heard(home), world.heard(other)) == (["free a"], ["run b(a=proxy)", "free a"])
    world.clear()


# ---------------------------------------------------------------- its worker's end


def test_it_fails_with_its_worker_and_says_which_and_why(world: World) -> None:
    client, _ = staged(world)
    worker, nanny = world.nursed("w")
    world.submit(client, "b", actor=True, workers=["w"])
    world.done(worker, "b", value=b"proxy")
    world.clear()
    world.lose(worker)
    world.died(nanny, worker, "was killed by SIGKILL", running=[])
    error = lost(world, client)
    assert (error.key, isinstance(error, RuntimeError)) == ("b", True)
    assert "worker 'w' at tcp://w (pid 7), where it lived, has ended: was killed by SIGKILL." in str(error)
    assert world.states("a", "b") == ["memory", "erred"]


@pytest.mark.parametrize("spare", [False, True])
def test_it_is_not_made_again_though_proxies_are_elsewhere(world: World, spare: bool) -> None:
    client, home = staged(world)
    other = world.worker("other")
    if spare:
        world.submit(client, "b", after=["a"], workers=["other"])
        world.done(other, "b")
        world.clear()
    world.lose(home)
    assert lost(world, client).key == "a"
    assert world.heard(other) == (["free a"] if spare else [])
    assert world.states("a") == ["erred"]


def test_what_waits_for_it_fails_likewise_wherever_it_is(world: World) -> None:
    client, home = staged(world)
    other = world.worker("other")
    world.submit(client, "runs", after=["a"], workers=["other"])
    world.submit(client, "queued", after=["a"], workers=["nobody"])
    world.submit(client, "slow", workers=["other"])
    world.submit(client, "waits", after=["a", "slow"])
    world.clear()
    world.lose(home)
    [report] = world.take(client)
    assert sorted(report.keys) == ["a", "queued", "runs", "waits"]
    assert world.heard(other) == ["free a runs waits"]
    assert world.states("slow") == ["processing"]


def test_results_that_came_of_it_stay(world: World) -> None:
    client, home = staged(world)
    world.submit(client, "b", after=["a"])
    world.done(home, "b", value=b"2")
    world.clear()
    world.lose(home)
    assert lost(world, client).key == "a"
    assert world.states("b") == ["memory"]


def test_while_it_is_made_it_is_a_task_like_others(world: World) -> None:
    client, first, second = world.client(), world.worker(), world.worker()
    world.submit(client, "a", actor=True)
    world.flush()
    worker = world.task("a").worker
    assert worker is not None
    other = second if worker is first else first
    world.clear()
    world.say(worker, Close())
    assert world.heard(other) == ["run a#2"]
    assert world.take(client) == []


def test_retry_makes_a_new_one(world: World) -> None:
    client, home = staged(world)
    other = world.worker("other")
    world.lose(home)
    world.clear()
    world.say(client, Retry(["a"]))
    assert world.heard(other) == ["run a#2"]
    world.done(other, "a", value=b"proxy")
    assert world.heard(client) == ["finished a=proxy"]
    assert list(other.actors) == [world.task("a")]


def test_one_that_was_let_go_is_not_made_again_for_who_comes_late(world: World) -> None:
    client, home = staged(world)
    world.submit(client, "b", after=["a"])
    world.done(home, "b")
    world.release(client, "a")
    world.clear()
    world.want(client, "a")
    assert "nobody wanted it any more" in str(lost(world, client))
    assert world.states("a", "b") == ["erred", "memory"]


def test_nor_for_a_result_that_came_of_it_and_is_lost(world: World) -> None:
    client, home = staged(world)
    other = world.worker("other")
    world.submit(client, "b", after=["a"], workers=["other"])
    world.large(other, "b")
    world.release(client, "a")
    world.clear()
    world.lose(other)
    report, failed = world.take(client)
    assert (report.keys, failed.keys) == (["b"], ["b"])
    assert "'a' is gone: nobody wanted it" in str(failure.load(failed.error))
    assert world.heard(home) == []


def test_whoever_submits_it_anew_has_a_new_one(world: World) -> None:
    client, home = staged(world)
    world.submit(client, "b", after=["a"])
    world.done(home, "b")
    world.release(client, "a")
    world.clear()
    world.submit(client, "a", actor=True)
    assert world.heard(home) == ["run a#2"]
    world.done(home, "a", value=b"proxy")
    assert world.heard(client) == ["finished a=proxy"]
    world.release(client, "a")
    assert world.heard(home) == ["free a"]


def test_nobody_hears_of_one_that_nobody_wants(world: World) -> None:
    client, home = staged(world)
    world.submit(client, "b", after=["a"])
    world.done(home, "b")
    world.release(client, "a")
    world.clear()
    world.lose(home)
    assert world.states("a", "b") == ["released", "memory"]


def test_its_worker_cannot_be_retired(world: World) -> None:
    client, home = staged(world)
    other = world.worker("other")
    world.ask(client, Retire([home.address, other.address]))
    world.flush()
    assert home.status == "running"
    assert other.address not in world.state.workers
    world.clear()


# ---------------------------------------------------------------- calls


def test_a_call_goes_to_its_home_and_the_answer_back(world: World) -> None:
    client, home = staged(world)
    number = world.ask(client, ActorCall("a", "name", b"args"))
    call = world.question(home)
    assert (call.request.name, call.request.call, call.request.task) == ("name", b"args", world.id("a"))  # type: ignore[union-attr]
    world.reply(home, b"value", None, to=call)
    reply = world.answer(client)
    assert (reply.id, reply.blobs, reply.value) == (number, [b"value", None], ["tcp://home"])


def test_a_failure_is_an_answer_and_no_sign_that_the_actor_is_gone(world: World) -> None:
    client, home = staged(world)
    world.ask(client, ActorCall("a", "name"))
    world.reply(home, None, b"failure", to=world.question(home))
    assert world.answer(client).blobs == [None, b"failure"]
    assert world.states("a") == ["memory"]


def test_calls_keep_their_order(world: World) -> None:
    client, home = staged(world)
    for name in "xyz":
        world.ask(client, ActorCall("a", name))
    assert [call.request.name for call in world.take(home)] == ["x", "y", "z"]


def test_a_call_under_way_has_an_answer_when_the_worker_ends(world: World) -> None:
    client, home = staged(world)
    world.ask(client, ActorCall("a", "name"))
    world.question(home)
    world.lose(home)
    report, reply = world.take(client)
    assert type(report) is Failed
    assert reply.blobs == [None, None]


def test_a_call_after_the_end_is_told_why(world: World) -> None:
    client, home = staged(world)
    world.lose(home)
    world.clear()
    world.ask(client, ActorCall("a", "name"))
    assert isinstance(failure.load(world.answer(client).error or b""), ActorLostError)


def test_a_call_to_one_that_is_no_more(world: World) -> None:
    client, _ = staged(world)
    world.release(client, "a")
    world.clear()
    world.ask(client, ActorCall("a", "name"))
    assert "no future and no proxy" in str(failure.load(world.answer(client).error or b""))


def test_a_call_to_what_is_no_actor(world: World) -> None:
    client, worker = world.client(), world.worker()
    world.submit(client, "a")
    world.done(worker, "a")
    world.clear()
    world.ask(client, ActorCall("a", "name"))
    assert isinstance(failure.load(world.answer(client).error or b""), TypeError)


def test_a_call_to_one_that_is_not_made_yet(world: World) -> None:
    client, _ = world.client(), world.worker()
    world.submit(client, "a", actor=True)
    world.clear()
    world.ask(client, ActorCall("a", "name"))
    assert "processing" in str(failure.load(world.answer(client).error or b""))
