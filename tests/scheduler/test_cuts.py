"""Parties whose connection is cut, and that come back, or do not: what the scheduler makes of it."""

from __future__ import annotations

import pytest
from world import World

from windrow.primitives import semaphore
from windrow.scheduler.state import SchedulerConfig
from windrow.wire.messages import Call, HelloClient, Paused, Reply
from windrow.wire.requests import Ask, Gather, Retire

SILENCE_S = SchedulerConfig().silence_s

# ---------------------------------------------------------------- workers


def test_what_a_worker_finished_meanwhile_counts(world: World) -> None:
    client = world.client()
    worker, _ = world.nursed("w")
    world.submit(client, "a")
    assert world.keys(worker) == ["a"]
    world.cut(worker)
    world.tick(29.0)
    world.back(worker)
    world.done(worker, "a")
    assert world.heard(client) == ["finished a=1"]
    assert world.task("a").attempt == 1
    assert world.take(worker) == []


def test_a_worker_that_is_away_is_sent_nothing_new(world: World) -> None:
    client = world.client()
    away, other = world.workers(2, nthreads=2)
    world.cut(away)
    world.submit(client, "a", "b", "c", "d")
    assert world.keys(other) == ["a", "b"]
    world.back(away)
    assert world.keys(away) == ["c", "d"]


def test_what_stands_in_its_own_queue_finds_another_place(world: World) -> None:
    client = world.client()
    world.teach(client, 0.001)
    home, other = world.workers(2)
    world.submit(client, "a")
    world.large(home, "a", nbytes=10**9)
    world.submit(client, "busy", function="g", workers=[other.address])
    world.clear()
    followers = [f"b{number}" for number in range(50)]
    world.submit(client, *followers, after=["a"])
    sent = world.keys(home)
    assert 0 < len(home.local) == len(followers) - len(sent)
    world.cut(home)
    assert not len(home.local)
    world.done(other, "busy")
    assert set(world.settle(other)) == {*followers} - {*sent}
    world.clear()


def test_tasks_of_a_worker_without_nanny_run_elsewhere_after_a_while(world: World) -> None:
    client = world.client()
    away, other = world.workers(2)
    world.submit(client, "a")
    assert world.keys(away) == ["a"]
    world.cut(away)
    world.tick(SILENCE_S - 0.1)
    assert world.take(other) == []
    world.tick(0.2)
    assert world.heard(other) == ["run a#2"]
    assert world.heard(away) == ["free a"], "it hears of that if it comes back"
    world.done(other, "a", value=b"2")
    world.back(away)
    world.done(away, "a", value=b"1")
    assert world.heard(client) == ["finished a=2"], "the result of the forgotten attempt is nobody's"


def test_a_nanny_that_is_there_vouches_for_its_worker(world: World) -> None:
    client = world.client()
    away, nanny = world.nursed("w")
    world.submit(client, "a")
    world.keys(away)
    other = world.worker("other")
    world.cut(away)
    world.tick(29.0)
    assert world.take(other) == []
    world.tick(2.0)
    assert world.heard(other) == ["run a#2"], "it has a right to try so long, and not more"
    world.clear()
    world.tick(1000.0)
    assert away.address in world.state.workers
    world.cut(nanny, 10.0)
    world.tick(1.0)
    assert away.address not in world.state.workers, "nobody vouches for it any more, and its time is over"
    world.clear()


def test_a_nanny_that_is_cut_off_too_does_not_vouch(world: World) -> None:
    client = world.client()
    away, nanny = world.nursed("w")
    other = world.worker("other")
    world.submit(client, "a", workers=["w", "other"])
    [runner] = [each for each in (away, other) if world.keys(each)]
    if runner is not away:
        pytest.fail("the first worker is the first to get something")
    world.cut(away)
    world.cut(nanny)
    world.tick(SILENCE_S)
    assert world.heard(other) == ["run a#2"]
    world.clear()


def test_values_stay_while_their_holder_may_come_back(world: World) -> None:
    client = world.client()
    away, other = world.workers(2)
    world.submit(client, "a")
    world.large(away, "a")
    world.clear()
    world.cut(away)
    world.tick(29.0)
    assert world.states("a") == ["memory"]
    world.submit(client, "b", after=["a"])
    assert world.heard(other) == ["run b(a@w1)"], "others may reach it"
    world.back(away)
    assert world.states("a") == ["memory"]
    assert world.take(away) == []


