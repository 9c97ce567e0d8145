"""`dask.annotate`, and the same said to `Client.compute` and its like, take effect."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import collection_tasks as tasks
import dask
import dask.array as da
import dask.bag as db
import numpy as np
import pytest
from collection_help import until
from dask import delayed

from windrow import Client, LocalCluster, futures_of, get_worker, wait


def _pids(x: Any) -> set[int]:
    return set(np.unique(x))


def _array_of_pids(chunks: int) -> da.Array:
    """Each chunk says which process has made it."""
    return da.zeros(2 * chunks, chunks=2, dtype=int).map_blocks(lambda block: block + tasks.pid(), dtype=int)


def _address() -> str:
    return str(get_worker().address)


@pytest.fixture
def resourceful() -> Iterator[Client]:
    """A cluster of one worker of four threads that has two of something."""
    options: dict[str, Any] = {"processes": False, "resources": {"SLOT": 2}, "dashboard_address": None}
    with LocalCluster(n_workers=1, threads_per_worker=4, **options) as cluster, Client(cluster) as client:
        yield client


# ---------------------------------------------------------------- workers


def test_workers(client: Client, addresses: dict[int, str]) -> None:
    for chunks, (pid, address) in enumerate(addresses.items(), 4):
        with dask.annotate(workers=address):
            calls = [delayed(tasks.pid)() for _ in range(6)]
            numbers = db.range(8, npartitions=4).map(tasks.pid)
            x = _array_of_pids(chunks)
            here = delayed(_address)()
        assert set(dask.compute(*calls)) == {pid}
        assert here.compute() == address
        assert set(client.compute(numbers, sync=True, optimize_graph=False)) == {pid}
        assert _pids(x.compute(optimize_graph=False)) == {pid}
        held = client.persist(x, optimize_graph=False)
        wait(held)
        assert {holder for holders in client.who_has(futures_of(held)).values() for holder in holders} == {address}


def test_parts_of_a_graph_on_different_workers(client: Client, addresses: dict[int, str]) -> None:
    first, second = addresses
    with dask.annotate(workers=[addresses[first]]):
        here = [delayed(tasks.pid)() for _ in range(4)]
    with dask.annotate(workers=[addresses[second]]):
        there = [delayed(tasks.pid)(here) for _ in range(4)]
    both = client.compute([here, there], sync=True, optimize_graph=False)
    assert both == [[first] * 4, [second] * 4]


@pytest.mark.parametrize("method", ["compute", "persist", "get"])
def test_workers_as_an_argument(client: Client, addresses: dict[int, str], method: str) -> None:
    pid, address = addresses.popitem()
    calls = [delayed(tasks.pid)(dask_key_name=("pid", number)) for number in range(6)]
    if method == "get":
        graph = {("pid", number): (tasks.pid,) for number in range(6)}
        assert client.get(graph, list(graph), workers=[address]) == [pid] * 6
    elif method == "compute":
        assert client.compute(calls, workers=address, sync=True) == [pid] * 6
    else:
        assert list(dask.compute(*client.persist(calls, workers=[address]))) == [pid] * 6


def test_annotations_around_the_call(client: Client, addresses: dict[int, str], tmp_path: Path) -> None:
    """What is said where the call is made is for all of its tasks, and an argument of the call wins over it."""
    first, second = addresses
    calls = [delayed(tasks.pid)() for _ in range(6)]
    with dask.annotate(workers=[addresses[first]], retries=1):
        assert set(dask.compute(*calls)) == {first}
        assert client.compute(delayed(tasks.fail_until)(str(tmp_path / "compute"), 1), sync=True) == 2
        assert client.persist(_array_of_pids(5), optimize_graph=False).min().compute() == first
        assert client.get({"x": (tasks.pid,)}, "x") == first
        assert set(client.compute(calls, workers=[addresses[second]], sync=True)) == {second}


def test_workers_that_are_not_there(client: Client, addresses: dict[int, str]) -> None:
    with dask.annotate(workers=["tcp://127.0.0.1:9"]):
        waits = client.compute(delayed(tasks.pid)())
    with dask.annotate(workers=["tcp://127.0.0.1:9"], allow_other_workers=True):
        goes = client.compute(delayed(tasks.pid)(1))
    assert goes.result() in addresses
    assert waits.status == "pending"
    client.cancel(waits)


# ---------------------------------------------------------------- retries


def _fail_until(block: np.ndarray, path: str, times: int) -> np.ndarray:
    return block * tasks.fail_until(path, times)


def test_retries(client: Client, tmp_path: Path) -> None:
    with dask.annotate(retries=2):
        call = delayed(tasks.fail_until)(str(tmp_path / "enough"), 2)
        x = da.ones(2, chunks=2).map_blocks(_fail_until, str(tmp_path / "blocks"), 2, dtype=float, meta=np.ones(0))
    assert call.compute() == 3
    assert x.compute(optimize_graph=False).tolist() == [3, 3]
    with dask.annotate(retries=1):
        call = delayed(tasks.fail_until)(str(tmp_path / "too few"), 2)
    with pytest.raises(tasks.Oops):
        call.compute()


def test_retries_as_an_argument(client: Client, tmp_path: Path) -> None:
    call = delayed(tasks.inc)(delayed(tasks.fail_until)(str(tmp_path / "compute"), 1))
    assert client.compute(call, retries=1, sync=True) == 3
    held = client.persist(delayed(tasks.fail_until)(str(tmp_path / "persist"), 1), retries=1)
    assert held.compute() == 2
    assert client.get({"x": (tasks.fail_until, str(tmp_path / "get"), 1)}, "x", retries=1) == 2
    with pytest.raises(tasks.Oops):
        delayed(tasks.fail_until)(str(tmp_path / "none"), 1).compute()


# ---------------------------------------------------------------- priority


def test_priority(client: Client, addresses: dict[int, str], tmp_path: Path) -> None:
    """One thread runs them all; those said first are of lower priority."""
    path = str(tmp_path / "order")
    with dask.annotate(workers=list(addresses.values())[:1]):
        with dask.annotate(priority=-5):
            low = [delayed(tasks.note)(path, f"low {number}") for number in range(8)]
        with dask.annotate(priority=5):
            high = [delayed(tasks.note)(path, f"high {number}") for number in range(8)]
    dask.compute(low, high, optimize_graph=False)
    assert [line.split()[0] for line in tasks.lines(tmp_path / "order")] == ["high"] * 8 + ["low"] * 8


def test_priority_as_an_argument(client: Client, addresses: dict[int, str], tmp_path: Path) -> None:
    """Both workers are busy while calls are submitted of which few are sent to them ahead of time."""
    path, started, go = (str(tmp_path / name) for name in ("order", "started", "go"))
    delayed(tasks.note_slowly)(str(tmp_path / "how long it takes"), "is known").compute()
    busy = [client.submit(tasks.announce_and_wait, pid, started, go, workers=[addresses[pid]]) for pid in addresses]
    until(lambda: len(tasks.lines(tmp_path / "started")) == 2, "both are busy")
    low = client.compute([delayed(tasks.note_slowly)(path, f"low {number}") for number in range(30)], priority=-1)
    high = client.compute([delayed(tasks.note_slowly)(path, f"high {number}") for number in range(6)], priority=1)
    client.who_has()  # answered after all that was sent before
    (tmp_path / "go").touch()
    client.gather([*busy, *low, *high])
    order = [line.split()[0] for line in tasks.lines(tmp_path / "order")]
    assert "high" not in order[20:]


# ---------------------------------------------------------------- resources


def test_resources(resourceful: Client, tmp_path: Path) -> None:
    """Four threads, and two of what each call takes: never more than two run at once."""
    path = str(tmp_path / "steps")
    with dask.annotate(resources={"SLOT": 1}):
        calls = [delayed(_enter_and_leave)(path, number) for number in range(8)]
    assert list(dask.compute(*calls)) == list(range(8))
    assert max(_inside(tmp_path / "steps")) == 2


def test_resources_as_an_argument(resourceful: Client, tmp_path: Path) -> None:
    calls = [delayed(_enter_and_leave)(str(tmp_path / "steps"), number) for number in range(4)]
    futures = resourceful.compute(calls, resources={"SLOT": 2})
    assert resourceful.gather(futures) == list(range(4))
    assert max(_inside(tmp_path / "steps")) == 1


def _enter_and_leave(path: str, number: int) -> int:
    """Stay until three are inside, or for a moment."""
    tasks.note(path, "in")
    end = time.monotonic() + 0.03
    while _inside(Path(path))[-1] < 3 and time.monotonic() < end:
        time.sleep(tasks.POLL_S)
    tasks.note(path, "out")
    return number


def _inside(path: Path) -> list[int]:
    """Return how many were inside after each step."""
    return list(itertools.accumulate(1 if line == "in" else -1 for line in tasks.lines(path)))


def test_resources_that_nobody_has(client: Client) -> None:
    with dask.annotate(resources={"UNHEARD OF": 1}):
        waits = client.compute(delayed(tasks.inc)(1))
    assert dask.compute(*(delayed(tasks.inc)(number) for number in range(10))) == tuple(range(1, 11))
    assert waits.status == "pending"
    client.cancel(waits)
    until(waits.cancelled)


# ---------------------------------------------------------------- others


def test_annotations_nobody_knows_do_no_harm(client: Client) -> None:
    with dask.annotate(flavour="vanilla", rank=[1, {"a": 2}]):
        assert delayed(tasks.inc)(1).compute() == 2
        assert (da.ones(4, chunks=2) + 1).sum().compute() == 8


@pytest.mark.parametrize(
    "wrong",
    [{"workers": 1.5}, {"retries": "many"}, {"priority": "high"}, {"resources": 3}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_wrong_arguments_are_refused_at_the_call(client: Client, wrong: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
        client.compute(delayed(tasks.inc)(1), **wrong)
    assert client.compute(delayed(tasks.inc)(1), sync=True) == 2
