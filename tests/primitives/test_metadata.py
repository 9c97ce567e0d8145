"""Metadata on a bare core."""

from __future__ import annotations

from typing import Any

import pytest
from bare_core import Bare

from windrow.primitives.metadata import GetMetadata, SetMetadata


@pytest.fixture
def bare() -> Bare:
    bare = Bare()
    bare.client("a")
    return bare


def put(bare: Bare, path: list[Any], value: Any) -> None:
    bare.ask(bare.state.clients["a"], "metadata", SetMetadata(path, value))


def get(bare: Bare, *path: Any) -> Any:
    return bare.ask(bare.state.clients["a"], "metadata", GetMetadata(list(path))).value


def test_a_value_is_found_where_it_was_put(bare: Bare) -> None:
    put(bare, ["x"], 1)
    put(bare, ["y", "z", ("t", 0)], [2])
    assert get(bare, "x") == [1]
    assert get(bare, "y", "z", ("t", 0)) == [[2]]
    assert get(bare, "y") == [{"z": {("t", 0): [2]}}]


def test_where_there_is_nothing_the_answer_says_so(bare: Bare) -> None:
    put(bare, ["x"], {"none": None})
    assert get(bare, "x", "none") == [None]
    assert get(bare, "x", "other") == []
    assert get(bare, "x", "none", "deeper") == []


def test_no_way_leads_through_what_is_no_dict(bare: Bare) -> None:
    put(bare, ["x"], 1)
    with pytest.raises(TypeError, match=r"at \['x'\] there is a int, and no dict"):
        put(bare, ["x", "y"], 2)
    assert get(bare, "x") == [1]


def test_it_outlives_the_client(bare: Bare) -> None:
    put(bare, ["x"], 1)
    bare.lose(bare.state.clients["a"])
    bare.client("a")
    assert get(bare, "x") == [1]


def test_an_answer_does_not_change_when_the_data_does() -> None:
    bare = Bare()
    service: Any = bare.core.desk.services["metadata"]
    service._put(["x", "y"], 1)
    [answer] = service._find(["x"])
    service._put(["x", "z"], 2)
    assert answer == {"y": 1}
