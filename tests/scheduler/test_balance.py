"""Recall: what has not started comes back from a worker that stalls or holds much, while others idle."""

from __future__ import annotations

import pytest
from world import World

from windrow.wire.messages import Ghosts, Heartbeat


def names(count: int) -> list[str]:
    """Keys in order."""
    return [f"k{number:02}" for number in range(count)]


def full_and_idle(world: World, seconds: float = 1e-4, count: int = 10):  # type: ignore[no-untyped-def]
    """One worker with a full pipeline, and one that comes when nothing is left to send."""
    client = world.client()
    world.teach(client, seconds)
    full = world.worker()
    world.submit(client, *names(count))
    assert world.keys(full) == names(count)
    return client, full, world.worker()


def test_stalled_worker_gives_back_what_it_has_not_started(world: World) -> None:
    _, full, idle = full_and_idle(world)
    world.tick(after=0.06)
    assert world.heard(full) == ["recall " + " ".join(names(10)[1:])]
    assert world.heard(idle) == []
    world.returned(full, *names(10)[1:])
    taken = world.heard(idle)
    assert "run k01#2" in taken
    world.clear()


def test_what_had_started_meanwhile_stays(world: World) -> None:
    client, full, _ = full_and_idle(world)
    world.tick(after=0.06)
    assert world.heard(full) == ["recall " + " ".join(names(10)[1:])]
    world.done(full, "k00")
    world.returned(full, *names(10)[2:])  # k01 has started
    assert world.task("k01").worker is full
    world.done(full, "k01")
    assert world.heard(client) == ["finished k00=1 k01=1"]
    world.clear()


def test_worker_with_news_is_left_alone(world: World) -> None:
    _, full, _ = full_and_idle(world)
    world.now_s += 0.06
    world.done(full, "k00")
    world.tick()
    assert world.heard(full) == []
    world.clear()


def test_a_heartbeat_is_no_progress(world: World) -> None:
    _, full, _ = full_and_idle(world)
    world.now_s += 0.06
    world.say(full, Heartbeat())
    world.tick()
    assert world.heard(full)[0].startswith("recall")


def test_no_recall_before_it_has_stalled(world: World) -> None:
    full_and_idle(world)
    world.tick(after=0.04)


def test_no_recall_while_nobody_idles(world: World) -> None:
    client = world.client()
    world.teach(client, 1e-4)
    full = world.worker()
    world.submit(client, *names(10))
    world.keys(full)
    world.tick(after=1)
    assert world.heard(full) == []


def test_no_recall_while_the_queue_has_work(world: World) -> None:
    client, full, idle = full_and_idle(world)
    world.submit(client, "x", "y", "z", function="g")
    world.tick(after=1)
    assert world.heard(idle) == ["run x"]
    assert world.heard(full) == ["run y"]  # the pipeline behind what stalls it
    world.tick(after=1)
    assert world.heard(full) == []


def test_one_recall_at_a_time(world: World) -> None:
    _, full, _ = full_and_idle(world)
    world.tick(after=0.06)
    world.tick(after=0.06)
    assert len(world.heard(full)) == 1


def test_an_empty_return_ends_a_recall(world: World) -> None:
    _, full, _ = full_and_idle(world)
    world.tick(after=0.06)
    world.heard(full)
    world.returned(full)
    world.tick(after=0.06)
    assert len(world.heard(full)) == 1


def test_worker_with_nothing_but_what_runs_is_not_asked(world: World) -> None:
    client = world.client()
    world.teach(client, 1.0)
    busy, idle = world.workers(2)
    world.submit(client, "a")
    world.clear()
    world.tick(after=10)
    assert world.heard(busy) == world.heard(idle) == []


def test_much_loaded_worker_gives_back_half_though_it_moves(world: World) -> None:
    client, full, _ = full_and_idle(world)
    [function] = world.state.functions.values()
    function.expected_s = 0.1  # they turn out to take much longer
    world.now_s += 0.06
    world.done(full, "k00", seconds=0.1)
    world.tick()
    assert world.heard(full) == ["recall k06 k07 k08 k09"]
    assert world.heard(client) == ["finished k00=1"]


def test_what_was_sent_ahead_is_not_recalled(world: World) -> None:
    client = world.client()
    world.teach(client)
    full = world.worker()
    world.submit(client, "a", "b")
    world.submit(client, "a2", after=["a"])
    world.keys(full)
    world.worker()
    world.tick(after=0.06)
    assert world.heard(full) == ["recall b"]


