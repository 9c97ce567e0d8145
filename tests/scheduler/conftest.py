"""The world that scenarios of the scheduler play in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from world import World, worlds


@pytest.fixture
def world() -> Iterator[World]:
    yield from worlds()
