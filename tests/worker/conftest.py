"""A worker's core for scenarios to play with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lone import Lone


@pytest.fixture
def lone() -> Iterator[Lone]:
    lone = Lone()
    yield lone
    assert (lone.said(), lone.asks()) == ([], {}), "this was said, and the test does not say that it should be"
