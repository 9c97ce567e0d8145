"""Programs: what their steps do, what they keep, how they travel."""

from __future__ import annotations

import operator
import pickle
import subprocess
import sys
import weakref
from typing import Any

import pytest

from windrow.wire import payload, program
from windrow.wire.program import Program


class Thing:
    """Can be weakly referred to."""


def test_a_step_uses_arguments_and_results_of_earlier_steps() -> None:
    made = Program("p", [(operator.sub, (1, 0), ()), (operator.mul, (-1, -1), ()), (operator.sub, (-2, -1), ())], -3)
    assert made(2, 7) == 20  # 7 - 2 = 5, 5 * 5 = 25, 25 - 5


def test_the_last_places_go_by_keyword() -> None:
    def told(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    made = Program("p", [(told, (0, 1, 2), ("x", "y"))], -1)
    assert made("a", "b", "c") == (("a",), {"x": "b", "y": "c"})


def test_a_program_of_no_steps_returns_an_argument() -> None:
    assert Program("p", [], 1)("a", "b") == "b"


def test_an_unused_argument_does_no_harm() -> None:
    assert Program("p", [(abs, (1,), ())], -1)(None, -2) == 2


def test_a_result_goes_when_its_last_user_has_run() -> None:
    made: list[weakref.ref[Thing]] = []

    def make() -> Thing:
        thing = Thing()
        made.append(weakref.ref(thing))
        return thing

    def use(thing: Thing) -> bool:
        return made[0]() is thing

    def gone() -> bool:
        return made[0]() is None

    steps = [(make, (), ()), (use, (-1,), ()), (gone, (), ()), (program.as_list, (-2, -3), ())]
    assert Program("p", steps, -4)() == [True, True]


def test_the_result_stays_though_a_later_step_uses_it() -> None:
    assert Program("p", [(program.as_list, (0,), ()), (len, (-1,), ())], -1)(5) == [5]


def test_a_result_used_twice_is_one_object() -> None:
    first, second = Program("p", [(program.as_list, (), ()), (program.as_tuple, (-1, -1), ())], -2)()
    assert first is second


def test_it_runs_again_from_scratch() -> None:
    made = Program("p", [(program.as_list, (0,), ()), (program.as_list, (-1, 1), ())], -2)
    assert made(1, 2) == [[1], 2]
    assert made(3, 4) == [[3], 4]


def test_it_travels() -> None:
    made = Program("sum", [(sum, (0, 1), ("start",))], -1)
    again = payload.loads(payload.dumps(made))
    assert isinstance(again, Program)
    assert again.__name__ == "sum"
    assert again([1, 2], 3) == 6
    assert repr(again) == "<Program 'sum' of 1 steps>"


def test_equal_programs_pickle_the_same() -> None:
    one, two = (Program("p", [(operator.add, (0, 1), ())], -1) for _ in range(2))
    assert payload.dumps(one) == payload.dumps(two)


def test_an_error_of_a_step_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        Program("p", [(operator.truediv, (0, 1), ())], -1)(1, 0)


def test_containers() -> None:
    assert program.as_tuple(1, 2) == (1, 2)
    assert program.as_set(1, 1, 2) == {1, 2}
    assert program.as_frozenset(1) == frozenset([1])
    assert program.as_dict("a", 1, "b", 2) == {"a": 1, "b": 2}
    with pytest.raises(ValueError):
        program.as_dict("a")


def test_a_node_evaluates_itself_with_values_by_key() -> None:
    assert program.evaluate(lambda values: values["x", 0] - values["y"], [("x", 0), "y"], 5, 3) == 2


def test_references_resolve_by_position_and_pickle_in_any_protocol() -> None:
    references = payload.references(20)
    assert len(references) >= 20
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        blob = pickle.dumps([references[3], references[19], references[3]], protocol)
        with payload.resolving([str(position) for position in range(20)]):
            assert pickle.loads(blob) == ["3", "19", "3"]


def test_a_key_can_be_put_at_a_position() -> None:
    with payload.collecting() as inputs:
        inputs.put("x", 4)
        assert payload.refer("x") == (payload.resolve, (4,))
        assert inputs.take() == ["x"]


def test_a_worker_runs_programs_without_dask() -> None:
    call = "import sys, windrow.wire.program as p; p.Program('p', [(abs, (0,), ())], -1)(1)"
    code = f"{call}; sys.exit('dask' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0
