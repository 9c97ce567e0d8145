"""Keys: which there are, and their forms."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windrow import keys
from windrow.wire.messages import Key, Want

scalars = st.text(min_size=1).filter(keys.is_key) | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
tuples = scalars
for _ in range(keys.DEPTH_MAX):
    tuples = scalars | st.lists(tuples, min_size=1, max_size=4).map(tuple)


@given(tuples)
def test_keys_survive_the_wire(key: Key) -> None:
    assert keys.checked(key) == key
    decoded = msgspec.msgpack.decode(msgspec.msgpack.encode(Want([key])), type=Want)
    assert decoded.keys == [key]
    assert keys.from_plain(msgspec.msgpack.decode(msgspec.msgpack.encode(key))) == key


@given(tuples, tuples)
def test_bytes_are_equal_for_equal_keys_only(one: Key, other: Key) -> None:
    if keys.as_bytes(one) == keys.as_bytes(other):
        assert one == other or repr(one) == repr(other)


def test_numbers_of_numpy_become_plain() -> None:
    key = keys.checked(("x", np.int64(3), np.float32(0.5), (np.str_("y"),)))
    assert key == ("x", 3, 0.5, ("y",))
    assert [type(part) for part in key] == [str, int, float, tuple]  # type: ignore[union-attr]
    assert type(keys.checked(np.int32(3))) is int


@pytest.mark.parametrize("wrong", [None, True, b"x", ["x"], {"x"}, ("x", None), ("x", True), ("x", ["y"]), object()])
def test_other_kinds_are_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="must be a string, a number or a tuple of these, not"):
        keys.checked(wrong)
    assert not keys.is_key(wrong)


@pytest.mark.parametrize("wrong", ["", (), float("nan"), 2**63, ("x", 2**64), "\ud800", ("\ud800",), ((((1,),),),)])
def test_what_cannot_be_a_key_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="key must"):
        keys.checked(wrong)
