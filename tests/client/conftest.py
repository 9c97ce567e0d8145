"""Fixtures of the client's tests: a real client of a scheduler that does only what a test tells it to."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from fake_scheduler import FakeScheduler

from windrow.client import Client


@pytest.fixture
def fake() -> Iterator[FakeScheduler]:
    scheduler = FakeScheduler()
    yield scheduler
    scheduler.stop()


@pytest.fixture
def client(fake: FakeScheduler) -> Iterator[Client]:
    with Client(fake) as client:
        yield client


@pytest.fixture
def sync(client: Client) -> Callable[[], object]:
    """Return once all that either side has sent before is handled on both."""
    return client.scheduler_info
