"""Fixtures of pytest for other libraries' test suites; import those that a test module, or a conftest, is to have.

What lives here: the fixtures that ``distributed.utils_test`` gives to others. What this file must never know: windrow's
own tests.

::

    from windrow.testing.fixtures import client, cluster_fixture, loop, loop_in_thread, cleanup
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from windrow.client import current
from windrow.client.client import Client
from windrow.runtime import LoopThread
from windrow.testing.helpers import cluster

__all__ = ["a", "b", "cleanup", "client", "cluster_fixture", "loop", "loop_in_thread", "s"]

Address = dict[str, Any]


@pytest.fixture
def cleanup() -> Iterator[None]:
    """Close the default clients that a test leaves open."""
    before = current.defaults()
    yield
    for left in current.defaults():
        if left not in before and not left.asynchronous:
            left.close()


@pytest.fixture
def loop_in_thread(cleanup: None) -> Iterator[LoopThread]:
    """Give an event loop that runs in a thread of its own, as ``loop=`` of clients and clusters takes it."""
    thread = LoopThread("IO loop of a test")
    yield thread
    thread.stop()


@pytest.fixture
def loop(loop_in_thread: LoopThread) -> LoopThread:
    """Give the same."""
    return loop_in_thread


@pytest.fixture
def cluster_fixture(loop: LoopThread) -> Iterator[tuple[Address, list[Address]]]:
    """Give the addresses of a scheduler, and of two workers in processes of one thread."""
    with cluster() as (scheduler, workers):
        yield scheduler, workers


@pytest.fixture
def s(cluster_fixture: tuple[Address, list[Address]]) -> Address:
    """Give the scheduler's address, as ``s["address"]``."""
    return cluster_fixture[0]


@pytest.fixture
def a(cluster_fixture: tuple[Address, list[Address]]) -> Address:
    """Give the first worker's address."""
    return cluster_fixture[1][0]


@pytest.fixture
def b(cluster_fixture: tuple[Address, list[Address]]) -> Address:
    """Give the second worker's address."""
    return cluster_fixture[1][1]


@pytest.fixture
def client(loop: LoopThread, cluster_fixture: tuple[Address, list[Address]]) -> Iterator[Client]:
    """Give a client of two workers in processes of one thread."""
    scheduler, _ = cluster_fixture
    with Client(scheduler["address"], loop=loop) as client:
        yield client
