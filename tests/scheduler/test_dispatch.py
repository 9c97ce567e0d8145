"""When tasks are sent, and to whom: late binding, pipelines, order, shares, look-ahead."""

from __future__ import annotations

import pytest
from world import SHORT_S, World

from windrow.scheduler.dispatch import AHEAD_INPUTS_MAX
from windrow.wire.messages import Close


def names(count: int, prefix: str = "k") -> list[str]:
    """Keys in order."""
    return [f"{prefix}{number:03}" for number in range(count)]


# ---------------------------------------------------------------- late binding


def test_of_unknown_duration_each_thread_gets_one(world: World) -> None:
    client = world.client()
    one, two = world.worker(nthreads=1), world.worker(nthreads=2)
    world.submit(client, *names(10))
    assert (len(world.keys(one)), len(world.keys(two))) == (1, 2)
    assert len(world.state.queue) == 7


def test_of_short_duration_a_pipeline_is_filled(world: World) -> None:
    client = world.client()
    world.teach(client, 0.001)
    worker = world.worker()
    world.submit(client, *names(100))
    sent = world.keys(worker)
    assert sent == names(100)[: len(sent)]
    assert 8 <= len(sent) <= 12  # 10 ms of 1 ms each


def test_pipeline_is_a_thread_s_not_a_worker_s(world: World) -> None:
    client = world.client()
    world.teach(client, 0.001)
    worker = world.worker(nthreads=4)
    world.submit(client, *names(100))
    assert 36 <= len(world.keys(worker)) <= 44


def test_of_long_duration_the_queue_stays_with_the_scheduler(world: World) -> None:
    client = world.client()
    world.teach(client, 2.0)
    worker = world.worker(nthreads=2)
    world.submit(client, *names(10))
    assert world.keys(worker) == names(2)
    world.done(worker, "k000", seconds=2.0)
    assert world.keys(worker) == ["k002"]
    world.clear()


def test_a_pipeline_is_topped_up_as_results_come(world: World) -> None:
    client = world.client()
    world.teach(client, 0.001)
    worker = world.worker()
    world.submit(client, *names(100))
    sent = world.keys(worker)
    world.done(worker, *sent[:5], seconds=0.001)
    assert len(world.keys(worker)) == 5
    world.clear()


def test_a_worker_that_comes_late_finds_work(world: World) -> None:
    client = world.client()
    early = world.worker()
    world.submit(client, *names(5))
    assert world.keys(early) == ["k000"]
    late = world.worker()
    assert world.keys(late) == ["k001"]


def test_all_workers_take_part(world: World) -> None:
    client = world.client()
    world.teach(client)
    workers = world.workers(4)
    world.submit(client, *names(40))
    assert [len(world.keys(worker)) for worker in workers] == [10, 10, 10, 10]


def test_hand_outs_are_contiguous_so_that_siblings_share_a_worker(world: World) -> None:
    client = world.client()
    world.teach(client)
    first, second = world.workers(2)
    world.submit(client, *names(20))
    assert world.keys(first) == names(20)[:10]
    assert world.keys(second) == names(20)[10:]


