"""The books of sessions: nothing is lost, and nothing arrives twice."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from windrow.transport import replay
from windrow.transport.replay import Replay
from windrow.wire.messages import Ack, Close


def test_what_has_not_arrived_is_sent_again() -> None:
    near, far = Replay(), Replay()
    near.keep(["a", "b", "c"])
    near.keep(["d"])
    assert far.take(["a", "b"]) == ["a", "b"]  # a large batch arrives in parts, and the rest was lost
    assert near.again(far.received) == [["c"], ["d"]]
    assert near.again(3) == [["d"]]
    assert near.again(4) == []


def test_what_is_acknowledged_is_let_go() -> None:
    near, far = Replay(), Replay()
    near.keep(["a", "b"])
    near.keep(["c"])
    far.take(["a", "b", "c"])
    assert near.take([Close(), far.ack()]) == [Close()]
    assert repr(near) == "<Replay sent=3 kept=0 received=1>"
    assert near.take([Ack(3)]) == []
    assert near.received == 1, "acknowledgements are not counted"


def test_a_part_of_a_batch_may_be_acknowledged() -> None:
    near = Replay()
    near.keep(["a", "b", "c"])
    near.take([Ack(2)])
    assert near.again(2) == [["c"]]


def test_the_senders_list_stays_its_own() -> None:
    near, messages = Replay(), ["a"]
    near.keep(messages)
    messages.clear()
    assert near.again(0) == [["a"]]


def test_only_what_is_kept_can_be_gone_on_from() -> None:
    near = Replay()
    near.keep(["a"])
    near.keep(["b"])
    near.take([Ack(1)])
    assert [near.can_go_on(count) for count in range(4)] == [False, True, True, False]


def test_acknowledgements_are_due_after_a_while() -> None:
    far = Replay()
    far.take(["x"] * (replay.TELL_AFTER - 1))
    assert not far.is_due()
    far.take(["x"])
    assert far.is_due()
    assert far.ack() == Ack(replay.TELL_AFTER)
    assert not far.is_due()


@pytest.mark.parametrize("seed", range(50))
def test_whatever_is_lost_on_the_way_all_arrives_once_and_in_order(seed: int) -> None:
    rng = Random(seed)
    ends = [Replay(), Replay()]
    said: list[list[Any]] = [[], []]
    heard: list[list[Any]] = [[], []]
    way: list[list[list[Any]]] = [[], []]  # batches under way from each end

    def deliver(sender: int) -> None:
        if way[sender]:
            batch = way[sender].pop(0)
            if len(batch) > 1 and rng.random() < 0.3:  # it was encoded in parts
                part = rng.randint(1, len(batch) - 1)
                way[sender].insert(0, batch[part:])
                batch = batch[:part]
            heard[1 - sender] += ends[1 - sender].take(list(batch))

    for step in range(300):
        sender = rng.randint(0, 1)
        if rng.random() < 0.5:
            batch: list[Any] = [f"{sender}-{step}-{number}" for number in range(rng.randint(1, 4))]
            said[sender] += batch
            ends[sender].keep(batch)
            way[sender].append([*batch, ends[sender].ack()] if rng.random() < 0.3 else batch)
        elif rng.random() < 0.9:
            deliver(sender)
        else:  # the connection breaks, with what is under way, and another takes its place
            counts = [end.received for end in ends]
            assert all(ends[end].can_go_on(counts[1 - end]) for end in (0, 1))
            way = [ends[end].again(counts[1 - end]) for end in (0, 1)]
    while way[0] or way[1]:
        deliver(0)
        deliver(1)
    assert heard == [said[1], said[0]]
