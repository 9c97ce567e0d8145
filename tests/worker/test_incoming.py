"""What a worker asks of its peers at a time, and in which order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lone import Lone, run

from windrow.wire.messages import Copy, Free, TaskId
from windrow.worker.incoming import LAST, Incoming, Limits


def ids(*numbers: int) -> list[TaskId]:
    return [TaskId(number) for number in numbers]


def filled(limits: Limits, *sizes: int, address: str = "a") -> Incoming:
    """Values 1, 2, … of these sizes, wanted in this order."""
    incoming = Incoming(limits)
    for number, nbytes in enumerate(sizes, 1):
        incoming.want(TaskId(number), [address], nbytes, (0.0, number))
    return incoming


def take(incoming: Incoming) -> list[tuple[str, list[TaskId]]]:
    asked = incoming.take(lambda id: True)
    incoming.check()
    return asked


@pytest.mark.parametrize(
    ("limits", "sizes", "first"),
    [
        (Limits(), [1, 2, 3], [("a", [1, 2, 3])]),
        (Limits(bytes=10), [4, 4, 4], [("a", [1, 2])]),
        (Limits(bytes=10), [11, 1], [("a", [1])]),  # one that is too large may come alone
        (Limits(bytes=10), [9, 11, 1], [("a", [1])]),  # and is not overtaken
        (Limits(question_bytes=10), [4, 4, 4], [("a", [1, 2]), ("a", [3])]),
        (Limits(question_bytes=10, questions=1), [4, 4, 4], [("a", [1, 2])]),
        (Limits(question_bytes=10), [11, 12], [("a", [1]), ("a", [2])]),
        (Limits(bytes=0), [0, 0], [("a", [1, 2])]),
    ],
)
def test_what_is_asked_first(limits: Limits, sizes: list[int], first: list[tuple[str, list[int]]]) -> None:
    assert take(filled(limits, *sizes)) == first


def test_the_rest_is_asked_when_answers_come() -> None:
    incoming = filled(Limits(bytes=10), 6, 6, 3)
    assert take(incoming) == [("a", [1])]
    assert take(incoming) == []
    assert incoming.answered(TaskId(1)) is not None
    assert take(incoming) == [("a", [2, 3])]


def test_a_question_counts_until_all_of_it_is_answered() -> None:
    incoming = filled(Limits(questions=1), 1, 1)
    incoming.want(TaskId(3), ["b"], 1, (0.0, 3))
    assert take(incoming) == [("a", [1, 2])]
    incoming.answered(TaskId(1))
    assert take(incoming) == []
    incoming.answered(TaskId(2))
    assert take(incoming) == [("b", [3])]


def test_order_is_that_of_the_tasks() -> None:
    incoming = Incoming(Limits(bytes=1))
    incoming.want(TaskId(1), ["a"], 1, LAST)
    incoming.want(TaskId(2), ["a"], 1, (0.0, 7))
    incoming.want(TaskId(3), ["a"], 1, (-5.0, 9))
    incoming.want(TaskId(4), ["a"], 1, (0.0, 6))
    order = []
    while asked := take(incoming):
        [(_, [id])] = asked
        order.append(id)
        incoming.answered(id)
    assert order == [3, 4, 2, 1]


def test_a_more_urgent_reader_moves_a_value_forward() -> None:
    incoming = filled(Limits(bytes=1), 1, 1, 1)
    take(incoming)
    incoming.want(TaskId(3), ["a"], 1, (-1.0, 9))
    incoming.want(TaskId(3), ["a"], 1, (0.0, 99))  # a less urgent one does not move it back
    incoming.answered(TaskId(1))
    assert take(incoming) == [("a", [3])]


def test_what_is_not_wanted_any_more_is_not_asked() -> None:
    incoming = filled(Limits(), 1, 1)
    assert incoming.take(lambda id: id == 2) == [("a", [2])]
    incoming.check()
    assert list(incoming.fetches) == [2]


def test_the_next_holder_is_asked_within_the_limits() -> None:
    incoming = Incoming(Limits(bytes=10))
    incoming.want(TaskId(2), ["a", "b"], 8, (0.0, 1))
    incoming.want(TaskId(4), ["a", "b"], 8, (0.0, 2))
    assert take(incoming) == [("a", [2])]
    fetch = incoming.answered(TaskId(2))
    assert fetch is not None
    incoming.ask_next(TaskId(2), fetch)
    assert take(incoming) == [("b", [2])]
    assert fetch.tried == ["a", "b"]
    assert fetch.holders == []


Events = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30), st.integers(-2, 2), st.booleans()), max_size=60)


@given(Events, st.integers(1, 3), st.integers(0, 40), st.integers(1, 25))
def test_limits_hold_and_all_is_asked_in_the_end(
    events: list[tuple[int, int, int, bool]], questions: int, most: int, question_bytes: int
) -> None:
    incoming = Incoming(Limits(questions, most, question_bytes))
    asked: list[TaskId] = []
    wanted: set[int] = set()
    for number, nbytes, priority, answers in events:
        if answers and asked:
            wanted.discard(asked[0])
            incoming.answered(asked.pop(0))
        else:
            wanted.add(number)
            incoming.want(TaskId(number), [f"tcp://{number % 3}"], nbytes, (float(priority), number))
        asked += [id for _, some in take(incoming) for id in some]
    while asked:
        wanted.discard(asked[0])
        incoming.answered(asked.pop(0))
        asked += [id for _, some in take(incoming) for id in some]
    assert not wanted
    assert not incoming.fetches
    assert incoming.questions == incoming.bytes == 0


# ---------------------------------------------------------------- in a worker's core


@pytest.fixture
def narrow() -> Lone:
    """A worker that fetches 10 bytes at a time."""
    return Lone(Limits(bytes=10))


def test_a_worker_fetches_for_the_most_urgent_task_first(narrow: Lone) -> None:
    narrow.hear(
        run(10, 1, 1, where={1: ["a"]}, sizes={1: 8}),
        run(11, 1, 2, where={2: ["a"]}, sizes={2: 8}, priority=5.0),
        run(12, 1, 3, where={3: ["a"]}, sizes={3: 8}),
    )
    assert narrow.asks() == {"a": [2]}
    narrow.fetched(2, b"two")
    assert narrow.asks() == {"a": [1]}
    narrow.fetched(1, b"one")
    assert narrow.asks() == {"a": [3]}
    assert narrow.starts() == [11, 10]
    assert narrow.said() == ["holds 2 1"]


def test_a_value_that_nobody_waits_for_any_more_is_never_asked_for(narrow: Lone) -> None:
    narrow.hear(run(10, 1, 1, 2, where={1: ["a"], 2: ["b"]}, sizes={1: 8, 2: 8}))
    assert narrow.asks() == {"a": [1]}
    narrow.hear(Free(ids(10)))
    narrow.fetched(1, b"one")
    assert narrow.asks() == {}
    assert narrow.is_empty()


def test_a_value_that_is_wanted_again_is_asked_for(narrow: Lone) -> None:
    narrow.hear(run(10, 1, 1, 2, where={1: ["a"], 2: ["b"]}, sizes={1: 8, 2: 8}))
    assert narrow.asks() == {"a": [1]}
    narrow.hear(Free(ids(10)), run(11, 1, 2, where={2: ["b"]}, sizes={2: 8}))
    narrow.fetched(1, b"one")
    assert narrow.asks() == {"b": [2]}


def test_a_value_that_comes_by_another_way_is_not_asked_for(narrow: Lone) -> None:
    narrow.hear(run(10, 1, 1, 2, where={1: ["a"], 2: ["b"]}, sizes={1: 8, 2: 8}))
    assert narrow.asks() == {"a": [1]}
    narrow.hear(run(11, 1, 2, shipped={2: b"two"}))
    narrow.fetched(1, b"one")
    assert narrow.asks() == {}
    assert sorted(narrow.starts()) == [10, 11]
    assert narrow.said() == ["holds 1 2"]


def test_copies_come_after_what_tasks_wait_for(narrow: Lone) -> None:
    narrow.hear(
        Copy(TaskId(4), 1, "k4", ["a"], 8),
        Copy(TaskId(5), 2, "k5", ["a"], 8),
        run(10, 1, 1, where={1: ["a"]}, sizes={1: 8}),
    )
    assert narrow.asks() == {"a": [1]}
    narrow.fetched(1, b"one")
    assert narrow.asks() == {"a": [4]}
    narrow.fetched(4, b"four")
    assert narrow.asks() == {"a": [5]}
    assert narrow.said() == ["holds 1", "copied 4#1"]
