"""Persisted collections: the same to look at, with a future in place of each part's graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import collection_tasks as tasks
import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from collection_help import cases, in_memory, same, until
from dask import delayed
from dask.core import flatten

from windrow import Client, Future, as_completed, futures_of, wait

KINDS: dict[str, Callable[[], Any]] = {
    "array": lambda: da.arange(12, chunks=5) + 1,
    "matrix": lambda: da.ones((6, 4), chunks=3) * 2,
    "bag": lambda: db.range(10, npartitions=3).map(tasks.inc),
    "bag_item": lambda: db.range(10, npartitions=3).sum(),
    "frame": lambda: dd.from_pandas(pd.DataFrame({"a": range(9), "b": list("abcabcabc")}), npartitions=3),
    "series": lambda: dd.from_pandas(pd.Series(range(9), name="n"), npartitions=3) + 1,
    "index": lambda: dd.from_pandas(pd.DataFrame({"a": range(9)}), npartitions=3).index,
    "scalar": lambda: dd.from_pandas(pd.Series(range(9)), npartitions=3).sum(),
    "delayed": lambda: delayed(tasks.inc)(1),
}


def _counted(trace: Path) -> da.Array:
    """An array of three chunks, which leaves a line in a file for each that is made."""
    return da.ones(6, chunks=2).map_blocks(tasks.noted, str(trace), dtype=float, meta=np.ones(0))


def _waiting(chunks: int, go: Path) -> da.Array:
    """An array of ones, whose chunks wait for a file."""

    def wait_there(block: np.ndarray) -> np.ndarray:
        return tasks.until_there(str(go), block)

    return da.ones(2 * chunks, chunks=2).map_blocks(wait_there, dtype=float, meta=np.ones(0))


@cases(KINDS)
def test_the_same_type_backed_by_futures(client: Client, build: Callable[[], Any]) -> None:
    x = build()
    held = client.persist(x)
    assert type(held) is type(x)
    futures = futures_of(held)
    assert len(futures) == len(list(flatten(held.__dask_keys__())))
    assert all(isinstance(future, Future) for future in futures)
    wait(held)
    assert {future.key for future in futures} <= in_memory(client)
    same(held.compute(), x.compute(scheduler="threads"))
    same(client.compute(held, sync=True), x.compute(scheduler="threads"))


def test_keys_and_metadata_stay(client: Client) -> None:
    x = da.arange(12, chunks=5) + 1
    held = client.persist(x)
    assert held.__dask_keys__() == x.__dask_keys__() == [(x.name, 0), (x.name, 1), (x.name, 2)]
    assert (held.name, held.chunks, held.dtype) == (x.name, x.chunks, x.dtype)
    table = dd.from_pandas(pd.DataFrame({"a": range(9)}, index=range(10, 19)), npartitions=3)
    kept = client.persist(table)
    assert (kept.divisions, list(kept.columns), kept.npartitions) == (table.divisions, ["a"], 3)
    assert client.persist(delayed(tasks.inc)(1, dask_key_name="mine")).key == "mine"


def test_it_returns_before_the_work_is_done(client: Client, tmp_path: Path) -> None:
    x = _waiting(2, tmp_path / "go")
    held = client.persist(x)
    assert [future.status for future in futures_of(held)] == ["pending", "pending"]
    later = client.compute(held.sum())
    (tmp_path / "go").touch()
    assert later.result() == 4


def test_computing_uses_what_is_held(client: Client, tmp_path: Path) -> None:
    held = client.persist(_counted(tmp_path / "trace"))
    assert held.sum().compute() == 6
    assert client.compute((held + 1).max(), sync=True) == 2
    again = client.persist(held * 2)
    assert again[1:3].compute().tolist() == [2, 2]
    assert len(tasks.lines(tmp_path / "trace")) == 3


def test_every_way_of_asking(client: Client, tmp_path: Path) -> None:
    x = _counted(tmp_path / "trace")
    one = x.persist()
    two, three = dask.persist(x, x + 1)
    (four,) = client.persist([x])
    five, number = dask.persist({"a": [x]}, 5)
    assert all(len(futures_of(held)) == 3 for held in (one, two, three, four, five["a"][0]))
    assert number == 5
    assert isinstance(client.persist((x,)), list)
    assert dask.compute(one.sum(), two.sum(), three.sum(), four.sum(), five["a"][0].sum()) == (6, 6, 12, 6, 6)


def test_what_several_share_runs_once(client: Client, tmp_path: Path) -> None:
    x = _counted(tmp_path / "trace")
    total, largest = client.persist([x.sum(), x.max()])
    assert dask.compute(total, largest) == (6, 1)
    assert len(tasks.lines(tmp_path / "trace")) == 3


def test_persisting_again_changes_nothing(client: Client, tmp_path: Path) -> None:
    x = _counted(tmp_path / "trace")
    held = client.persist(x)
    again = client.persist(held)
    other = client.persist(x)
    assert {future.key for future in futures_of([held, again, other])} == set(flatten(x.__dask_keys__()))
    wait([held, again, other])
    assert len(tasks.lines(tmp_path / "trace")) == 3


def test_a_graph_that_is_not_optimized(client: Client) -> None:
    x = (da.ones(6, chunks=2) + 1) * 2
    held = client.persist(x, optimize_graph=False)
    assert set(flatten(held.__dask_keys__())) == {future.key for future in futures_of(held)}
    assert held.sum().compute(optimize_graph=False) == 24


def test_wait_and_as_completed(client: Client, tmp_path: Path) -> None:
    held = client.persist(_counted(tmp_path / "trace"))
    done, not_done = wait(held)
    assert (len(done), len(not_done)) == (3, 0)
    assert len(tasks.lines(tmp_path / "trace")) == 3
    blocks = [future.result() for future in as_completed(futures_of(held))]
    assert np.concatenate(blocks).tolist() == [1] * 6


def test_futures_of_nested_things(client: Client) -> None:
    x = client.persist(da.ones(4, chunks=2))
    future = client.submit(tasks.inc, 1)
    found = futures_of([{"x": x}, (future, 5)])
    assert {one.key for one in found} == {(x.name, 0), (x.name, 1), future.key}
    assert futures_of(da.ones(4, chunks=2)) == []
    assert len(client.futures_of(x)) == 2


@cases(KINDS)
def test_a_deleted_collection_frees_memory(client: Client, build: Callable[[], Any]) -> None:
    held = client.persist(build())
    wait(held)
    keys = {future.key for future in futures_of(held)}
    assert keys <= in_memory(client)
    del held
    until(lambda: not keys & set(client.who_has()), "what the collection held is forgotten")


def test_parts_outlive_the_whole(client: Client) -> None:
    held = client.persist(da.arange(6, chunks=2))
    part = held[:3]
    name = held.name
    wait(held)
    del held
    assert part.compute().tolist() == [0, 1, 2]
    del part
    until(lambda: not any(key[0] == name for key in client.who_has()), "nothing is left")


def test_intermediate_results_are_freed(client: Client) -> None:
    x = da.ones((40, 40), chunks=10)
    held = client.persist((x @ x.T).sum(axis=0))
    wait(held)
    until(lambda: in_memory(client) == set(flatten(held.__dask_keys__())), "only the parts of the result are held")


def test_cancel(client: Client, tmp_path: Path) -> None:
    x = _waiting(4, tmp_path / "go")
    held = client.persist(x)
    later = client.compute(held.sum())
    client.cancel(held)
    assert {future.status for future in futures_of(held)} == {"cancelled"}
    until(later.cancelled, "what needs them is cancelled too")
    (tmp_path / "go").touch()
    assert da.ones(3, chunks=1).sum().compute() == 3


def test_retry(client: Client, tmp_path: Path) -> None:
    path = str(tmp_path / "count")
    held = client.persist(delayed(tasks.inc)(delayed(tasks.fail_until)(path, 1)))
    wait(held)
    assert [future.status for future in futures_of(held)] == ["error"]
    client.retry(futures_of(held))
    assert held.compute() == 3


def test_gather_takes_the_parts(client: Client) -> None:
    held = client.persist(da.arange(6, chunks=2))
    blocks = client.gather(futures_of(held))
    assert sorted(block.tolist() for block in blocks) == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("build", [KINDS["array"], KINDS["frame"], KINDS["delayed"]], ids=["array", "frame", "delayed"])
def test_with_threads_as_workers(client_of_threads: Client, build: Callable[[], Any]) -> None:
    x = build()
    held = client_of_threads.persist(x)
    wait(held)
    same(held.compute(), x.compute(scheduler="threads"))


def test_a_table_that_is_used_in_many_ways(client: Client, csv_files: str) -> None:
    """What people write: read once, hold, look at it from many sides."""
    held = dd.read_csv(csv_files, keep_default_na=False).persist()
    lengths = held.groupby("module").length.mean().compute()
    joined = held.merge(lengths.rename("mean").reset_index(), on="module")
    assert len(joined) == len(held)
    held = held[held.length > 3].persist()
    frame = held.compute()
    assert frame.length.min() == 4
    assert held.word.nunique().compute() == frame.word.nunique()
    assert held.set_index("word").loc["self"].line.count().compute() == (frame.word == "self").sum()
