"""Futures where nobody looks for them, futures that cannot be used, graphs that fail half way, and clients at hand."""

from __future__ import annotations

import functools
import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import collection_tasks as tasks
import dask
import dask.array as da
import numpy as np
import pytest
from collection_help import until
from dask import delayed
from dask.base import get_scheduler

from windrow import Client, Future, LocalCluster, get_worker, wait
from windrow.errors import FutureCancelledError, PickleError


@pytest.fixture
def other(cluster: LocalCluster) -> Iterator[Client]:
    """A second client of the same cluster."""
    with Client(cluster, set_as_default=False) as client:
        yield client


class Adder:
    """Something callable that holds a future."""

    def __init__(self, term: Future) -> None:
        self.term = term

    def __call__(self, x: Any) -> Any:
        return self.term + x

    def method(self, x: Any) -> Any:
        return self.term + x


CARRIERS: dict[str, Callable[[Future], Callable[[int], Any]]] = {
    "partial": lambda future: functools.partial(tasks.add, future),
    "closure": lambda future: lambda x: tasks.add(future, x),
    "object": Adder,
    "method": lambda future: Adder(future).method,
}


@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=list(CARRIERS))
def test_a_future_in_a_function_becomes_its_result(client: Client, carrier: Callable[..., Any]) -> None:
    function = carrier(client.submit(tasks.inc, 1))
    assert client.submit(function, 5).result() == 7
    assert client.compute([delayed(function)(5), delayed(function)(6)], sync=True) == [7, 8]
    assert client.get({"x": (tasks.inc, (function, 5)), "y": (function, "x")}, ["x", "y"]) == [8, 10]


def test_a_future_of_another_client_is_refused(client: Client, other: Client) -> None:
    theirs = other.submit(tasks.inc, 1)
    for make in (
        lambda: client.compute(delayed(tasks.inc)(theirs)),
        lambda: client.get({"x": (tasks.inc, [theirs])}, "x"),
        lambda: client.get({"x": theirs, "y": (tasks.inc, "x")}, "y"),
    ):
        with pytest.raises(ValueError, match="belongs to another client"):
            make()


def test_an_unbound_future_that_is_not_held_is_refused(client: Client, other: Client) -> None:
    theirs = other.submit(tasks.inc, 1)
    with pytest.raises(ValueError, match="bind_client"):
        client.compute(delayed(tasks.inc)(pickle.loads(pickle.dumps(theirs))))


def test_a_released_or_cancelled_future_is_refused(client: Client) -> None:
    released, cancelled = client.map(tasks.inc, [1, 2])
    released.release()
    cancelled.cancel()
    for future in (released, cancelled):
        with pytest.raises(FutureCancelledError, match="does not hold it"):
            client.compute(delayed(tasks.inc)(future))


def test_a_graph_that_fails_half_way_leaves_nothing(client: Client) -> None:
    """Its first part has left by the time that the second cannot be pickled."""
    numbers = {("number", n): (tasks.inc, n) for n in range(6000)}
    graph = {**numbers, "bad": (tasks.add, threading.Lock(), list(numbers)[:5000])}
    with pytest.raises(PickleError, match="task 'bad'"):
        client.get(graph, ["bad", *numbers])
    until(lambda: not client.futures, "futures nobody has are dropped")
    assert client.get({"x": (tasks.inc, 1)}, "x") == 2


def test_what_cannot_be_persisted_is_refused(client: Client) -> None:
    with pytest.raises(TypeError, match="not 5"):
        client.persist([da.ones(3, chunks=1), 5])
    assert client.persist([]) == []


# ---------------------------------------------------------------- much data


def test_much_data_in_a_graph_is_warned_of(client: Client) -> None:
    with pytest.warns(UserWarning, match=r"12\.0 MB .*client\.scatter") as caught:
        assert client.compute(delayed(len)(np.zeros(1_500_000)), sync=True) == 1_500_000
    assert caught[0].filename == __file__


def test_much_data_in_calls_is_warned_of(client: Client) -> None:
    data = np.zeros(1_500_000)
    with pytest.warns(UserWarning, match="a task of 'len'"):
        client.submit(len, data)
    with pytest.warns(UserWarning, match="a task of 'lambda'"):
        client.submit(lambda: len(data))
    with pytest.warns(UserWarning, match="tasks of 'len'"):
        client.map(len, np.split(data, 100))


def test_the_limit_is_the_user_s(client: Client) -> None:
    with (
        warnings.catch_warnings(),
        dask.config.set({"distributed.admin.large-graph-warning-threshold": "100 MB"}),
    ):
        warnings.simplefilter("error")
        assert client.submit(len, np.zeros(1_500_000)).result() == 1_500_000


def test_a_warning_that_is_an_error_leaves_nothing(client: Client) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning):
            client.compute(delayed(len)(np.zeros(1_500_000)))
    until(lambda: not client.futures, "futures nobody has are dropped")


