"""Errors in the middle of graphs, calls that compute inside of tasks, and workers that die."""

from __future__ import annotations

import gc
import os
import signal
import threading
import traceback
from pathlib import Path

import collection_data as data
import collection_tasks as tasks
import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import psutil
import pytest
from collection_help import until
from dask import delayed

from windrow import Client, PickleError, futures_of, get_client, wait, worker_client

# ---------------------------------------------------------------- errors


def _broken_array() -> da.Array:
    """One of its four blocks raises; before and after it there are other tasks."""
    return (da.arange(8, chunks=2) + 1).map_blocks(_fail_at, 5, dtype=int, meta=np.ones(0, int)) * 2


def _fail_at(block: np.ndarray, number: int) -> np.ndarray:
    return tasks.fail(block) if number in block else block


def _check(error: tasks.Oops) -> None:
    assert type(error) is tasks.Oops
    assert (error.number, error.args) == (7, (7,))
    assert error.why.startswith("deeper down with")
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names[-2:] == ["fail", "_deeper"]


def test_an_error_arrives_with_type_facts_and_traceback(client: Client) -> None:
    x = _broken_array()
    with pytest.raises(tasks.Oops) as by_dask:
        x.sum().compute()
    _check(by_dask.value)
    future = client.compute(x.sum())
    with pytest.raises(tasks.Oops) as by_future:
        future.result()
    _check(by_future.value)
    assert future.status == "error"
    error = future.exception()
    assert isinstance(error, tasks.Oops)
    assert [frame.name for frame in traceback.extract_tb(future.traceback())][-1] == "_deeper"
    with pytest.raises(tasks.Oops):
        client.get({"a": (tasks.fail, 1), "b": (tasks.inc, "a")}, ["b"])


def test_an_error_in_every_kind_of_collection(client: Client, words: pd.DataFrame) -> None:
    bag = db.from_sequence([1, 2, 3], npartitions=3).map(tasks.fail).map(tasks.inc)
    table = dd.from_pandas(words.head(100), npartitions=3).map_partitions(tasks.fail, meta=words.head(0))
    for x in (bag, bag.sum(), table, table.groupby("word").line.sum(), delayed(tasks.inc)(delayed(tasks.fail)(1))):
        with pytest.raises(tasks.Oops) as caught:
            x.compute()
        _check(caught.value)


def test_the_cause_of_an_error_arrives(client: Client) -> None:
    with pytest.raises(ValueError, match="outer") as caught:
        delayed(tasks.fail_with_cause)("outer").compute()
    assert isinstance(caught.value.__cause__, KeyError)


def test_an_error_spoils_only_what_needs_it(client: Client) -> None:
    x = client.persist(_broken_array())
    wait(x)
    assert [future.status for future in futures_of(x)].count("error") == 1
    assert x[:2].compute().tolist() == [2, 4]
    assert x[6:].sum().compute() == 2 * (7 + 8)
    with pytest.raises(tasks.Oops):
        x.sum().compute()
    good, bad = client.compute([delayed(tasks.inc)(1), delayed(tasks.fail)(1)])
    assert client.gather([good, bad], errors="skip") == [2]


def test_what_failed_can_be_computed_again(client: Client, tmp_path: Path) -> None:
    x = delayed(tasks.inc)(delayed(tasks.fail_until)(str(tmp_path / "count"), 1))
    with pytest.raises(tasks.Oops):
        x.compute()
    until(lambda: not client.who_has(), "the error is forgotten")
    assert x.compute() == 3


