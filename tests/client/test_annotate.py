"""Options of tasks: arguments, annotations of layers, and annotations around the call."""

from __future__ import annotations

from typing import Any

import dask
import pytest

from windrow.client.annotate import Chooser, around, graph_of, options_of
from windrow.client.options import DEFAULT, Options, checked


def _chosen(chooser: Chooser, key: Any) -> Options:
    return chooser.table[chooser.option(key)]


def test_the_argument_wins_over_the_layer_and_that_over_what_is_around() -> None:
    chooser = Chooser({"retries": {"x": 2}, "priority": {"x": 5}}, Options(priority=1), {"retries": 3, "priority": 7})
    assert _chosen(chooser, "x") == Options(priority=1, retries=2)
    assert _chosen(chooser, "y") == Options(priority=1, retries=3)


def test_equal_options_have_one_place() -> None:
    chooser = Chooser({"workers": {number: ["alice"] for number in range(100)}}, DEFAULT)
    assert {chooser.option(number) for number in range(100)} == {1}
    assert len(chooser.table) == 2


def test_whoever_names_workers_says_whether_others_will_do() -> None:
    chooser = Chooser({"workers": {"x": "bob"}, "allow_other_workers": {"x": True}}, checked(workers="alice"))
    assert _chosen(chooser, "x") == checked(workers="alice")


def test_other_workers_without_workers_mean_nothing() -> None:
    assert _chosen(Chooser({"allow_other_workers": {"x": True}}, DEFAULT), "x") == DEFAULT


def test_a_function_around_is_asked_for_each_key() -> None:
    chooser = Chooser({}, DEFAULT, {"retries": {"x": 1, "y": 2}.get})
    assert [_chosen(chooser, key).retries for key in "xy"] == [1, 2]


def test_wrong_annotations_are_refused() -> None:
    with pytest.raises(ValueError, match="retries"):
        Chooser({"retries": {"x": -1}}, DEFAULT).option("x")


def test_layers_of_a_graph_speak_for_their_keys() -> None:
    with dask.annotate(priority=lambda key: 4, color="red"):
        made = dask.delayed(abs)(-1, dask_key_name="x")
    assert graph_of(made.dask)[1] == {"priority": {"x": 4}}


def test_nothing_around_leaves_options_as_they_are() -> None:
    with dask.annotate(color="red"):
        assert around() == {}
        assert options_of(DEFAULT) == DEFAULT
    assert options_of(DEFAULT) is DEFAULT


def test_what_is_around_a_call() -> None:
    with dask.annotate(priority=3, retries=lambda key: len(key)):
        choose = options_of(checked(priority=1))
    assert not isinstance(choose, Options)
    assert choose("abc") == Options(priority=1, retries=3)
    with dask.annotate(priority=3):
        assert options_of(DEFAULT) == Options(priority=3)