def test_values_are_made_again_when_it_does_not_come_back(world: World) -> None:
    client = world.client()
    away, other = world.workers(2)
    world.submit(client, "a")
    world.large(away, "a")
    world.clear()
    world.cut(away)
    world.tick(30.0)
    assert world.heard(other) == ["run a#2"]
    assert world.heard(client) == ["lost a"]
    assert not world.state.cut


def test_a_task_waits_for_the_only_holder_of_what_nobody_can_make(world: World) -> None:
    client = world.client()
    away = world.worker("away")
    world.scatter(client, nbytes=10**6, a=b"1")
    other = world.worker("other")
    world.clear()
    world.cut(away)
    world.submit(client, "b", after=["a"])
    assert world.heard(other) == ["run b(a@away)"]
    world.missing(other, "b", "a", away)
    assert world.take(other) == [], "it is not tried again and again"
    assert world.heard(away) == ["holds a?"]
    world.back(away)
    [*said, run] = [*world.heard(other), *world.heard(away)]
    assert run.startswith("run b#2")
    assert not said


def test_a_gather_waits_for_a_holder_that_may_come_back(world: World) -> None:
    client = world.client()
    worker = world.worker()
    world.submit(client, "a")
    world.large(worker, "a")
    world.clear()
    world.cut(worker)
    world.ask(client, Gather(["a"]))
    asked = world.question(worker)
    assert world.take(client) == []
    world.back(worker)
    world.reply(worker, b"value", to=asked)
    assert world.answer(client).blobs == [b"value"]


def test_a_gather_is_answered_when_the_holder_is_given_up(world: World) -> None:
    client = world.client()
    worker = world.worker()
    world.submit(client, "a")
    world.large(worker, "a")
    world.clear()
    world.cut(worker)
    world.ask(client, Gather(["a"]))
    world.question(worker)
    world.tick(30.0)
    lost, reply = world.take(client)
    assert lost.keys == ["a"]
    assert reply.blobs == [None]


def test_the_account_of_a_nanny_ends_the_wait_at_once(world: World) -> None:
    client = world.client()
    worker, nanny = world.nursed("w")
    other = world.worker("other")
    world.submit(client, "a", workers=["w", "other"])
    world.keys(worker)
    world.cut(worker)
    world.died(nanny, worker, running=["a"])
    assert world.heard(other) == ["run a#2"]
    assert len(world.task("a").deaths or ()) == 1


def test_after_the_account_the_end_of_the_link_is_its_end(world: World) -> None:
    worker, nanny = world.nursed("w")
    world.died(nanny, worker)
    assert worker.status == "lost"
    world.cut(worker)
    assert worker.address not in world.state.workers


# ---------------------------------------------------------------- blame


def test_nobody_is_blamed_for_a_blip(world: World) -> None:
    client = world.client()
    away, other = world.workers(2)
    world.submit(client, "a")
    world.keys(away)
    world.cut(away)
    world.tick(SILENCE_S)
    assert len(world.task("a").deaths or ()) == 1, "it is suspected, as the worker may have died of it"
    world.back(away)
    assert not world.task("a").deaths
    world.clear()
    assert world.task("a").worker is other


def test_one_that_has_not_come_back_has_died_and_its_task_is_blamed_once(world: World) -> None:
    client = world.client()
    away, _ = world.workers(2)
    world.submit(client, "a")
    world.keys(away)
    world.cut(away)
    world.tick(SILENCE_S)
    world.tick(30.0)
    assert [(account.name, account.tasks) for account in world.task("a").deaths or ()] == [("w1", ("a",))]
    world.clear()


def test_suspicion_convicts_nobody(world: World) -> None:
    client = world.client()
    away = world.workers(5)
    world.submit(client, "a")
    for worker in away[:4]:
        assert world.keys(worker) == ["a"]
        world.cut(worker, patience_s=1000.0)
        world.tick(SILENCE_S)
        world.heard(worker)
    assert world.states("a") == ["processing"]
    assert world.take(client) == []
    assert world.task("a").worker is away[3], "before it is sure that the others died, it is not tried again"
    for worker in away[:4]:
        world.back(worker)
    world.done(away[3], "a")
    assert world.heard(client) == ["finished a=1"]


def test_a_task_that_kills_workers_without_nannies_is_found_out(world: World) -> None:
    client = world.client()
    workers = world.workers(6)
    world.submit(client, "a")
    killed = 0
    for _ in range(200):
        for worker in workers:
            if world.keys(worker) if worker.status == "running" else []:
                killed += 1
                world.cut(worker)
        world.tick(1.0)
        for worker in workers:
            if worker.status != "running":
                world.take(worker)
        if world.states("a") == ["erred"]:
            break
    assert world.states("a") == ["erred"]
    assert killed == 4
    world.clear()