# ---------------------------------------------------------------- annotations around calls


def _name() -> str:
    return str(get_worker().name)


def test_annotations_around_submit_and_map(client: Client, cluster: LocalCluster) -> None:
    known = cluster.scheduler.core.state.tasks
    for name in ("0", "1"):
        with dask.annotate(workers=[name], retries=4):
            one = client.submit(_name, pure=False)
            many = client.map(lambda n: _name(), range(4), pure=False)
        assert {one.result(), *client.gather(many)} == {name}
        assert known[one.key].retries == 4
    with dask.annotate(retries=lambda key: int(key[-1])):
        one = client.submit(tasks.inc, 1, key="key-3")
        many = client.map(tasks.inc, [2, 3], key=["key-1", "key-2"])
    wait([one, *many])
    assert [known[key].retries for key in ("key-1", "key-2", "key-3")] == [1, 2, 3]


def _priority_of_a_nested_task() -> float:
    from windrow import get_client

    with dask.annotate(priority=5):
        inner = delayed(_own_priority)()
    return float(get_client().compute(inner).result())


def _own_priority() -> float:
    from windrow import context

    place = context.place()
    assert place is not None
    return place.priority


def test_annotations_hold_in_graphs_that_tasks_send(client: Client) -> None:
    assert 5 < client.submit(_priority_of_a_nested_task).result() < 5.5


# ---------------------------------------------------------------- the client at hand


def _user() -> Client | None:
    return getattr(getattr(get_scheduler(), "__self__", None), "session", None)  # type: ignore[no-any-return]


def test_dask_uses_the_current_client(cluster: LocalCluster) -> None:
    with Client(cluster) as first, Client(cluster) as second:
        assert _user() is second.session
        with first.as_current():
            assert _user() is first.session
            seen: list[object] = []
            thread = threading.Thread(target=lambda: seen.append(_user()))
            thread.start()
            thread.join()
            assert seen == [second.session]
        assert _user() is second.session


def test_dask_uses_a_current_client_that_is_no_default(cluster: LocalCluster) -> None:
    with Client(cluster, set_as_default=False) as client:
        pids = client.run(os.getpid).values()
        with client.as_current():
            assert delayed(tasks.pid)().compute() in pids
            seen: list[int] = []
            thread = threading.Thread(target=lambda: seen.append(delayed(tasks.pid)().compute()))
            thread.start()
            thread.join()
            assert seen == [os.getpid()]
        assert delayed(tasks.pid)().compute() == os.getpid()
        assert dask.config.get("scheduler", None) is None


def test_what_is_said_last_wins_of_a_current_client_and_a_scheduler(cluster: LocalCluster) -> None:
    with Client(cluster, set_as_default=False) as client, dask.config.set(scheduler="sync"):
        pids = client.run(os.getpid).values()
        with client.as_current():
            assert get_scheduler() == client.get
            assert delayed(tasks.pid)().compute() in pids
            with dask.config.set(scheduler="sync"):
                assert delayed(tasks.pid)().compute() == os.getpid()
                with client.as_current():
                    assert delayed(tasks.pid)().compute() in pids
                assert delayed(tasks.pid)().compute() == os.getpid()
            seen: list[object] = []
            thread = threading.Thread(target=lambda: seen.append(delayed(threading.get_ident)().compute()))
            thread.start()
            thread.join()
            assert seen == [thread.ident]
        assert dask.config.get("scheduler") == "sync"
    with Client(cluster) as client, dask.config.set(scheduler="threads"):
        with client.as_current():
            assert get_scheduler() == client.get
            dask.config.set(scheduler="sync")
        assert dask.config.get("scheduler") == "sync"


def test_dask_goes_on_without_a_default_client_that_was_lost(cluster: LocalCluster) -> None:
    client = Client(cluster)
    del client
    assert delayed(tasks.pid)().compute() == os.getpid()
    Client(cluster).close()
    assert dask.config.get("scheduler", None) is None


def test_a_task_of_a_cluster_of_threads_computes_there(cluster_of_threads: LocalCluster, cluster: LocalCluster) -> None:
    with Client(cluster_of_threads) as client, Client(cluster):
        assert client.submit(lambda: delayed(tasks.pid)().compute()).result() == os.getpid()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system knows no fork")
def test_a_forked_process_has_no_client(runtime_directory: object) -> None:
    """What waits there for the parent's event loop would wait forever."""
    program = (
        "import os\n"
        "from dask import delayed\n"
        "from windrow import Client\n"
        "client = Client(n_workers=1, threads_per_worker=1, dashboard_address=None)\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    try:\n"
        "        client.submit(abs, -1)\n"
        "    except Exception as error:\n"
        "        print('forked' in str(error), delayed(os.getpid)().compute() == os.getpid(), flush=True)\n"
        "    client.close()\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(client.submit(abs, -3).result(timeout=20))\n"
        "client.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=40, check=False)
    assert done.stdout.split() == ["True", "True", "3"], done.stderr
