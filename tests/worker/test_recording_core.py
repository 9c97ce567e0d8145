"""What threads have done is noted while somebody looks, and said before word of the tasks' end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from executor_shop import Shop, double
from lone import Lone, run

from windrow.wire.activity import COMPUTE, DESERIALIZE, DISK_READ, ERRED
from windrow.wire.messages import Done, Erred, Executed, Record, TaskId
from windrow.worker.recording import Notes


def test_of_short_attempts_one_in_so_long_is_noted_and_of_long_ones_each() -> None:
    notes = Notes(apart_s=10 * 0.0009765625)
    for number in range(100):
        notes.ended(TaskId(number), True, 1, number * 0.0009765625, 0.0005, 28, "int")
    for number in range(100, 105):
        notes.ended(TaskId(number), True, 1, 0.101, 0.05, 28, "int")
    told = notes.take(0.0)
    assert told.tasks == [*range(0, 100, 10), 100, 101, 102, 103, 104]
    assert told.left_out == 90
    assert not notes
    assert notes.take(0.0).left_out == 0


def test_with_nothing_apart_all_is_noted() -> None:
    notes = Notes(apart_s=0.0)
    notes.ended(TaskId(1), True, 1, 5.0, 0.0, 28, "int")
    notes.ended(TaskId(2), False, 2, 5.0, 0.0, 0, "ValueError")
    notes.spent(DISK_READ, TaskId(3), 3, 6.0, 0.0, 9)
    told = notes.take(100.0)
    assert (told.tasks, told.kinds, told.threads) == ([1, 2, 3], [COMPUTE, ERRED, DISK_READ], [1, 2, 3])
    assert told.starts == [105.0, 105.0, 106.0]
    assert [told.table[word] for word in told.words] == ["int", "ValueError", ""]


def test_what_is_done_for_tasks_is_noted_if_it_takes_long() -> None:
    notes = Notes(apart_s=0.01)
    notes.spent(DESERIALIZE, TaskId(1), 1, 0.0, 0.009)
    notes.spent(DESERIALIZE, TaskId(2), 1, 0.0, 0.011)
    assert notes.take(0.0).tasks == [2]


def test_notes_leave_before_word_of_the_end_and_the_rest_with_the_order_to_stop() -> None:
    core = Lone().core
    core.receive([Record(0.0), run(1)])
    attempt = core.next_attempt()
    assert attempt is not None
    assert core.notes is not None
    core.notes.ended(TaskId(1), True, 1, 5.0, 0.1, 28, "int")
    core.finish(attempt, "v", 0.1, 10)
    assert [type(message) for message in core.take_out()] == [Executed, Done]
    core.notes.ended(TaskId(2), True, 1, 5.0, 0.1, 28, "int")
    core.receive([Record(None)])
    assert core.notes is None
    [told] = core.take_out()
    assert told.tasks == [2]
    core.receive([Record(0.5), Record(0.25)])
    assert core.notes.apart_s == 0.25
    core.start_afresh()
    assert core.notes is None


@pytest.fixture
def shop() -> Iterator[Shop]:
    loop = asyncio.new_event_loop()
    shop = Shop(loop)
    yield shop
    shop.close()
    loop.close()


def fail() -> None:
    raise LookupError("no")


def test_threads_note_what_they_run(shop: Shop) -> None:
    shop.done(1, double, 4)
    shop.hear(Record(0.0))
    shop.submit(2, double, 4)
    noted, done = shop.outcomes(2)
    assert isinstance(noted, Executed)
    assert isinstance(done, Done)
    assert (noted.tasks, noted.kinds, noted.nbytes, noted.seconds) == ([2], [COMPUTE], [done.nbytes], [done.seconds])
    assert noted.threads == [shop.executor._threads[0].ident]
    assert noted.table == ["int"]
    shop.submit(3, fail)
    noted, erred = shop.outcomes(2)
    assert isinstance(erred, Erred)
    assert (noted.tasks, noted.kinds) == ([3, 3], [DESERIALIZE, ERRED])
    assert noted.table == ["", "LookupError"]


def test_threads_pass_over_most_short_attempts(shop: Shop) -> None:
    shop.hear(Record(3600.0))
    shop.core.notes.due_s = 1e12  # type: ignore[union-attr]
    shop.done(1, double, 4)
    assert shop.core.notes.left_out == 1  # type: ignore[union-attr]


class Odd(type):
    __module__ = 7  # type: ignore[assignment]


def make_odd() -> object:
    return Odd("Strange", (), {"__module__": 7, "__qualname__": "Strange"})()


def test_a_type_with_an_odd_name_does_no_harm(shop: Shop) -> None:
    shop.hear(Record(0.0))
    shop.submit(1, make_odd)
    noted, done = shop.outcomes(2)
    assert isinstance(done, Done)
    assert noted.table[-1] == "Strange"
