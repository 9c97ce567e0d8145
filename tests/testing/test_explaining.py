"""The look for causes in the virtual cluster: what it takes for a stall."""

from __future__ import annotations

import pytest

from windrow.causes import Busy, Inputs, Obstacle, Soon
from windrow.scheduler.state import QUEUED, WAITING, Task
from windrow.testing.explaining import _check
from windrow.testing.simulation import Simulation
from windrow.wire.messages import TaskId


def task(state: str) -> Task:
    record = Task(TaskId(1), "x", None, b"")
    record.state = state
    return record


def test_causes_that_go_on_are_fine() -> None:
    _check(task(QUEUED), (Busy(1, 1),))
    _check(task(QUEUED), (Obstacle("no-workers"),))
    _check(task(WAITING), (Inputs(1, 1, (), {}, "y", QUEUED, 1, (Busy(1, 1),)),))


def test_what_does_not_go_on_is_a_stall() -> None:
    with pytest.raises(AssertionError, match="could be handed out, and is not"):
        _check(task(QUEUED), (Soon("a"),))
    with pytest.raises(AssertionError, match="inputs that wait for each other"):
        _check(task(WAITING), (Inputs(1, 1, ()),))
    with pytest.raises(AssertionError, match="below"):
        _check(task(WAITING), (Inputs(1, 1, (), {}, "y", QUEUED, 1, (Soon("a"),)),))
    with pytest.raises(AssertionError, match="nobody looks where"):
        _check(task(QUEUED), (Obstacle("forgotten"),))


def test_a_run_is_asked_about_throughout() -> None:
    simulation = Simulation(3)
    simulation.run()
    explaining = simulation.cluster.explaining
    assert explaining.looks > 20
    assert explaining.asked > explaining.looks
