"""Futures inside of collections, and collections made of futures."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import collection_data as data
import collection_tasks as tasks
import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from collection_help import same, until
from dask import delayed
from dask.dataframe.utils import assert_eq
from dask.delayed import Delayed

from windrow import Client, Future, fire_and_forget, futures_of, wait


def _part(number: int) -> pd.DataFrame:
    return pd.DataFrame({"number": number, "square": np.arange(3) ** 2})


def test_a_delayed_call_of_futures(client: Client) -> None:
    one, two = client.map(tasks.inc, [0, 1])
    assert delayed(tasks.add)(one, two).compute() == 3
    assert client.compute(delayed(tasks.keywords)([one, {"a": two}], (two,), more=one), sync=True) == (
        ([1, {"a": 2}], (2,)),
        {"more": 1},
    )
    assert delayed(tasks.add)(delayed(tasks.inc)(one), two).compute() == 4
    assert delayed(one).compute() == 1


def test_a_delayed_call_of_futures_that_are_not_done(client: Client, tmp_path: Path) -> None:
    slow = client.submit(tasks.until_there, str(tmp_path / "go"), 5)
    later = client.compute(delayed(tasks.inc)(slow))
    del slow
    (tmp_path / "go").touch()
    assert later.result() == 6


def test_a_bag_of_futures(client: Client) -> None:
    bag = db.from_delayed(client.map(list, [range(3), range(4)]))
    assert bag.sum().compute() == 3 + 6
    mixed = db.from_delayed([client.submit(list, range(3)), delayed(list)("ab")])
    assert mixed.compute() == [0, 1, 2, "a", "b"]


def test_an_array_of_futures(client: Client) -> None:
    futures = client.map(np.full, [3, 3], [1.0, 2.0])
    blocks = [da.from_delayed(future, shape=(3,), dtype=float) for future in futures]
    x = da.concatenate(blocks) * 2
    assert x.sum().compute() == 18
    assert client.compute(x, sync=True).tolist() == [2, 2, 2, 4, 4, 4]
    mixed = da.stack([blocks[0], da.from_delayed(delayed(np.ones)(3), shape=(3,), dtype=float)])
    assert mixed.sum().compute() == 6


@pytest.mark.parametrize("meta", [True, False])
def test_a_table_of_futures(client: Client, meta: bool) -> None:
    futures = client.map(_part, range(4))
    table = dd.from_delayed(futures, meta=_part(0) if meta else None)
    expected = pd.concat([_part(number) for number in range(4)])
    same(table.compute(), expected)
    same(table.number.sum().compute(), expected.number.sum())
    assert_eq(table.groupby("square").number.sum(), expected.groupby("square").number.sum(), scheduler=client)
    one = dd.from_delayed(client.submit(_part, 9), meta=_part(0))
    same(one.compute(), _part(9))


def test_a_table_of_futures_and_delayed_calls(client: Client) -> None:
    parts: list[Any] = [client.submit(_part, 0), delayed(_part)(1)]
    same(dd.from_delayed(parts, meta=_part(0)).compute(), pd.concat([_part(0), _part(1)]))


def test_a_table_of_scattered_data(client: Client, words: pd.DataFrame) -> None:
    """Each part is larger than what rides along with messages."""
    parts = [words.iloc[start : start + 1000] for start in range(0, 3000, 1000)]
    table = dd.from_delayed(client.scatter(parts), meta=words.head(0))
    assert table.length.sum().compute() == words.head(3000).length.sum()
    merged = table.merge(dd.from_pandas(data.vocabulary(words), npartitions=2), on="word")
    assert len(merged) == 3000


def test_scattered_data_in_calls(client: Client) -> None:
    large = np.arange(300_000)
    future = client.scatter(large)
    assert list(dask.compute(*(delayed(np.sum)(future) for _ in range(4)))) == [large.sum()] * 4
    everywhere = client.scatter(large, broadcast=True)
    x = da.from_delayed(everywhere, shape=large.shape, dtype=large.dtype)
    assert x.rechunk(100_000).sum().compute() == large.sum()


def test_futures_as_values_of_a_graph(client: Client) -> None:
    future = client.submit(tasks.inc, 1)
    assert client.get({"x": future, "y": (tasks.inc, "x"), "z": (sum, [future, "y"])}, ["z", "y"]) == [5, 3]
    assert client.get({"same": (tasks.add, future, future)}, "same") == 4


def test_collections_made_of_held_ones(client: Client, tmp_path: Path) -> None:
    x = client.persist(da.arange(6, chunks=2).map_blocks(tasks.noted, str(tmp_path / "trace"), dtype=int))
    made = len(tasks.lines(tmp_path / "trace"))
    y = da.stack([x, x + 1]).sum(axis=0).rechunk(3)
    assert y.compute().tolist() == [1, 3, 5, 7, 9, 11]
    z = client.persist(y)
    del x, y
    assert (z * 10).max().compute() == 110
    assert delayed(tasks.add)(z.sum(), z[0]).compute() == 37
    until(lambda: len(tasks.lines(tmp_path / "trace")) <= made + 3, "nothing is made twice")


def test_parts_of_a_held_table_go_into_calls(client: Client) -> None:
    table = client.persist(dd.from_pandas(pd.DataFrame({"a": range(9)}), npartitions=3))
    sizes = [delayed(len)(part) for part in table.to_delayed()]
    assert delayed(sum)(sizes).compute() == 9
    futures = client.map(len, futures_of(table))
    assert client.gather(futures) == [3, 3, 3]


def test_a_collection_that_is_not_on_the_cluster_has_nothing_to_wait_for(client: Client) -> None:
    lazy = delayed(tasks.inc)(1)
    words = r"(fs|obj|futures) is a Delayed of which nothing is on the cluster: .*persist"
    for act in (wait, fire_and_forget, client.cancel, client.retry):
        with pytest.warns(UserWarning, match=words):
            act(lazy)
    with pytest.warns(UserWarning, match="fs holds an Array of which nothing is on the cluster") as told:
        assert wait([da.ones(3, chunks=1)]) == (set(), set())
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(wait(client.persist(lazy)).done) == 1
        assert wait([]) == (set(), set())


class _Marked(Future):
    """A program's own kind of future."""