def test_an_error_that_is_done_with_holds_nothing(client: Client) -> None:
    """Neither futures nor results wait for the cyclic collector, which a large graph can keep waiting for long."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(2):
            with pytest.raises(tasks.Oops):
                delayed(tasks.inc)(delayed(tasks.fail)(1)).compute()
        until(lambda: not client.futures, "the futures are released", limit_s=3, collect=False)
        client.submit(tasks.inc, 1).result()
        until(lambda: not client.futures, "the future is released", limit_s=3, collect=False)
    finally:
        gc.enable()


def test_what_cannot_be_pickled_is_named(client: Client) -> None:
    with pytest.raises(PickleError, match="generator") as caught:
        delayed(tasks.inc)(tasks.Sealed(), dask_key_name="the-sealed-one").compute()
    assert "the-sealed-one" in str(caught.value)
    with pytest.raises(PickleError, match="generator"):
        delayed(tasks.make_sealed)(1).compute()
    assert delayed(tasks.inc)(1).compute() == 2


def test_a_held_error_fails_what_is_computed_on_it(client: Client, tmp_path: Path) -> None:
    x = client.persist(delayed(tasks.fail)(1))
    wait(x)
    with pytest.raises(tasks.Oops):
        delayed(tasks.noted)(x, str(tmp_path / "trace")).compute()
    assert tasks.lines(tmp_path / "trace") == []


def test_cancelling_a_future_of_a_collection(client: Client, tmp_path: Path) -> None:
    go = str(tmp_path / "go")
    future = client.compute(delayed(tasks.inc)(delayed(tasks.until_there)(go, 1)))
    other = client.compute(delayed(tasks.double)(4))
    client.cancel(future)
    assert future.cancelled()
    assert other.result() == 8
    (tmp_path / "go").touch()


def test_an_interrupt_leaves_the_client_usable(client: Client, tmp_path: Path) -> None:
    """Ctrl-C while Dask waits: the wait ends, and the work is given up."""
    call = delayed(tasks.announce_and_wait)(1, str(tmp_path / "started"), str(tmp_path / "go"))
    threading.Thread(target=_interrupt_when_there, args=(tmp_path / "started",)).start()
    with pytest.raises(KeyboardInterrupt):
        delayed(tasks.inc)(call).compute()
    (tmp_path / "go").touch()
    assert delayed(tasks.inc)(1).compute() == 2


def _interrupt_when_there(path: Path) -> None:
    until(path.exists)
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


# ---------------------------------------------------------------- collections inside of tasks


def _by_client(n: int) -> int:
    client = get_client()
    x = da.arange(n, chunks=5)
    return int(client.compute(x.sum()).result())


def _by_worker_client(n: int) -> int:
    with worker_client() as client:
        return int(client.compute(da.arange(n, chunks=5).sum(), sync=True))


def _by_persist(n: int) -> int:
    x = da.arange(n, chunks=5).persist()
    return int(x.sum().compute())


@pytest.mark.parametrize(
    "function",
    [tasks.total_of_squares, _by_client, _by_worker_client, _by_persist],
    ids=["compute", "get_client", "worker_client", "persist"],
)
@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_tasks_that_compute_collections(request: pytest.FixtureRequest, kind: str, function: object) -> None:
    """More of them than there are threads, each of which waits for tasks of its own."""
    client = request.getfixturevalue("client" if kind == "processes" else "client_of_threads")
    sizes = [10, 20, 30, 40, 50, 60]
    expected = [sum(n**2 if function is tasks.total_of_squares else n for n in range(size)) for size in sizes]
    assert client.gather(client.map(function, sizes)) == expected
    assert list(dask.compute(*(delayed(function)(size) for size in sizes))) == expected


@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_tasks_that_compute_tasks_that_compute(request: pytest.FixtureRequest, kind: str) -> None:
    client = request.getfixturevalue("client" if kind == "processes" else "client_of_threads")
    assert client.submit(tasks.nested, 4).result() == 16
    assert delayed(tasks.nested)(3).compute() == 8


def test_an_error_inside_of_a_nested_computation(client: Client) -> None:
    def compute_inside() -> int:
        return int(delayed(tasks.fail)(1).compute())

    with pytest.raises(tasks.Oops):
        delayed(compute_inside)().compute()
    assert client.submit(tasks.total_of_squares, 4).result() == 14


# ---------------------------------------------------------------- workers that die


def _shuffled(words: pd.DataFrame, started: Path, go: Path) -> dd.DataFrame:
    """Join two tables; the first task after the shuffle waits for a file, once."""
    left = dd.from_pandas(words.head(2000), npartitions=8)
    right = dd.from_pandas(data.vocabulary(words.head(2000)), npartitions=4)
    joined = left.shuffle("word", npartitions=6).map_partitions(
        tasks.announce_and_wait, str(started), str(go), meta=left._meta
    )
    return joined.merge(right, on="word")


@pytest.mark.parametrize("victim", ["the one that waits", "the other"])
def test_a_worker_that_is_killed_in_the_middle_of_a_shuffle(
    own_client: Client, words: pd.DataFrame, tmp_path: Path, victim: str
) -> None:
    """Its parts of the shuffle are made again, and the result is right."""
    started, go = tmp_path / "started", tmp_path / "go"
    pids = set(own_client.run(os.getpid).values())
    future = own_client.compute(_shuffled(words, started, go))
    until(lambda: tasks.lines(started), "a part of the shuffle is done")
    waiting = int(tasks.lines(started)[0])
    pid = waiting if victim == "the one that waits" else (pids - {waiting}).pop()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    go.touch()
    expected = words.head(2000).merge(data.vocabulary(words.head(2000)), on="word")
    got = future.result(timeout=30)
    assert sorted(got.itertuples(index=False, name=None)) == sorted(expected.itertuples(index=False, name=None))


def test_held_parts_that_die_with_their_worker_are_made_again(own_client: Client, tmp_path: Path) -> None:
    x = da.ones((200_000,), chunks=20_000).map_blocks(
        tasks.noted, str(tmp_path / "trace"), dtype=float, meta=np.ones(0)
    )
    held = own_client.persist(x)
    wait(held)
    assert len(tasks.lines(tmp_path / "trace")) == 10
    pid = next(iter(own_client.run(os.getpid).values()))
    os.kill(pid, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    assert (held * 2).sum().compute() == 400_000
    assert 10 < len(tasks.lines(tmp_path / "trace")) <= 20
