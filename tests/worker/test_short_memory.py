"""A worker's core when memory is short: nothing starts, and what was sent too early comes back."""

from __future__ import annotations

from lone import Lone, run

from windrow.wire.messages import Paused, Rescheduled
from windrow.worker.memory import Marks
from windrow.worker.store import Elsewhere


def said(lone: Lone) -> list[object]:
    """Claim what is said to the scheduler, as it is."""
    return lone.core.take_out()


def test_a_paused_worker_starts_nothing_and_ends_what_runs(lone: Lone) -> None:
    lone.hear(run(1), run(2))
    first = lone.start()
    lone.core.pause(True)
    assert said(lone) == [Paused(True)]
    lone.finish(first)
    assert lone.said() == ["done 1#1"]
    assert lone.starts() == []
    lone.core.data.set_marks(Marks())  # a new measurement changes nothing about it
    assert lone.starts() == []
    lone.core.pause(False)
    assert said(lone) == [Paused(False)]
    assert lone.starts() == [2]


def test_a_pause_is_told_once(lone: Lone) -> None:
    lone.core.pause(True)
    lone.core.pause(True)
    assert said(lone) == [Paused(True)]


def test_nothing_starts_at_the_brim_until_something_has_gone(lone: Lone) -> None:
    lone.core.data.set_marks(Marks(target=1000, brim=1000))
    lone.hear(run(1), run(2))
    lone.core.finish(lone.start(), "large", 0.1, 2000)  # type: ignore[arg-type]
    assert lone.start() is None
    assert not lone.core.may_start()
    going = lone.core.data.next_out()
    assert going == (1, "large")
    lone.core.data.went_out(Elsewhere(2000))
    assert lone.core.may_start()
    assert lone.starts() == [2]
    assert lone.said() == ["done 1#1"]


def test_what_does_not_fit_into_memory_and_was_sent_ahead_is_given_back(lone: Lone) -> None:
    lone.core.data.set_marks(Marks(), most_inputs=3000)
    lone.hear(run(1), run(2), run(3, 1, 1, 2), run(4, 1, 1))
    for _ in range(2):
        lone.core.finish(lone.start(), "large", 0.1, 2000)  # type: ignore[arg-type]
    assert lone.starts() == [4]
    assert said(lone)[-1] == Rescheduled(3, 1)  # type: ignore[arg-type]
    lone.hear(run(3, 2, 1, 2))  # now the scheduler knows the sizes, and has its reasons
    assert lone.starts() == [3]


def test_values_on_disk_count_for_what_fits(lone: Lone) -> None:
    lone.core.data.set_marks(Marks(target=0), most_inputs=3000)
    lone.hear(run(1), run(2), run(3, 1, 1, 2))
    for _ in range(2):
        lone.core.finish(lone.start(), "large", 0.1, 2000)  # type: ignore[arg-type]
        lone.core.data.next_out()
        lone.core.data.went_out(Elsewhere(2000))
    assert lone.starts() == []
    assert said(lone)[-1] == Rescheduled(3, 1)  # type: ignore[arg-type]


def test_an_input_that_cannot_be_read_back_is_missing(lone: Lone) -> None:
    lone.core.address = "me"
    lone.hear(run(1), run(2, 1, 1))
    lone.finish(lone.start())
    attempt = lone.start()
    assert attempt is not None
    lone.core.lost(attempt, attempt.inputs[0])
    assert lone.said() == ["done 1#1", "missing 2#1 for 1 tried me"]
    assert 1 not in lone.core.data
    assert lone.core.running == 0
