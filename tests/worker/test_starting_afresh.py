"""A worker's core that another scheduler's worker is to be: nothing of the former one's is left."""

from __future__ import annotations

from windrow.wire.messages import Copy, Free, Function, Ghosts, Put, Run, TaskId
from windrow.worker.core import WorkerCore

ONE, TWO, THREE, FOUR = (TaskId(id) for id in range(1, 5))


def test_nothing_is_left() -> None:
    core = WorkerCore()
    core.receive([Function(1, "f", b""), Run(ONE, 1, "a", 1, b""), Run(TWO, 1, "b", 1, b"", inputs=[ONE])])
    core.receive([Put(THREE, "c", b""), Copy(FOUR, 1, "d", ["tcp://other"])])
    core.start_afresh()
    books = (core.data, core.attempts, core.functions, core.waiting_for, core.fetching, core.copying, core.names)
    assert not any(books)
    assert not core.ready
    assert core.take_out() == []
    assert not core.take_requests()
    assert core.forgotten_functions == [1]


def test_what_runs_takes_its_thread_until_it_ends_and_its_result_is_nobodys() -> None:
    core = WorkerCore()
    core.receive([Run(ONE, 1, "a", 1, b""), Run(TWO, 1, "b", 1, b"")])
    old, done = core.next_attempt(), core.next_attempt()
    assert old is not None
    assert done is not None
    core.finish(done, 1, 0.0, 1)
    core.start_afresh()
    assert core.take_out() == [Ghosts(1)]
    core.receive([Run(ONE, 1, "another", 1, b"")])  # of the new scheduler, by chance of the same number
    core.finish(old, "old", 0.0, 1)
    assert core.take_out() == [Ghosts(0)]
    new = core.next_attempt()
    assert new is not None
    core.finish(new, "new", 0.0, 1)
    assert dict(core.data) == {ONE: "new"}


def test_a_value_that_was_on_its_way_is_not_taken_for_another() -> None:
    core = WorkerCore()
    core.receive([Run(TWO, 1, "b", 1, b"", inputs=[ONE], where={ONE: (10, ["tcp://other"])})])
    assert core.take_requests() == [("tcp://other", [ONE])]
    core.start_afresh()
    core.fetched(ONE, b"old")
    assert not core.data
    core.receive([Free([ONE])])
    assert core.take_out() == []
