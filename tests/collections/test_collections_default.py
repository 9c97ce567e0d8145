"""An open client is what Dask computes on, and a closed one leaves Dask as it was."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import collection_tasks as tasks
import dask
import dask.array as da
import dask.dataframe as dd
import pandas as pd
import pytest
from collection_data import vocabulary
from dask import delayed
from dask.base import get_scheduler

from windrow import Client, LocalCluster, default_client


@pytest.fixture(autouse=True)
def nothing_set() -> Iterator[None]:
    """Each test begins and ends without a scheduler in Dask's configuration."""
    assert dask.config.get("scheduler", None) is None
    yield
    assert dask.config.get("scheduler", None) is None


def _user(cluster: LocalCluster) -> object:
    """Return the client that Dask would compute on, or None."""
    get = get_scheduler()
    client = getattr(get, "__self__", None)
    return None if client is None else client.id


def test_an_open_client_is_the_default(cluster: LocalCluster) -> None:
    assert _user(cluster) is None
    with Client(cluster) as client:
        assert _user(cluster) == client.id
        assert default_client() is client
        assert delayed(tasks.pid)().compute() in client.run(tasks.pid).values()
    assert _user(cluster) is None
    assert delayed(tasks.pid)().compute() == tasks.pid()


def test_closing_twice_restores_once(cluster: LocalCluster) -> None:
    client = Client(cluster)
    client.close()
    with dask.config.set(scheduler="sync"):
        client.close()
        assert dask.config.get("scheduler") == "sync"


def test_a_client_that_is_not_to_be_the_default(cluster: LocalCluster) -> None:
    with Client(cluster, set_as_default=False) as client:
        assert _user(cluster) is None
        with pytest.raises(ValueError):
            default_client()
        assert delayed(tasks.pid)().compute() == tasks.pid()
        pids = set(client.run(tasks.pid).values())
        assert client.compute(delayed(tasks.pid)(), sync=True) in pids
        assert delayed(tasks.pid)().compute(scheduler=client) in pids
        with dask.config.set(scheduler=client):
            assert delayed(tasks.pid)().compute() in pids
        held = client.persist(da.ones(4, chunks=2))
        assert client.compute(held.sum(), sync=True) == 4


def test_nested_clients(cluster: LocalCluster) -> None:
    with Client(cluster) as outer:
        with Client(cluster) as inner:
            assert _user(cluster) == inner.id
        assert _user(cluster) == outer.id
        assert delayed(tasks.inc)(1).compute() == 2


def test_clients_that_close_in_the_order_in_which_they_opened(cluster: LocalCluster) -> None:
    first, second, third = Client(cluster), Client(cluster), Client(cluster)
    assert _user(cluster) == third.id
    second.close()
    assert _user(cluster) == third.id
    first.close()
    assert delayed(tasks.inc)(1).compute() == 2
    third.close()
    assert _user(cluster) is None


def test_a_setting_made_before_comes_back(cluster: LocalCluster) -> None:
    with dask.config.set(scheduler="sync"):
        with Client(cluster) as client:
            assert _user(cluster) == client.id
            with Client(cluster) as inner:
                assert _user(cluster) == inner.id
        assert dask.config.get("scheduler") == "sync"
    assert dask.config.get("scheduler", None) is None


def test_a_setting_made_meanwhile_wins_while_it_lasts(cluster: LocalCluster) -> None:
    with Client(cluster) as client:
        with dask.config.set(scheduler="threads"):
            assert delayed(tasks.pid)().compute() == tasks.pid()
        assert _user(cluster) == client.id
        assert delayed(tasks.pid)().compute() in client.run(tasks.pid).values()


def test_a_setting_made_meanwhile_outlives_the_client(cluster: LocalCluster) -> None:
    with dask.config.set(scheduler=None):
        with Client(cluster):
            dask.config.set(scheduler="sync")
        assert dask.config.get("scheduler") == "sync"


def test_a_scheduler_named_at_the_call_wins(client: Client) -> None:
    assert delayed(tasks.pid)().compute(scheduler="sync") == tasks.pid()
    assert dask.compute(delayed(tasks.pid)(), scheduler="threads") == (tasks.pid(),)


def test_the_current_client_wins_over_the_newest(cluster: LocalCluster) -> None:
    with Client(cluster) as first, Client(cluster) as second:
        assert default_client() is second
        with first.as_current():
            assert default_client() is first
        assert default_client() is second


def test_a_client_that_nobody_holds_any_more(cluster: LocalCluster) -> None:
    """Dask's configuration must not keep it, nor compute on one that is closed."""
    client = Client(cluster)
    client.close()
    del client
    assert delayed(tasks.inc)(1).compute() == 2


def test_tables_are_shuffled_in_a_way_that_works_between_processes(cluster: LocalCluster, words: pd.DataFrame) -> None:
    """Also by a client that is not the default, and with nothing configured."""
    left = dd.from_pandas(words.head(1000), npartitions=4)
    joined = left.merge(dd.from_pandas(vocabulary(words), npartitions=3), on="word")
    with Client(cluster, set_as_default=False) as client:
        got = client.compute(joined, sync=True)
    expected = words.head(1000).merge(vocabulary(words), on="word")
    assert sorted(got.itertuples(index=False, name=None)) == sorted(expected.itertuples(index=False, name=None))


def test_the_shuffle_of_the_user_s_choice_is_left_alone(cluster: LocalCluster) -> None:
    with dask.config.set({"dataframe.shuffle.method": "tasks"}):
        with Client(cluster):
            assert dask.config.get("dataframe.shuffle.method") == "tasks"
        assert dask.config.get("dataframe.shuffle.method") == "tasks"
    before = dask.config.get("dataframe.shuffle.method", None)
    with Client(cluster):
        pass
    assert dask.config.get("dataframe.shuffle.method", None) == before


def test_dask_that_is_imported_after_the_client(runtime_directory: object) -> None:
    program = (
        "import os, sys\n"
        "from windrow import Client\n"
        "if __name__ == '__main__':\n"
        "    with Client(n_workers=1, threads_per_worker=1, dashboard_address=None) as client:\n"
        "        import dask.array as da\n"
        "        from dask import delayed\n"
        "        print(delayed(os.getpid)().compute() in client.run(os.getpid).values())\n"
        "        print(da.ones(10, chunks=3).persist().sum().compute())\n"
        "    print(delayed(os.getpid)().compute() == os.getpid())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.split() == ["True", "10.0", "True"], done.stderr