def test_the_longest_idle_worker_is_served_first(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    world.submit(client, "a")
    world.done(first, *world.keys(first))
    world.submit(client, "b")
    assert world.keys(second) == ["b"]
    world.done(second, "b")
    world.submit(client, "c")
    assert world.keys(first) == ["c"]
    world.clear()


def test_free_threads_come_before_pipelines(world: World) -> None:
    client = world.client()
    world.teach(client)
    busy, idle = world.workers(2)
    world.submit(client, "a")
    assert world.keys(busy) == ["a"]
    world.submit(client, "b")
    assert world.keys(idle) == ["b"]


# ---------------------------------------------------------------- order


def test_first_come_first_served(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, *names(5))
    order = []
    while keys := world.keys(worker):
        world.done(worker, *keys, seconds=1.0)
        order += keys
    assert order == names(5)
    world.clear()


def test_higher_priority_overtakes(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.submit(client, "a", "b")
    world.submit(client, "urgent", priority=1)
    world.submit(client, "late", priority=-1)
    world.submit(client, "c")
    order = []
    while keys := world.keys(worker):
        world.done(worker, *keys, seconds=1.0)
        order += keys
    assert order == ["urgent", "a", "b", "c", "late"]
    world.clear()


def test_a_task_that_comes_back_keeps_its_place(world: World) -> None:
    client = world.client()
    first = world.worker()
    world.submit(client, "a", "b", "c")
    assert world.keys(first) == ["a"]
    world.say(first, Close())
    assert world.keys(world.worker()) == ["a"]


def test_priority_holds_between_a_worker_s_own_queue_and_the_common_one(world: World) -> None:
    worker, client = world.worker("w"), world.client()
    world.submit(client, "running")
    world.keys(worker)
    world.submit(client, "common1")
    world.submit(client, "own", workers=["w"])
    world.submit(client, "common2")
    world.submit(client, "own urgent", workers=["w"], priority=1)
    order = []
    world.done(worker, "running", seconds=1.0)
    while keys := world.keys(worker):
        world.done(worker, *keys, seconds=1.0)
        order += keys
    assert order == ["own urgent", "common1", "own", "common2"]
    world.clear()


# ---------------------------------------------------------------- look-ahead


def test_a_chain_of_short_tasks_goes_to_one_worker_without_a_round_trip(world: World) -> None:
    client = world.client()
    world.teach(client)
    first, second = world.workers(2)
    world.chain(client, *"abcde")
    assert world.heard(first) == ["run a", "run b(a)", "run c(b)", "run d(c)", "run e(d)"]
    assert world.heard(second) == []
    world.done(first, *"abcde")
    assert world.heard(client) == ["finished a=1 b=1 c=1 d=1 e=1"]


def test_a_chain_follows_a_task_that_runs_already(world: World) -> None:
    client = world.client()
    world.teach(client)
    worker = world.worker()
    world.submit(client, "a")
    assert world.heard(worker) == ["run a"]
    world.submit(client, "b", after=["a"])
    assert world.heard(worker) == ["run b(a)"]


def test_a_tree_of_short_tasks_goes_out_level_by_level_at_once(world: World) -> None:
    client = world.client()
    world.teach(client)
    worker = world.worker()
    world.submit(client, "a", "b", "c", "d")
    world.submit(client, "ab", after=["a", "b"])
    world.submit(client, "cd", after=["c", "d"])
    world.submit(client, "abcd", after=["ab", "cd"])
    assert sorted(world.keys(worker)) == ["a", "ab", "abcd", "b", "c", "cd", "d"]


def test_look_ahead_is_bounded_by_the_pipeline(world: World) -> None:
    client = world.client()
    world.teach(client, 0.001)
    worker = world.worker()
    keys = names(100)
    world.chain(client, *keys)
    sent = world.keys(worker)
    assert 8 <= len(sent) <= 12
    world.done(worker, *sent, seconds=0.001)
    more = world.keys(worker)
    assert more == keys[len(sent) : len(sent) + len(more)]
    assert len(more) >= 8
    world.clear()


def test_nothing_of_unknown_duration_is_sent_ahead(world: World) -> None:
    worker, client = world.worker(), world.client()
    world.chain(client, "a", "b")
    assert world.keys(worker) == ["a"]


def test_no_look_ahead_when_inputs_are_made_in_two_places(world: World) -> None:
    client = world.client()
    world.teach(client)
    first, second = world.workers(2)
    world.submit(client, "a", "b")
    world.submit(client, "c", after=["a", "b"])
    assert world.keys(first) == ["a"]
    assert world.keys(second) == ["b"]
    world.done(first, "a")
    assert world.heard(second) == []
    world.done(second, "b")
    assert [*world.heard(first), *world.heard(second)] == ["run c(a, b=1)"]
    world.clear()


def test_no_look_ahead_when_a_large_input_is_elsewhere(world: World) -> None:
    client = world.client()
    world.teach(client)
    first, second = world.workers(2)
    world.submit(client, "big", workers=["w1"])
    world.large(first, *world.keys(first))
    world.submit(client, "b", workers=["w2"])
    assert world.keys(second) == ["b"]
    world.submit(client, "c", after=["big", "b"])
    assert world.heard(second) == []
    assert world.states("c") == ["waiting"]
    world.clear()


def test_no_look_ahead_past_a_restriction(world: World) -> None:
    client = world.client()
    world.teach(client)
    first, _ = world.workers(2)
    world.submit(client, "a")
    world.submit(client, "b", after=["a"], workers=["w2"])
    assert world.keys(first) == ["a"]


def test_no_look_ahead_for_very_many_inputs(world: World) -> None:
    client = world.client()
    world.teach(client)
    worker = world.worker()
    inputs = names(AHEAD_INPUTS_MAX + 1)
    world.submit(client, *inputs)
    world.submit(client, "few", after=inputs[:-1])
    world.submit(client, "many", after=inputs)
    assert world.keys(worker) == [*inputs, "few"]


def test_what_was_sent_ahead_comes_back_when_its_input_is_given_back(world: World) -> None:
    client = world.client()
    world.teach(client)
    first = world.worker()
    world.submit(client, "long", function="g")
    world.keys(first)
    world.chain(client, "a", "b", "c")
    world.clear()
    assert world.states("a", "b", "c") == ["queued", "waiting", "waiting"]
    second = world.worker()
    assert world.keys(second) == ["a", "b", "c"]
    world.returned(second, "a")
    assert world.states("b", "c") == ["waiting", "waiting"]
    assert world.heard(second) == ["free b c", "run a#2", "run b#2(a)", "run c#2(b)"]


def test_what_was_sent_ahead_comes_back_when_its_input_is_retried(world: World) -> None:
    client = world.client()
    world.teach(client)
    worker = world.worker()
    world.submit(client, "a", retries=1)
    world.submit(client, "b", after=["a"])
    assert world.keys(worker) == ["a", "b"]
    world.erred(worker, "a")
    assert world.heard(worker) == ["free b", "run a#2", "run b#2(a)"]


def test_what_was_sent_ahead_is_freed_when_its_input_errs(world: World) -> None:
    client = world.client()
    world.teach(client)
    worker = world.worker()
    world.chain(client, "a", "b", "c")
    world.keys(worker)
    world.erred(worker, "a")
    assert world.heard(worker) == ["free b c"]
    assert world.heard(client) == ["failed a b c: boom"]


def test_what_was_sent_ahead_is_freed_when_its_input_is_cancelled(world: World) -> None:
    client = world.client()
    world.teach(client)
    worker = world.worker()
    world.chain(client, "a", "b")
    world.keys(worker)
    world.cancel(client, "a")
    assert world.heard(worker) == ["free a b"]
    assert world.heard(client) == ["cancelled b: cancelled"]


def test_what_was_sent_ahead_follows_its_input_to_another_worker(world: World) -> None:
    client = world.client()
    world.teach(client)
    first = world.worker()
    world.chain(client, "a", "b")
    assert world.keys(first) == ["a", "b"]
    second = world.worker()
    world.lose(first)
    assert world.heard(second) == ["run a#2", "run b#2(a)"]


def test_what_was_sent_ahead_runs_when_another_input_was_lost_and_is_back(world: World) -> None:
    client = world.client()
    world.teach(client)
    maker, worker = world.workers(2)
    world.submit(client, "big", workers=["w1"], allow_other_workers=True)
    world.large(maker, *world.keys(maker))
    world.submit(client, "a", workers=["w2"])
    world.keys(worker)
    world.submit(client, "b", after=["big", "a"])
    world.lose(maker)
    world.clear()
    assert world.states("big", "b") == ["processing", "processing"]
    world.done(worker, "a", "big")
    world.clear()
    world.done(worker, "b")
    assert world.heard(client) == ["finished b=1"]


def test_a_share_of_one_queue_leaves_no_thread_idle_that_could_take_of_another(world: World) -> None:
    """A worker takes of its own queue and the common one by priority: what it leaves of either is not forgotten."""
    client = world.client()
    world.teach(client, 1.0)
    worker = world.worker("a", nthreads=4)
    world.submit(client, "own", workers=["a"])
    world.submit(client, "x", "y")
    assert sorted(world.keys(worker)) == ["own", "x", "y"]


@pytest.mark.parametrize("short", [True, False])
def test_an_idle_worker_is_not_left_out_by_look_ahead(world: World, short: bool) -> None:
    client = world.client()
    world.teach(client, SHORT_S if short else 1.0)
    first, second = world.workers(2)
    for chain in range(2):
        world.chain(client, f"a{chain}", f"b{chain}")
    ran = [key for worker in (first, second) for key in world.keys(worker)]
    assert ran == (["a0", "b0", "a1", "b1"] if short else ["a0", "a1"])
