"""Records, and the operations that keep two sides of one fact equal."""

from __future__ import annotations

import gc

import pytest

from windrow.scheduler.state import (
    OVERHEAD_S,
    UNKNOWN_S,
    ClientRecord,
    FunctionRecord,
    SchedulerConfig,
    State,
    Task,
    WorkerRecord,
)
from windrow.wire.messages import FreeFunctions, TaskId


def a_task(number: int = 1) -> Task:
    """Any task."""
    return Task(TaskId(number), f"k{number}", None, b"")


def a_worker(name: str = "w", nthreads: int = 1) -> WorkerRecord:
    """Any worker."""
    return WorkerRecord(f"tcp://{name}", name, nthreads, 0.0)


def test_holders_are_noted_on_both_sides() -> None:
    state, task, first, second = State(), a_task(), a_worker("1"), a_worker("2")
    state.add_holder(task, first)
    state.add_holder(task, second)
    assert task.holders == (first, second)
    assert list(first.holds) == list(second.holds) == [task]
    state.remove_holder(task, first)
    assert task.holders == (second,)
    state.remove_holder(task, second)
    assert task.holders == ()
    assert not first.holds
    assert not second.holds


def test_a_holder_is_noted_once() -> None:
    state, task, worker = State(), a_task(), a_worker()
    state.add_holder(task, worker)
    with pytest.raises(AssertionError):
        state.add_holder(task, worker)


def test_tasks_that_one_worker_holds_share_the_record_of_that() -> None:
    state, worker = State(), a_worker()
    first, second = a_task(1), a_task(2)
    state.add_holder(first, worker)
    state.add_holder(second, worker)
    assert first.holders is second.holders


def test_wants_are_noted_on_both_sides_and_once() -> None:
    state, task, first, second = State(), a_task(), ClientRecord("1", ""), ClientRecord("2", "")
    state.want(first, task)
    state.want(first, task)
    state.want(second, task)
    assert task.clients == (first, second)
    state.unwant(first, task)
    assert task.clients == (second,)
    state.unwant(second, task)
    assert task.clients == ()
    assert not first.wants


def test_one_dirty_mark_a_flush() -> None:
    state, worker = State(), a_worker()
    state.tell(worker, "1")
    state.tell(worker, "2")
    state.touch(worker)
    assert state.dirty == [worker]
    assert worker.out == ["1", "2"]


def test_first_duration_is_believed_and_later_ones_weigh_a_tenth() -> None:
    function = FunctionRecord(1, b"f", "f", b"")
    assert function.expected_s == UNKNOWN_S
    function.learn(2.0)
    assert function.expected_s == 2.0 + OVERHEAD_S
    function.learn(1.0)
    assert function.expected_s == pytest.approx(1.9 + OVERHEAD_S)


def test_no_duration_is_expected_to_be_nothing() -> None:
    function = FunctionRecord(1, b"f", "f", b"")
    function.learn(0.0)
    assert function.expected_s == OVERHEAD_S


@pytest.mark.parametrize(
    ("processing", "expected_s", "where"),
    [(0, 0.0, "idle"), (1, 9.0, "idle"), (2, 0.0, "open"), (2, 0.0199, "open"), (2, 0.02, ""), (9, 0.001, "open")],
)
def test_a_worker_is_idle_open_or_neither_by_its_load(processing: int, expected_s: float, where: str) -> None:
    state, worker = State(SchedulerConfig(pipeline_s=0.01)), a_worker(nthreads=2)
    state.idle[worker] = state.open[worker] = None
    worker.processing = {a_task(number): None for number in range(processing)}
    worker.expected_s = expected_s
    state.open_or_idle(worker)
    assert ("idle" * (worker in state.idle) + "open" * (worker in state.open)) == where


def test_a_worker_that_is_not_running_is_nowhere() -> None:
    state, worker = State(), a_worker()
    state.open_or_idle(worker)
    worker.status = "lost"
    state.open_or_idle(worker)
    assert not state.idle
    assert not state.open


def test_a_worker_keeps_its_turn_while_it_idles() -> None:
    state, first, second = State(), a_worker("1"), a_worker("2")
    for worker in (first, second, first):
        state.open_or_idle(worker)
    assert list(state.idle) == [first, second]


def test_functions_are_freed_where_they_are() -> None:
    state, first, second = State(), a_worker("1"), a_worker("2")
    state.workers = {worker.address: worker for worker in (first, second)}
    function = FunctionRecord(3, b"f", "f", b"")
    first.functions[3] = None
    state.forget_function(function)
    assert first.out == [FreeFunctions([3])]
    assert second.out == []
    assert not first.functions


def test_tasks_are_untracked_by_the_collector() -> None:

    assert not gc.is_tracked(a_task())