def test_what_is_restricted_is_not_recalled(world: World) -> None:
    client = world.client()
    world.teach(client)
    full = world.worker()
    world.submit(client, "a", "b", workers=["w1"])
    world.keys(full)
    world.worker()
    world.tick(after=0.06)
    assert world.heard(full) == []


def test_several_stalled_workers_are_asked_while_threads_are_free(world: World) -> None:
    client = world.client()
    world.teach(client, 1e-4)
    first, second = world.workers(2)
    world.submit(client, "a", "b", "c", "d")
    assert (world.keys(first), world.keys(second)) == (["a", "b"], ["c", "d"])
    world.worker(nthreads=2)
    world.tick(after=0.06)
    assert world.heard(first) == ["recall b"]
    assert world.heard(second) == ["recall d"]


def test_no_more_workers_are_asked_than_needed(world: World) -> None:
    client = world.client()
    world.teach(client, 1e-4)
    first, second = world.workers(2)
    world.submit(client, "a", "b", "c", "d")
    world.clear()
    world.worker()
    world.tick(after=0.06)
    assert world.heard(first) == ["recall b"]
    assert world.heard(second) == []


def test_a_stalled_worker_is_not_filled_up_again_with_what_it_gave_back(world: World) -> None:
    _, full, idle = full_and_idle(world)
    world.tick(after=0.06)
    world.heard(full)
    world.returned(full, *names(10)[1:])
    assert world.heard(full) == []
    assert world.keys(idle) == names(10)[1:]


@pytest.mark.parametrize("news", ["done", "erred"])
def test_a_stalled_worker_that_has_news_is_filled_up_again(world: World, news: str) -> None:
    client, full, idle = full_and_idle(world)
    world.tick(after=0.06)
    world.heard(full)
    world.returned(full, *names(10)[1:])
    world.keys(idle)
    world.done(full, "k00") if news == "done" else world.erred(full, "k00")
    world.submit(client, *(f"x{number}" for number in range(10)))
    assert len(world.keys(full)) > 1
    world.clear()


def test_a_recalled_task_may_finish_first(world: World) -> None:
    client, full, _ = full_and_idle(world)
    world.tick(after=0.06)
    world.heard(full)
    world.done(full, "k00", "k01", "k02")
    assert list(full.recalled) == [world.task(key) for key in names(10)[3:]]
    world.returned(full, *names(10)[3:])
    assert not full.recalled
    assert world.heard(client) == ["finished k00=1 k01=1 k02=1"]
    world.clear()


# ---------------------------------------------------------------- threads that are taken by what nobody wants any more


def test_a_thread_that_a_cancelled_task_still_holds_gets_nothing(world: World) -> None:
    client, busy = world.client(), world.worker()
    world.submit(client, "long")
    assert world.keys(busy) == ["long"]
    world.cancel(client, "long")
    assert world.heard(busy) == ["free long"]
    world.say(busy, Ghosts(1))
    world.submit(client, "a")
    assert world.heard(busy) == []
    world.say(busy, Ghosts(0))
    assert world.keys(busy) == ["a"]


def test_what_was_sent_before_the_worker_said_so_comes_back(world: World) -> None:
    client, busy = world.client(), world.worker()
    world.submit(client, "long")
    world.keys(busy)
    world.cancel(client, "long")
    world.submit(client, "a")  # the thread passes for free until the worker has answered
    assert world.heard(busy) == ["free long", "run a"]
    world.say(busy, Ghosts(1))
    idle = world.worker()
    world.tick(after=0.06)
    assert world.heard(busy) == ["recall a"]
    world.returned(busy, "a")
    assert world.heard(idle) == ["run a#2"]


def test_a_restricted_task_comes_back_when_an_idle_worker_may_run_it(world: World) -> None:
    client, busy = world.client(), world.worker()
    world.submit(client, "long", workers=["w1"])
    world.keys(busy)
    world.cancel(client, "long")
    world.submit(client, "a", workers=["w1", "w2"])
    assert world.heard(busy) == ["free long", "run a"]
    world.say(busy, Ghosts(1))
    idle = world.worker()
    world.tick(after=0.06)
    assert world.heard(busy) == ["recall a"]
    world.returned(busy, "a")
    assert world.keys(idle) == ["a"]


def test_work_goes_around_a_worker_full_of_what_nobody_wants(world: World) -> None:
    client = world.client()
    haunted, other = world.workers(2)
    world.say(haunted, Ghosts(5))
    world.submit(client, "a")
    assert world.heard(other) == ["run a"]
    assert world.heard(haunted) == []
