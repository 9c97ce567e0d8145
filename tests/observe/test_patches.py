"""How far apart updates of pages are, by what they take of a machine that others need."""

from __future__ import annotations

import pytest

from windrow.observe.patches import BUDGET, SLOWEST, Turns
from windrow.observe.spare import Spare


class Machine(Spare):
    is_free = False

    def look(self) -> bool:
        return self.is_free


@pytest.fixture
def machine() -> Machine:
    return Machine()


def periods(turns: Turns, round_s: float, until_s: float = 60.0) -> list[float]:
    """What the periods are if each round of updates takes so much of a processor."""
    now_s = spent_s = 0.0
    found = [turns.update(now_s, spent_s)]
    while now_s < until_s:
        now_s += turns.period_s
        spent_s += round_s
        found.append(turns.update(now_s, spent_s))
    return found


def test_where_others_need_the_processors_pages_keep_to_their_budget(machine: Machine) -> None:
    found = periods(Turns(machine, 1.0), round_s=0.03)
    assert found[0] == 1.0
    assert found[-1] == pytest.approx(0.03 / BUDGET)


def test_pages_that_take_less_are_drawn_each_second(machine: Machine) -> None:
    assert set(periods(Turns(machine, 1.0), round_s=0.009)) == {1.0}


def test_however_much_they_take_they_are_drawn_now_and_then(machine: Machine) -> None:
    assert periods(Turns(machine, 1.0), round_s=0.5)[-1] == SLOWEST


def test_as_soon_as_a_processor_is_free_they_are_drawn_each_second(machine: Machine) -> None:
    turns = Turns(machine, 1.0)
    assert periods(turns, round_s=0.03)[-1] > 2.0
    machine.is_free = True
    assert turns.update(1000.0, 1000.0) == 1.0