# ---------------------------------------------------------------- retiring


def test_a_cut_interrupts_a_retirement(world: World) -> None:
    client = world.client()
    leaving, other = world.workers(2)
    world.submit(client, "a")
    world.large(leaving, "a")
    world.clear()
    world.ask(client, Retire([leaving.address]))
    assert world.heard(other) == ["copy a@w1"]
    world.cut(leaving)
    world.copied(other, "a", held=False)
    world.clear()
    world.back(leaving)
    assert leaving.status == "running"
    world.clear()


def test_a_paused_worker_is_still_paused_when_it_comes_back(world: World) -> None:
    client = world.client()
    worker = world.worker()
    world.say(worker, Paused(True))
    world.cut(worker)
    world.back(worker)
    assert worker.status == "paused"
    world.submit(client, "a")
    assert world.take(worker) == []
    world.say(worker, Paused(False))
    assert world.keys(worker) == ["a"]


def test_one_that_has_been_emptied_stays_so_after_a_cut(world: World) -> None:
    client = world.client()
    leaving = world.worker()
    world.ask(client, Retire([leaving.address], close=False))
    world.clear()
    world.cut(leaving)
    world.back(leaving)
    assert leaving.status == "closing_gracefully"
    world.submit(client, "a")
    assert world.take(leaving) == []


# ---------------------------------------------------------------- clients and nannies


def test_a_client_that_comes_back_has_lost_nothing(world: World) -> None:
    client = world.client()
    worker = world.worker()
    world.submit(client, "a")
    world.keys(worker)
    world.cut(client)
    world.done(worker, "a")
    world.tick(29.0)
    assert world.heard(client) == ["finished a=1"], "the link keeps it until the client is back"
    world.back(client)
    world.tick(100.0)
    assert world.states("a") == ["memory"]


def test_what_a_client_wanted_is_released_when_its_time_is_over(world: World) -> None:
    client = world.client()
    worker = world.worker()
    world.submit(client, "a")
    world.done(worker, "a")
    world.clear()
    world.cut(client, patience_s=7.0)
    assert world.core.is_waiting()
    world.tick(7.0)
    assert world.states("a") == ["forgotten"]
    assert not world.core.is_here(client)
    assert not world.core.is_waiting()
    assert world.heard(worker)[0] == "free a"


def test_leases_are_kept_for_a_client_that_is_away(world: World) -> None:
    holder, other = world.client("holder"), world.client("other")
    acquire = Call(1, Ask("semaphores", semaphore.Acquire("s", "lease", 1, True, True, False)))
    world.say(holder, acquire)
    world.clear()
    world.cut(holder, patience_s=1000.0)
    world.tick(100.0)
    world.say(other, Call(1, Ask("semaphores", semaphore.Acquire("s", "mine", 1, True, True, False))))
    world.tick(1.0)
    assert world.take(other) == []
    world.back(holder)
    world.tick(2.0)
    assert world.take(other) == [], "it is back, and has time to say that it goes on"
    world.tick(31.0)
    [granted] = world.take(other)
    assert isinstance(granted, Reply), "it has not said so"


def test_the_client_of_a_workers_tasks_goes_with_the_worker(world: World) -> None:
    worker, nanny = world.nursed("w")
    client = world._join(HelloClient("c", worker=worker.address))
    world.cut(client)
    world.cut(worker)
    assert world.core.is_here(client)
    world.died(nanny, worker)
    assert not world.core.is_here(client)
    late = world._join(HelloClient("late", worker=worker.address))
    world.cut(late)
    assert not world.core.is_here(late)


def test_a_nanny_is_given_up_in_time(world: World) -> None:
    _, nanny = world.nursed("w")
    world.cut(nanny, patience_s=3.0)
    world.tick(2.9)
    assert world.state.nannies
    world.tick(0.2)
    assert not world.state.nannies
    assert not world.state.cut


def test_who_has_gone_is_not_waited_for(world: World) -> None:
    client = world.client()
    world.lose(client)
    world.cut(client)
    world.back(client)
    assert not world.state.cut


def test_a_client_of_the_same_id_takes_the_place_of_one_that_is_away(world: World) -> None:
    away = world.client("c")
    world.cut(away)
    again = world.client("c")
    assert not world.core.is_here(away)
    assert world.core.is_here(again)
    assert not world.state.cut
