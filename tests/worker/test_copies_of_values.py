"""Copies that the scheduler asks a worker for, beside what its attempts need."""

from __future__ import annotations

from lone import Lone, run

from windrow.wire.messages import Copy, Free, Put, TaskId


def copy(task: int, number: int, *holders: str) -> Copy:
    """A `Copy` message."""
    return Copy(TaskId(task), number, f"k{task}", list(holders))


def test_copy_is_fetched_held_and_told(lone: Lone) -> None:
    lone.hear(copy(4, 1, "a"))
    assert lone.asks() == {"a": [4]}
    lone.fetched(4, b"v")
    assert lone.said() == ["copied 4#1"]
    assert lone.value(4) == b"v"
    assert lone.core.names == {4: "k4"}


def test_copy_is_asked_of_one_holder_after_the_other(lone: Lone) -> None:
    lone.hear(copy(4, 1, "a", "b"))
    assert lone.asks() == {"a": [4]}
    lone.fetched(4, None)
    assert lone.asks() == {"b": [4]}
    lone.fetched(4, None)
    assert lone.said() == ["not copied 4#1"]
    assert lone.is_empty()


def test_copy_of_what_is_here(lone: Lone) -> None:
    lone.hear(copy(4, 1, "a"))
    lone.asks()
    lone.fetched(4, b"v")
    lone.hear(copy(4, 2, "a"))
    assert lone.asks() == {}
    assert lone.said() == ["copied 4#1", "copied 4#2"]


def test_copy_that_is_freed_on_its_way_is_dropped(lone: Lone) -> None:
    lone.hear(copy(4, 1, "a"))
    assert lone.asks() == {"a": [4]}
    lone.hear(Free([TaskId(4)]))
    lone.fetched(4, b"v")
    assert lone.said() == []
    assert lone.is_empty()


def test_one_fetch_is_enough_for_an_attempt_and_a_copy(lone: Lone) -> None:
    lone.hear(run(1, 1, 4, where={4: ["a"]}), copy(4, 9, "a"))
    assert lone.asks() == {"a": [4]}
    lone.fetched(4, b"v")
    assert lone.said() == ["holds 4", "copied 4#9"]
    assert lone.starts() == [1]


def test_copy_outlives_the_attempt_that_had_begun_to_fetch_it(lone: Lone) -> None:
    lone.hear(run(1, 1, 4, where={4: ["a"]}), copy(4, 9, "a"), Free([TaskId(1)]))
    assert lone.asks() == {"a": [4]}
    lone.fetched(4, b"v")
    assert lone.said() == ["copied 4#9"]


def test_attempt_and_copy_fail_together(lone: Lone) -> None:
    lone.hear(copy(4, 9, "a"), run(1, 1, 4, where={4: ["a"]}))
    assert lone.asks() == {"a": [4]}
    lone.fetched(4, None)
    assert lone.said() == ["missing 1#1 for 4 tried a", "not copied 4#9"]


def test_question_whether_a_value_is_here(lone: Lone) -> None:
    lone.hear(copy(4, 1))
    assert lone.said() == ["not copied 4#1"]
    lone.hear(Put(TaskId(4), "k4", b"v"), copy(4, 2))
    assert lone.said() == ["copied 4#2"]
