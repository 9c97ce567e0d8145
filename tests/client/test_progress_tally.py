"""Futures are counted from a client's own books, a part at a time."""

from __future__ import annotations

from windrow.client.entry import CANCELLED, ERROR, FINISHED, LOST, Entry
from windrow.client.tally import Pace, Picture, Row, Tally
from windrow.keys import prefix_of

TRACE = 'Traceback (most recent call last):\n  File "x.py", line 1, in f\nZeroDivisionError: division by zero\n  note\n'


def test_entries_are_counted_by_group_and_state() -> None:
    entries = [Entry(f"inc-{number}", 0) for number in range(4)] + [Entry("sum-1", 0)]
    tally = Tally([*entries, entries[0]], prefix_of)
    assert [(row.name, row.total, row.waiting) for row in tally.rows({})] == [("inc", 4, 4), ("sum", 1, 1)]
    entries[0].status = FINISHED
    entries[1].settle(ERROR, detail=(b"", TRACE))
    entries[2].settle(CANCELLED, detail="why")
    entries[3].status = LOST
    tally.step()
    [inc, _] = tally.rows({})
    assert inc == Row("inc", 1, 1, 0, 1, 1, "ZeroDivisionError: division by zero")
    assert (inc.total, inc.ended) == (4, 3)


def test_a_step_looks_at_a_part_and_never_again_at_what_is_done() -> None:
    entries = [Entry(f"inc-{number}", 0, status=FINISHED) for number in range(10)]
    tally = Tally(entries, prefix_of)
    tally.step(4)
    assert tally.rows({})[0].done == 4
    tally.step(4)
    tally.step(4)
    assert tally.rows({})[0].done == 10
    entries[0].status = LOST
    tally.step(100)
    assert tally.rows({})[0].done == 10


def test_the_end_looks_at_all() -> None:
    entries = [Entry(f"inc-{number}", 0) for number in range(10)]
    tally = Tally(entries, prefix_of)
    tally.step(3)
    for entry in entries:
        entry.status = FINISHED
    tally.finish()
    assert tally.rows({})[0].done == 10


def test_what_is_done_already_may_be_left_out() -> None:
    entries = [Entry("inc-1", 0, status=FINISHED), Entry("inc-2", 0)]
    tally = Tally(entries, prefix_of, complete=False)
    assert tally.keys == ["inc-2"]
    assert tally.rows({})[0].total == 1


def test_inputs_are_joined_and_come_first() -> None:
    tally = Tally([Entry("sum-1", 0)], prefix_of)
    rows = tally.rows({"load": [5, 1, 2, 3, 0], "sum": [0, 0, 1, 7, 0]})
    assert rows == (Row("load", 5, 1, 2, 3, 0), Row("sum", 0, 0, 1, 8, 0))


def test_a_long_message_is_cut() -> None:
    tally = Tally([Entry("a", 0, status=ERROR, detail=(b"", "ValueError: " + "x" * 500))], prefix_of)
    tally.step()
    [row] = tally.rows({})
    assert len(row.message) == 201
    assert row.message.endswith("…")


def test_the_rate_is_that_of_the_last_seconds() -> None:
    pace = Pace()
    for second in range(100):
        pace.rate(second * 10, float(second))
    assert pace.rate(990 + 10, 100.0) == 10.0
    assert pace.rate(1000, 100.1) is not None
    for second in range(101, 200):
        rate = pace.rate(1000 + (second - 100) * 50, float(second))
    assert rate == 50.0


def test_the_rest_takes_as_long_as_the_rate_says() -> None:
    rows = (Row("a", 10, 0, 0, 40, 0),)
    assert Picture(rows, 2.0, 5.0).left_s == 8.0
    assert Picture(rows, 2.0, None).left_s is None
    assert Picture(rows, 2.0, None, is_over=True).left_s == 0.0
    assert Picture((Row("a", 10, 0, 0, 0, 0),), 2.0, None).left_s == 0.0
