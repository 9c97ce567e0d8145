"""The virtual clock and network: order, delay, codec, and breaking."""

from __future__ import annotations

from random import Random
from typing import Any

from windrow.testing.network import Channel, Clock
from windrow.wire.messages import Close, Heartbeat, Run, TaskId


def test_events_happen_in_the_order_of_their_times() -> None:
    clock, seen = Clock(), []
    for time_s in (3.0, 1.0, 2.0):
        clock.at(time_s, lambda time_s=time_s: seen.append((time_s, clock.now_s)))  # type: ignore[misc]
    while clock.step():
        pass
    assert seen == [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]
    assert clock.steps == 3


def test_events_of_one_time_happen_in_the_order_they_were_asked_for() -> None:
    clock, seen = Clock(), []
    for number in range(10):
        clock.at(1.0, lambda number=number: seen.append(number))  # type: ignore[misc]
    while clock.step():
        pass
    assert seen == list(range(10))


def test_nothing_happens_in_the_past() -> None:
    clock, seen = Clock(), []
    clock.at(5.0, lambda: clock.at(1.0, lambda: seen.append(clock.now_s)))
    while clock.step():
        pass
    assert seen == [5.0]


def test_after_counts_from_now() -> None:
    clock, seen = Clock(), []
    clock.at(5.0, lambda: clock.after(0.5, lambda: seen.append(clock.now_s)))
    assert len(clock) == 1
    while clock.step():
        pass
    assert seen == [5.5]
    assert not clock.step()


def channel(seed: int = 1, delay_s: float = 1.0) -> tuple[Clock, Channel, list[list[Any]]]:
    """A channel, and what it has delivered."""
    clock = Clock()
    delivered: list[list[Any]] = []
    return clock, Channel(clock, Random(seed), delivered.append, delay_s), delivered


def test_messages_arrive_late_and_equal() -> None:
    clock, link, delivered = channel()
    message = Run(TaskId(1), 2, "k", 3, b"args", inputs=[TaskId(4)], where={TaskId(4): (9, ["tcp://a"])})
    link.send([message, Close("bye")])
    assert delivered == []
    clock.step()
    assert delivered == [[message, Close("bye")]]
    assert delivered[0][0] is not message
    assert 0 < clock.now_s <= 1.0


def test_batches_never_overtake_each_other() -> None:
    for seed in range(20):
        clock, link, delivered = channel(seed)
        for number in range(20):
            link.send([Heartbeat({"n": float(number)})])
        while clock.step():
            pass
        assert [batch[0].metrics["n"] for batch in delivered] == list(range(20))


def test_what_is_changed_after_it_was_sent_arrives_as_it_was() -> None:
    clock, link, delivered = channel()
    batch: list[Any] = [Heartbeat({"n": 1.0})]
    link.send(batch)
    batch[0].metrics["n"] = 2.0
    clock.step()
    assert delivered[0][0].metrics == {"n": 1.0}


def test_a_broken_channel_is_silent() -> None:
    clock, link, delivered = channel()
    link.send([Close("under way")])
    link.broken = True
    link.send([Close("too late")])
    while clock.step():
        pass
    assert delivered == []
