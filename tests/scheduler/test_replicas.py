"""Copies of values: how many, where, and that nothing is lost while a holder lives."""

from __future__ import annotations

from typing import Any

import pytest
from world import World

from windrow.scheduler import replicas
from windrow.scheduler.replicas import choose_moves
from windrow.scheduler.state import ClientRecord, WorkerRecord
from windrow.wire.messages import Close, Copied, Heartbeat
from windrow.wire.requests import Gather, Rebalance, Replicate, Retire, Scatter

MB = 1_000_000


def data_on(world: World, client: ClientRecord, worker: WorkerRecord, *keys: str, nbytes: int = MB) -> None:
    """Scattered data that one worker holds, and nobody else."""
    values = [b"v" for _ in keys]
    world.ask(client, Scatter(list(keys), values, [nbytes] * len(keys), [None] * len(keys), [worker.address]))
    world.clear()


def made_on(world: World, client: ClientRecord, worker: WorkerRecord, *keys: str) -> None:
    """Large results of one worker, which anybody may make again."""
    world.submit(client, *keys, workers=[worker.address], allow_other_workers=True)
    world.large(worker, *keys)
    world.clear()


def fails(world: World, worker: WorkerRecord, holder: WorkerRecord, key: str) -> None:
    """A worker cannot get a copy from the holder, who is asked, and says that it holds the value."""
    world.copied(worker, key, held=False)
    assert world.heard(holder) == [f"holds {key}?"]
    world.copied(holder, key)


def holders(world: World, key: str) -> list[Any]:
    return [holder.name for holder in world.task(key).holders]


# ---------------------------------------------------------------- replicate


def test_replicate_answers_when_the_copies_are_there(world: World) -> None:
    client = world.client()
    first, second, third = world.workers(3)
    data_on(world, client, first, "a")
    world.ask(client, Replicate(["a"]))
    assert world.heard(second) == world.heard(third) == ["copy a@w1"]
    world.copied(second, "a")
    assert world.take(client) == []
    world.copied(third, "a")
    assert world.answer(client).error is None
    assert holders(world, "a") == ["w1", "w2", "w3"]


def test_broadcast_goes_along_a_tree(world: World) -> None:
    client = world.client()
    workers = world.workers(7)
    data_on(world, client, workers[0], "a")
    world.ask(client, Replicate(["a"], branching_factor=1))
    rounds = []
    while asked := {worker.name: said for worker in workers if (said := world.heard(worker))}:
        rounds.append(asked)
        for worker in workers:
            if worker.name in asked:
                world.copied(worker, "a")
    assert rounds == [
        {"w2": ["copy a@w1"]},
        {"w3": ["copy a@w1+w2"], "w4": ["copy a@w2+w1"]},
        {"w5": ["copy a@w1+w2+w3+w4"], "w6": ["copy a@w2+w3+w4+w1"], "w7": ["copy a@w3+w4+w1+w2"]},
    ]
    world.answer(client)


def test_replicate_drops_what_is_too_much_from_the_fullest(world: World) -> None:
    client = world.client()
    first, second, third = world.workers(3)
    data_on(world, client, first, "a")
    data_on(world, client, second, "b")
    world.holds(second, "a")
    world.holds(third, "a")
    world.ask(client, Replicate(["a"], n=2))
    assert world.heard(second) == ["free a"]
    assert holders(world, "a") == ["w1", "w3"]
    world.answer(client)


def test_replicate_leaves_copies_outside_of_its_workers_alone(world: World) -> None:
    client = world.client()
    first, second, _ = world.workers(3)
    data_on(world, client, first, "a")
    world.ask(client, Replicate(["a"], n=1, workers=["tcp://w2", "tcp://w3"]))
    assert world.heard(second) == ["copy a@w1"]
    world.copied(second, "a")
    assert holders(world, "a") == ["w1", "w2"]
    world.answer(client)


