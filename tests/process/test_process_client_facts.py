"""What a client says of itself, and the smaller forms of waiting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import process_tasks as tasks
import pytest

import windrow
from windrow import Client, LocalCluster, as_completed
from windrow.client.waiting import ALL_COMPLETED, FIRST_COMPLETED
from windrow.errors import FuturesCancelledError


def test_a_client_s_own_facts(cluster: LocalCluster) -> None:
    with Client(cluster, direct_to_workers=True, extensions={"mine": lambda client: [client.id]}) as client:
        assert client.direct_to_workers is True
        assert client.extensions == {"mine": [client.id]}
        assert client.scheduler_file is None
        assert client.preloads == []
        assert client.start() is None
        one = client.submit(tasks.inc, 1)
        two = client.submit(tasks.inc, 1)
        assert client.refcount == {one.key: 2}
        del two
        assert client.scheduler_comm.address == client.scheduler.address


def test_generation_counts_restarts(own_client: Client) -> None:
    assert own_client.generation == 0
    own_client.restart()
    assert own_client.generation == 1


def test_the_scheduler_file_that_was_given_is_known(cluster: LocalCluster, client: Client, tmp_path: Path) -> None:
    path = str(tmp_path / "scheduler.json")
    client.write_scheduler_file(path)
    with Client(scheduler_file=path) as other:
        assert other.scheduler_file == path
        assert other.submit(tasks.inc, 1).result() == 2


def test_the_configured_time_to_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    import dask

    with dask.config.set({"distributed.comm.timeouts.connect": "50 ms"}):
        with pytest.raises(OSError, match=r"0\.05 s"):
            Client("tcp://127.0.0.1:1", secret=b"x" * 32)


def test_ways_of_waiting(client: Client, tmp_path: Path) -> None:
    quick = client.submit(tasks.inc, 1)
    slow = client.submit(tasks.until_there, str(tmp_path / "go"))
    first = windrow.wait([quick, slow], return_when=FIRST_COMPLETED)
    assert (first.done, first.not_done) == ({quick}, {slow})
    with pytest.raises(windrow.TimeoutError):
        windrow.wait([quick, slow], timeout=0.01, return_when=ALL_COMPLETED)
    (tmp_path / "go").touch()
    assert windrow.wait([quick, slow]).done == {quick, slow}


def test_waiting_for_cancelled_futures_raises(client: Client, tmp_path: Path) -> None:
    slow = client.submit(tasks.until_there, str(tmp_path / "go"))
    slow.cancel()
    (tmp_path / "go").touch()
    with pytest.raises(FuturesCancelledError):
        windrow.wait([slow])


def test_as_completed_shows_what_it_has(client: Client, tmp_path: Path) -> None:
    slow = client.submit(tasks.until_there, str(tmp_path / "go"))
    quick = client.submit(tasks.inc, 1)
    iterator = as_completed([slow, slow, quick], with_results=True, raise_errors=False, loop=client.loop)
    assert (iterator.with_results, iterator.raise_errors, iterator.loop) == (True, False, client.loop)
    assert iterator.next() == (quick, 2)
    assert iterator.futures == {slow: 2}
    (tmp_path / "go").touch()
    slow.result()
    with iterator.lock:
        assert list(iterator.queue) == [slow, slow]
    assert len(list(iterator)) == 2


def test_a_collection_with_futures_for_what_is_held(client: Client) -> None:
    import dask

    part = dask.delayed(tasks.inc)(1)
    kept = client.persist(part)
    windrow.wait(kept)
    whole: Any = dask.delayed(tasks.inc)(part)
    normal = client.normalize_collection(whole)
    assert [future.key for future in windrow.futures_of(normal)] == [part.key]
    assert normal.compute() == 3
    assert client.normalize_collection(dask.delayed(tasks.inc)(5)).compute() == 6