def test_futures_of_another_class_are_found_in_collections(client: Client) -> None:
    plain = client.submit(tasks.inc, 1)
    future = _Marked.of(client, plain.entry)
    held = Delayed("x", {"x": future})
    assert futures_of(held) == [future]
    assert wait(held).done == {future}
    assert client.gather([future]) == [2]


def test_held_collections_travel(client: Client) -> None:
    """To a function they come as collections, to a delayed call as what they hold; copies do as well."""
    x = client.persist(da.arange(6, chunks=2))
    table = client.persist(dd.from_pandas(pd.DataFrame({"a": range(9)}), npartitions=3))
    wait([x, table])
    assert pickle.loads(pickle.dumps(x)).sum().compute() == copy.deepcopy(x).sum().compute() == 15
    assert pickle.loads(pickle.dumps(table)).a.sum().compute() == 36
    assert client.submit(_type_and_sum, x).result() == ("Array", 15)
    assert client.submit(_type_and_sum, table.a).result() == ("Series", 36)
    assert delayed(_type_and_sum)(x).compute() == ("ndarray", 15)


def _type_and_sum(thing: Any) -> tuple[str, int]:
    total = thing.sum()
    return type(thing).__name__, int(total.compute() if hasattr(total, "compute") else total)


def test_a_function_takes_the_future_of_a_computed_collection(client: Client) -> None:
    total = client.compute(da.arange(10, chunks=5).sum())
    assert client.submit(tasks.inc, total).result() == 46
    assert client.gather(client.map(tasks.add, [1, 2], [total, total])) == [46, 47]


def test_a_future_that_failed_fails_what_uses_it(client: Client) -> None:
    bad = client.submit(tasks.fail, 1)
    wait(bad)
    with pytest.raises(tasks.Oops, match="7"):
        delayed(tasks.inc)(bad).compute()
    with pytest.raises(tasks.Oops):
        da.from_delayed(bad, shape=(3,), dtype=float).sum().compute()


def test_with_threads_as_workers(client_of_threads: Client) -> None:
    one, two = client_of_threads.map(tasks.inc, [0, 1])
    assert delayed(tasks.add)(one, [two][0]).compute() == 3
    table = dd.from_delayed(client_of_threads.map(_part, range(3)), meta=_part(0))
    assert table.number.sum().compute() == 9
