"""The queue: high priority first, then low id, whatever came and went in between."""

from __future__ import annotations

import random

import pytest

from windrow.runqueue import STALE_MAX, RunQueue


class Item:
    """What can stand in a queue."""

    def __init__(self, id: int, priority: float = 0.0) -> None:
        self.id = id
        self.priority = priority
        self.queue: RunQueue[Item] | None = None

    def __repr__(self) -> str:
        return f"{self.id}@{self.priority}"


def filled(*ids: int) -> tuple[RunQueue[Item], list[Item]]:
    """A queue with items of these ids."""
    queue: RunQueue[Item] = RunQueue()
    items = [Item(id) for id in ids]
    for item in items:
        queue.push(item)
    return queue, items


def drained(queue: RunQueue[Item]) -> list[int]:
    """All ids, in the order in which they come out."""
    return [queue.pop().id for _ in range(len(queue))]


def test_low_ids_first() -> None:
    assert drained(filled(1, 2, 3)[0]) == [1, 2, 3]


def test_what_comes_back_goes_to_its_place() -> None:
    assert drained(filled(5, 2, 8, 1, 6)[0]) == [1, 2, 5, 6, 8]


def test_high_priority_first() -> None:
    queue: RunQueue[Item] = RunQueue()
    for id, priority in [(1, 0.0), (2, 5.0), (3, -1.0), (4, 5.0), (5, 0.5)]:
        queue.push(Item(id, priority))
    assert drained(queue) == [2, 4, 5, 1, 3]


def test_higher_priority_that_comes_later_overtakes() -> None:
    queue, _ = filled(1, 2)
    assert queue.head().id == 1  # type: ignore[union-attr]
    queue.push(Item(3, 1.0))
    assert drained(queue) == [3, 1, 2]


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_removed_items_do_not_come_out(gone: int) -> None:
    queue, items = filled(1, 2, 3)
    queue.remove(items[gone])
    assert len(queue) == 2
    assert drained(queue) == [id for id in (1, 2, 3) if id != gone + 1]


def test_removed_early_items_do_not_come_out() -> None:
    queue, items = filled(5, 1, 2)
    queue.remove(items[1])
    assert drained(queue) == [2, 5]


def test_an_item_is_free_when_it_has_left() -> None:
    queue, (first, second) = filled(1, 2)
    queue.pop()
    queue.remove(second)
    assert first.queue is second.queue is None
    other: RunQueue[Item] = RunQueue()
    other.push(second)
    other.push(first)
    assert drained(other) == [1, 2]
    assert len(queue) == 0


def test_an_item_that_left_and_came_back_comes_out_once() -> None:
    queue, (first, _) = filled(1, 2)
    queue.remove(first)
    queue.push(first)
    assert drained(queue) == [1, 2]
    assert queue.head() is None


def test_an_item_that_went_to_another_queue_does_not_come_out_here() -> None:
    queue, (first, second) = filled(1, 2)
    queue.remove(first)
    other: RunQueue[Item] = RunQueue()
    other.push(first)
    assert queue.pop() is second
    assert other.pop() is first


def test_head_leaves_the_item_there() -> None:
    queue, (first, _) = filled(1, 2)
    assert queue.head() is queue.head() is first
    assert len(queue) == 2


def test_empty_queue() -> None:
    queue: RunQueue[Item] = RunQueue()
    assert queue.head() is None
    assert not queue
    with pytest.raises(IndexError, match="empty RunQueue"):
        queue.pop()


def test_priorities_of_the_past_are_not_kept() -> None:
    queue: RunQueue[Item] = RunQueue()
    for number in range(100):
        queue.push(Item(number, float(number)))
    drained(queue)
    assert queue.head() is None
    assert not queue._lanes


def test_an_item_is_in_one_queue_only() -> None:
    queue, (first,) = filled(1)
    with pytest.raises(AssertionError):
        RunQueue[Item]().push(first)
    with pytest.raises(AssertionError):
        RunQueue[Item]().remove(first)
    assert len(queue) == 1


def test_equal_ids_are_no_reason_to_compare_items() -> None:
    queue, _ = filled(9, 4, 4, 4)
    assert drained(queue) == [4, 4, 4, 9]


@pytest.mark.parametrize("seed", range(20))
def test_any_history_comes_out_in_order(seed: int) -> None:
    rng = random.Random(seed)
    queue: RunQueue[Item] = RunQueue()
    inside: list[Item] = []
    outside = [Item(number, rng.choice([0.0, 0.0, 1.0, -2.0])) for number in range(60)]
    for _ in range(300):
        what = rng.random()
        if what < 0.5 and outside:
            item = outside.pop(rng.randrange(len(outside)))
            queue.push(item)
            inside.append(item)
        elif what < 0.7 and inside:
            item = inside.pop(rng.randrange(len(inside)))
            queue.remove(item)
            outside.append(item)
        elif inside:
            item = min(inside, key=lambda item: (-item.priority, item.id))
            assert queue.pop() is item
            inside.remove(item)
            outside.append(item)
        assert len(queue) == len(inside)
    assert drained(queue) == [item.id for item in sorted(inside, key=lambda item: (-item.priority, item.id))]


def test_what_was_removed_is_not_kept_behind_a_live_head() -> None:
    queue, items = filled(*range(5000))
    for item in items[1:]:
        queue.remove(item)
    kept = sum(len(lane.fifo) + len(lane.early) for lane in queue._lanes.values())
    assert kept <= 2 * STALE_MAX
    assert drained(queue) == [0]


def test_a_thousand_priorities_cost_no_search_each() -> None:
    compared = 0

    class Priority(float):
        def __lt__(self, other: float) -> bool:
            nonlocal compared
            compared += 1
            return float(self) < float(other)

        def __neg__(self) -> float:
            return Priority(-float(self))

    queue: RunQueue[Item] = RunQueue()
    for number in range(1000):
        queue.push(Item(number, Priority(-number)))
    assert drained(queue) == list(range(1000))
    assert compared < 1000 * 30