def test_small_values_are_sent_at_once(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    data_on(world, client, first, "a", nbytes=10)
    world.ask(client, Replicate(["a"]))
    assert world.heard(second) == ["put a=v"]
    world.answer(client)


def test_replicate_of_what_is_not_there_is_answered(world: World) -> None:
    client = world.client()
    world.submit(client, "a")
    world.ask(client, Replicate(["a", "who?"]))
    world.answer(client)


def test_copy_that_fails_is_tried_again_and_then_elsewhere(world: World) -> None:
    client = world.client()
    first, second, third = world.workers(3)
    data_on(world, client, first, "a")
    data_on(world, client, third, "b")
    world.ask(client, Replicate(["a"], n=2))
    for _ in range(replicas.TRIES):
        assert world.heard(second) == ["copy a@w1"]
        fails(world, second, first, "a")
    assert world.heard(third) == ["copy a@w1"]
    world.copied(third, "a")
    assert holders(world, "a") == ["w1", "w3"]
    world.answer(client)


def test_replicate_that_cannot_be_done_is_answered(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    data_on(world, client, first, "a")
    world.ask(client, Replicate(["a"]))
    for _ in range(replicas.TRIES):
        assert world.heard(second) == ["copy a@w1"]
        fails(world, second, first, "a")
    world.answer(client)
    assert not world.state.copies


def test_end_of_the_worker_that_was_to_get_a_copy(world: World) -> None:
    client = world.client()
    first, second, third = world.workers(3)
    data_on(world, client, first, "a")
    data_on(world, client, third, "b")
    world.ask(client, Replicate(["a"], n=2))
    assert world.heard(second) == ["copy a@w1"]
    world.lose(second)
    assert world.heard(third) == ["copy a@w1"]
    world.copied(third, "a")
    world.answer(client)


def test_end_of_the_value_that_was_to_be_copied(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    data_on(world, client, first, "a")
    world.ask(client, Replicate(["a"]))
    assert world.heard(second) == ["copy a@w1"]
    world.release(client, "a")
    assert world.heard(first) == world.heard(second) == ["free a"]
    world.answer(client)
    world.copied(second, "a")  # its answer crosses the order to free it
    assert not second.holds


def test_answer_to_a_copy_of_a_value_that_was_made_again_is_dropped(world: World) -> None:
    client = world.client()
    first, second, third = world.workers(3)
    made_on(world, client, first, "a")
    world.submit(client, "x", workers=["w2"])
    assert world.keys(second) == ["x"]
    world.ask(client, Replicate(["a"], workers=["tcp://w2"]))
    assert world.heard(second) == ["copy a@w1"]
    world.lose(first)
    assert world.heard(second) == ["free a"]
    world.large(third, *world.keys(third))
    assert holders(world, "a") == ["w3"]
    late = world.copies[second, "a"]
    world.say(second, Copied(late.task, late.number, True))
    assert holders(world, "a") == ["w3"]
    world.clear()


def test_two_wait_for_one_copy(world: World) -> None:
    client, other = world.client(), world.client()
    first, second = world.workers(2)
    data_on(world, client, first, "a")
    world.ask(client, Replicate(["a"]))
    world.ask(other, Replicate(["a"]))
    assert world.heard(second) == ["copy a@w1"]
    world.copied(second, "a")
    world.answer(client)
    world.answer(other)


def test_much_is_copied_in_rounds(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    keys = ["a", "b", "c"]
    data_on(world, client, first, *keys, nbytes=replicas.ROUND_BYTES // 2 + 1)
    world.ask(client, Replicate(keys))
    for key in keys:
        assert world.heard(second) == [f"copy {key}@w1"]
        world.copied(second, key)
    world.answer(client)


# ---------------------------------------------------------------- rebalance


def test_rebalance_moves_values_and_then_frees_them(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    data_on(world, client, first, "a", "b", "c", "d")
    world.ask(client, Rebalance())
    copies = world.heard(second)
    assert len(copies) == 2
    assert world.take(first) == []
    moved = [said[5] for said in copies]
    world.copied(second, *moved)
    assert world.heard(first) == [f"free {' '.join(moved)}"]
    assert (len(first.holds), len(second.holds)) == (2, 2)
    assert world.answer(client).value == []


def test_rebalance_moves_only_what_it_is_asked_to(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    data_on(world, client, first, "a", "b", "c", "d")
    world.ask(client, Rebalance(["d", "who?"]))
    assert world.heard(second) == ["copy d@w1"]
    world.copied(second, "d")
    assert world.heard(first) == ["free d"]
    assert world.answer(client).value == ["who?"]


def test_rebalance_tells_what_could_not_be_moved(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    data_on(world, client, first, "a", "b")
    world.ask(client, Rebalance(["a"]))
    for _ in range(replicas.TRIES):
        assert world.heard(second) == ["copy a@w1"]
        fails(world, second, first, "a")
    assert world.answer(client).value == ["a"]
    assert holders(world, "a") == ["w1"]


def test_rebalance_when_the_receiver_dies(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    data_on(world, client, first, "a", "b")
    world.ask(client, Rebalance(["a"]))
    assert world.heard(second) == ["copy a@w1"]
    world.lose(second)
    assert world.answer(client).value == ["a"]


def test_equally_full_workers_are_left_alone(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    data_on(world, client, first, "a", nbytes=20 * MB)
    data_on(world, client, second, "b", nbytes=20 * MB)
    data_on(world, client, first, "c", nbytes=MB)
    world.ask(client, Rebalance())
    assert world.answer(client).value == []


def test_moves_bring_workers_close(world: World) -> None:
    client = world.client()
    workers = world.workers(3)
    sizes = [13, 8, 5, 3, 2, 1, 1, 9, 4, 6]
    for number, size in enumerate(sizes):
        data_on(world, client, workers[0], f"k{number}", nbytes=size * MB)
    moves = choose_moves(None, workers)
    held = dict.fromkeys(workers, 0)
    held[workers[0]] = sum(sizes) * MB
    for move in moves:
        held[move.source] -= move.task.nbytes
        held[move.to] += move.task.nbytes
    assert max(held.values()) - min(held.values()) <= 3 * MB
    assert len({move.task for move in moves}) == len(moves)


def test_value_in_use_is_not_moved(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    data_on(world, client, first, "a", "b")
    world.submit(client, "user", after=["a"], workers=["w1"])
    assert world.keys(first) == ["user"]
    assert [move.task.key for move in choose_moves(None, [first, second])] == ["b"]


# ---------------------------------------------------------------- retire


def test_retiring_worker_is_sent_no_tasks(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    data_on(world, client, first, "a")
    world.ask(client, Retire(["w1"]))
    assert first.status == "closing_gracefully"
    assert world.heard(second) == ["copy a@w1"]
    world.submit(client, *"bcdefg", after=["a"])
    assert len(world.keys(second)) == 1
    world.copied(second, "a")
    assert [type(message) for message in world.take(first)] == [Close]
    assert world.answer(client).value == ["tcp://w1"]


def test_retiring_gives_back_what_has_not_started(world: World) -> None:
    client = world.client()
    world.teach(client)
    first = world.worker()
    world.submit(client, "x", "y")
    world.keys(first)
    second = world.worker()
    data_on(world, client, first, "a")
    world.ask(client, Retire(["w1"]))
    assert world.heard(first) == ["recall x y"]
    world.returned(first, "y")
    assert world.heard(second) == ["copy a@w1", "run y#2"]
    world.copied(second, "a")
    assert "run x#2" in world.heard(second)
    assert world.task("x").deaths is None
    world.clear()


def test_results_that_come_meanwhile_are_saved_too(world: World) -> None:
    client = world.client()
    first = world.worker()
    world.submit(client, "b", workers=["w1"], allow_other_workers=True)
    world.keys(first)
    second = world.worker()
    data_on(world, client, first, "a")
    world.ask(client, Retire(["w1"]))
    assert world.heard(second) == ["copy a@w1"]
    assert world.heard(first) == ["recall b"]
    world.large(first, "b")
    world.copied(second, "a")
    assert world.heard(second) == ["copy b@w1"]
    world.copied(second, "b")
    assert world.take(client)[-1].value == ["tcp://w1"]
    assert holders(world, "a") == holders(world, "b") == ["w2"]
    world.clear()


def test_values_with_another_holder_or_here_are_not_copied(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    data_on(world, client, first, "a")
    data_on(world, client, first, "small", nbytes=10)
    world.holds(second, "a")
    world.ask(client, Retire(["w1"]))
    assert world.answer(client).value == ["tcp://w1"]
    assert world.take(second) == []
    world.clear()


def test_two_that_leave_together_do_not_rely_on_each_other(world: World) -> None:
    client = world.client()
    first, second, third = world.workers(3)
    data_on(world, client, first, "a")
    world.holds(second, "a")
    world.ask(client, Retire(["w1", "w2"]))
    assert world.heard(third) == ["copy a@w1+w2"]
    world.copied(third, "a")
    assert world.answer(client).value == ["tcp://w1", "tcp://w2"]
    world.clear()


def test_retirements_wait_for_each_other(world: World) -> None:
    client = world.client()
    first, second, third = world.workers(3)
    data_on(world, client, first, "a")
    data_on(world, client, third, "b", nbytes=2 * MB)
    world.ask(client, Retire(["w1"]))
    world.ask(client, Retire(["w2"]))
    assert world.heard(second) == ["copy a@w1"]
    assert second.status == "running"
    world.copied(second, "a")
    assert world.answer(client).value == ["tcp://w1"]
    assert world.heard(third) == ["copy a@w2"]
    world.copied(third, "a")
    assert world.answer(client).value == ["tcp://w2"]
    world.clear()


def test_worker_whose_data_nobody_takes_goes_on(world: World) -> None:
    client, worker = world.client(), world.worker()
    data_on(world, client, worker, "a")
    world.ask(client, Retire(["w1"]))
    assert world.answer(client).value == []
    assert worker.status == "running"
    world.submit(client, "b", after=["a"])
    assert world.keys(worker) == ["b"]


def test_end_of_a_retiring_worker(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    data_on(world, client, first, "a")
    world.ask(client, Retire(["w1"]))
    assert world.heard(second) == ["copy a@w1"]
    world.lose(first)
    assert world.heard(second) == ["free a"]
    reply, cancelled = world.take(client)
    assert cancelled.keys == ["a"]
    assert reply.value == []
    assert not world.state.retirements


def test_end_of_the_worker_that_takes_the_data(world: World) -> None:
    client = world.client()
    first, second, third = world.workers(3)
    data_on(world, client, third, "b")
    data_on(world, client, first, "a")
    world.ask(client, Retire(["w1"]))
    assert world.heard(second) == ["copy a@w1"]
    world.lose(second)
    assert world.heard(third) == ["copy a@w1"]
    world.copied(third, "a")
    assert world.answer(client).value == ["tcp://w1"]
    world.clear()


def test_worker_that_stays_is_emptied_and_can_be_closed_later(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    data_on(world, client, first, "a")
    world.submit(client, "b", workers=["w1"], allow_other_workers=True)
    assert world.keys(first) == ["b"]
    world.ask(client, Retire(["w1"], close=False))
    assert world.heard(first) == ["recall b"]
    world.copied(second, "a")
    assert world.heard(first) == ["free b"]
    assert world.answer(client).value == ["tcp://w1"]
    assert first.status == "closing_gracefully"
    assert not first.processing
    world.ask(client, Retire(["w1"]))
    assert world.answer(client).value == ["tcp://w1"]
    assert list(world.state.workers.values()) == [second]
    world.clear()


def test_those_with_room_take_data_first(world: World) -> None:
    client = world.client()
    first = world.worker()
    narrow = world.worker("narrow", memory_limit=MB // 2)
    wide = world.worker("wide", memory_limit=9 * MB)
    data_on(world, client, wide, "b")
    data_on(world, client, first, "a")
    world.ask(client, Retire(["w1"]))
    assert world.heard(wide) == ["copy a@w1"]
    world.lose(wide)
    assert "copy a@w1" in world.heard(narrow)  # better there than nowhere
    world.clear()


def test_gather_from_a_retiring_worker(world: World) -> None:
    client = world.client()
    first, _ = world.workers(2)
    data_on(world, client, first, "a")
    world.ask(client, Retire(["w1"]))
    world.ask(client, Gather(["a"]))
    world.reply(first, b"v", to=world.question(first))
    assert world.answer(client).blobs == [b"v"]
    world.clear()


def test_silent_receiver_is_not_waited_for(world: World) -> None:
    client = world.client()
    first, second, third = world.workers(3)
    data_on(world, client, third, "b")
    data_on(world, client, first, "a")
    world.ask(client, Retire(["w1"]))
    assert world.heard(second) == ["copy a@w1"]
    world.tick(after=4.0)
    world.say(first, Heartbeat())
    world.say(third, Heartbeat())
    assert world.core.is_busy()
    world.tick(after=2.0)
    assert world.heard(third) == ["copy a@w1"]
    world.copied(third, "a")
    assert world.answer(client).value == ["tcp://w1"]
    world.copied(second, "a")  # it wakes up
    assert holders(world, "a") == ["w3", "w2"]
    world.clear()


def test_silent_holder_goes_on(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    data_on(world, client, first, "a")
    world.ask(client, Retire(["w1"]))
    assert world.heard(second) == ["copy a@w1"]
    world.say(second, Heartbeat())
    world.tick(after=4.0)
    assert world.take(client) == []
    world.say(second, Heartbeat())
    world.tick(after=2.0)
    assert world.answer(client).value == []
    assert first.status == "running"


# ---------------------------------------------------------------- who can be missed


def test_retire_of_whoever_can_be_missed(world: World) -> None:
    client = world.client()
    world.workers(2)
    world.ask(client, Retire(None, n=1))
    assert world.answer(client).value == ["tcp://w1"]
    world.clear()


# ---------------------------------------------------------------- data that cannot be made again


def test_last_copy_of_scattered_data_outlives_a_blocked_way(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    data_on(world, client, first, "a")
    world.submit(client, "b", after=["a"], workers=["w2"])
    assert world.keys(second) == ["b"]
    world.missing(second, "b", "a", first)
    assert world.heard(first) == ["holds a?"]
    assert world.heard(second) == ["run b#2(a@w1)"]
    world.copied(first, "a")
    assert holders(world, "a") == ["w1"]
    assert world.take(client) == []


def test_scattered_data_that_is_not_there_indeed_is_lost(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    data_on(world, client, first, "a")
    world.submit(client, "b", after=["a"], workers=["w2"])
    assert world.keys(second) == ["b"]
    world.missing(second, "b", "a", first)
    assert world.heard(first) == ["holds a?"]
    world.copied(first, "a", held=False)
    assert world.states("a", "b") == ["forgotten", "forgotten"]
    world.clear()


def test_copy_that_fails_as_its_holder_has_nothing_makes_the_value_again(world: World) -> None:
    client = world.client()
    first, second = world.workers(2)
    made_on(world, client, first, "a")
    world.ask(client, Replicate(["a"]))
    assert world.heard(second) == ["copy a@w1"]
    world.copied(second, "a", held=False)
    assert world.heard(first) == ["holds a?"]
    world.copied(first, "a", held=False)
    lost, _ = world.take(client)
    assert lost.keys == ["a"]
    world.clear()


def test_struck_holder_answers_no_copy(world: World) -> None:
    client = world.client()
    first, second, third = world.workers(3)
    data_on(world, client, first, "a")
    world.submit(client, "b", after=["a"], workers=["w3"])
    world.clear()
    world.ask(client, Replicate(["a"], n=2, workers=["tcp://w1", "tcp://w2"]))
    world.holds(second, "a")
    world.flush()
    copy = world.copies[second, "a"]
    world.missing(third, "b", "a", second)
    world.say(second, Copied(copy.task, copy.number, True))
    assert holders(world, "a") == ["w1"]
    world.clear()


@pytest.mark.parametrize("request_", [Replicate(["a"]), Rebalance(["a"]), Retire(["w1"])])
def test_client_that_leaves_before_its_answer(world: World, request_: Any) -> None:
    client, other = world.client(), world.client()
    first, second = world.workers(2)
    data_on(world, client, first, "a", "b")
    world.want(other, "a", "b")
    world.clear()
    world.ask(client, request_)
    world.lose(client)
    for key in ("a", "b"):
        world.flush()
        if (second, key) in world.copies:
            world.copied(second, key)
    assert not world.state.copies
    world.clear()
