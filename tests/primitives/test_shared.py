"""What shared things have in common: durations, clients, leases that are held, ticks of the scheduler's shell."""

from __future__ import annotations

import doctest
import importlib
import math
from datetime import timedelta

import pytest
from primitive_tasks import until

from windrow import Client, Event, LocalCluster, Lock
from windrow.errors import ClosedClientError
from windrow.primitives.shared import Holdings, seconds

MODULES = ["event", "lock", "multi_lock", "queue", "semaphore", "shared", "variable"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, None), (2, 2.0), (-1, 0.0), ("500 ms", 0.5), (timedelta(minutes=1), 60.0), (math.inf, math.inf)],
)
def test_seconds(value, expected):
    assert seconds(value) == expected


@pytest.mark.parametrize(
    ("value", "kind"), [(True, TypeError), ([1], TypeError), ("soon", ValueError), (math.nan, ValueError)]
)
def test_wrong_seconds(value, kind):
    with pytest.raises(kind, match="timeout"):
        seconds(value)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    results = doctest.testmod(importlib.import_module(f"windrow.primitives.{name}"), raise_on_error=False)
    assert results.attempted > 0
    assert results.failed == 0


def test_holdings_give_each_lease_once():
    holdings, client = Holdings(), object()
    holdings.add("a", client)
    holdings.add("b", client)
    assert (len(holdings), holdings.of(client), holdings.of(object())) == (2, ["a", "b"], [])
    assert [holdings.take(), holdings.take(), holdings.take()] == [("a", client), ("b", client), None]


def test_a_given_client_is_used_and_no_other(cluster, client):
    with Client(cluster, set_as_default=False) as other:
        event = Event("e", other)
        assert event.client is other
    with pytest.raises(ClosedClientError, match="takes no work"):
        event.set()
    assert Event("e").client is client


def test_an_idle_scheduler_ticks_only_while_a_lease_may_expire():
    with LocalCluster(n_workers=1, processes=False) as cluster, Client(cluster) as client:
        server = cluster.scheduler
        until(lambda: server._tick is None)
        lock = Lock("x")
        lock.acquire()
        assert server._tick is not None
        assert server._tick_is_slow
        client.submit(sum, [1]).result(5)
        lock.release()
        until(lambda: server._tick is None, "at the next slow tick nothing is due any more")


def test_a_slow_tick_gives_way_to_a_fast_one():
    with LocalCluster(n_workers=1, processes=False) as cluster, Client(cluster) as client:
        server = cluster.scheduler
        until(lambda: server._tick is None)
        with Lock("x"):
            assert server._tick_is_slow
            future = client.submit(Event("go").wait)
            until(lambda: not server._tick_is_slow)
            Event("go").set()
            assert future.result(5) is True
