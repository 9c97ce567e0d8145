"""The virtual clock and one direction of the virtual network; links over it are in `test_simulated_links`."""

from __future__ import annotations

from random import Random

from windrow.testing.network import Clock, Pipe


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


def pipe(seed: int = 1, delay_s: float = 1.0) -> tuple[Clock, Pipe, list[bytes]]:
    """A pipe, and what it has delivered."""
    clock = Clock()
    delivered: list[bytes] = []
    return clock, Pipe(clock, Random(seed), delivered.append, delay_s), delivered


def test_bytes_arrive_late() -> None:
    clock, way, delivered = pipe()
    way.send(b"x")
    assert delivered == []
    clock.step()
    assert delivered == [b"x"]
    assert 0 < clock.now_s <= 1.0


def test_nothing_overtakes_what_was_sent_before() -> None:
    for seed in range(20):
        clock, way, delivered = pipe(seed)
        for number in range(20):
            way.send(bytes([number]))
        while clock.step():
            pass
        assert delivered == [bytes([number]) for number in range(20)]


def test_a_broken_pipe_is_silent() -> None:
    clock, way, delivered = pipe()
    way.send(b"under way")
    way.is_broken = True
    way.send(b"too late")
    while clock.step():
        pass
    assert delivered == []
