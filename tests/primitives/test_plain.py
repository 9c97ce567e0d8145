"""Plain data: what may be in events and metadata, and the error that names what may not."""

from __future__ import annotations

import enum
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from windrow.primitives.plain import checked


class Colour(enum.IntEnum):
    RED = 3


class Pair(NamedTuple):
    first: int
    second: int


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (2**64 - 1, 2**64 - 1),
        ({"a": (1, [2.5, b"x"])}, {"a": [1, [2.5, b"x"]]}),
        (Pair(1, 2), [1, 2]),
        (Colour.RED, 3),
        (np.int64(7), 7),
        (np.float64(0.5), 0.5),
        (np.bool_(True), True),
        (bytearray(b"x"), b"x"),
        ({1: "a", ("x", 0): "b", None: "c", np.str_("d"): "e"}, {1: "a", ("x", 0): "b", None: "c", "d": "e"}),
    ],
)
def test_plain_data_becomes_what_a_decoder_gives(value: object, plain: object) -> None:
    made = checked(value)
    assert made == plain
    assert type(made) is type(plain)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(made)) == made


def test_the_copy_shares_nothing_with_the_original() -> None:
    original: dict[str, Any] = {"a": [1, {"b": 2}]}
    made = checked(original)
    original["a"][1]["b"] = 3
    assert made == {"a": [1, {"b": 2}]}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({1, 2}, "and msg is a set"),
        ({"a": [1, {"b": object()}]}, r"and msg\['a'\]\[1\]\['b'\] is an object"),
        ({"a": 1 + 2j}, r"and msg\['a'\] is a complex"),
        ({frozenset(): 1}, "and msg has a key that is a frozenset"),
        ({"x": np.zeros(2)}, r"and msg\['x'\] is a ndarray"),
    ],
)
def test_anything_else_is_a_type_error_that_names_the_part(value: object, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        checked(value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([0, 2**64], r"event\[1\] has more than 64 bits"),
        (-(2**63) - 1, "event has more than 64 bits"),
        ({"a": "\ud800"}, r"event\['a'\] has lone surrogates"),
    ],
)
def test_what_cannot_be_written_down_is_a_value_error(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        checked(value, "event")


def test_a_list_in_itself_is_a_value_error() -> None:
    ring: list[Any] = []
    ring.append(ring)
    with pytest.raises(ValueError, match="holds itself"):
        checked(ring)
