"""What `Client.compute` and `Client.get` take, and what they give back."""

from __future__ import annotations

import operator
import os
import threading
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
from collection_help import same, until
from dask import delayed
from dask._task_spec import List, Task, TaskRef
from dask.highlevelgraph import HighLevelGraph

from windrow import Client, Future, as_completed, wait

inc = delayed(tasks.inc)


# ---------------------------------------------------------------- compute


def test_one_collection_gives_a_future(client: Client) -> None:
    future = client.compute(inc(1))
    assert isinstance(future, Future)
    assert future.result() == 2
    assert client.compute(da.arange(10, chunks=3)).result().tolist() == list(range(10))
    assert client.compute(db.range(5, npartitions=2)).result() == list(range(5))


def test_it_returns_before_the_work_is_done(client: Client, tmp_path: Path) -> None:
    future = client.compute(delayed(tasks.until_there)(str(tmp_path / "go"), 5))
    assert not future.done()
    (tmp_path / "go").touch()
    assert future.result() == 5


@pytest.mark.parametrize("kind", [list, tuple])
def test_several_collections_give_a_list_of_futures(client: Client, kind: Callable[..., Any]) -> None:
    frame = pd.DataFrame({"a": range(6)})
    futures = client.compute(kind([inc(1), da.ones(4, chunks=2).sum(), dd.from_pandas(frame, npartitions=2)]))
    assert isinstance(futures, list)
    assert all(isinstance(future, Future) for future in futures)
    one, four, table = client.gather(futures)
    assert (one, four) == (2, 4.0)
    same(table, frame)


def test_a_set_of_collections_gives_a_list(client: Client) -> None:
    futures = client.compute({inc(1), inc(10)})
    assert isinstance(futures, list)
    assert sorted(client.gather(futures)) == [2, 11]
    assert client.compute([]) == []


def test_other_things_pass_through(client: Client) -> None:
    future = client.submit(tasks.inc, 5)
    made = client.compute([1, inc(1), "text", None, future])
    assert made[:1] + made[2:] == [1, "text", None, future]
    assert made[1].result() == 2
    assert client.compute(5) == 5
    assert client.compute([5, "x"], sync=True) == [5, "x"]


def test_sync_gives_results(client: Client) -> None:
    assert client.compute(inc(1), sync=True) == 2
    assert client.compute([inc(1), 7, inc(2)], sync=True) == [2, 7, 3]


def test_containers_are_computed_whole(client: Client) -> None:
    futures = client.compute([{"a": inc(1), "b": [inc(2), (inc(3), 5)]}, [inc(4)], (inc(5),), {1, 2}])
    assert all(isinstance(future, Future) for future in futures)
    assert client.gather(futures) == [{"a": 2, "b": [3, (4, 5)]}, [5], (6,), {1, 2}]
    assert client.compute({"a": inc(1)}, sync=True) == {"a": 2}


def test_containers_that_are_not_traversed_pass_through(client: Client) -> None:
    box = {"a": inc(1)}
    assert client.compute([box, inc(2)], traverse=False)[0] is box


def test_the_same_collection_has_one_key_and_runs_once(client: Client, tmp_path: Path) -> None:
    x = delayed(tasks.noted)(5, str(tmp_path / "trace"))
    first, again = client.compute(x), client.compute(x)
    twice = client.compute([x, x])
    assert {first.key, again.key, *(future.key for future in twice)} == {first.key}
    assert client.gather([first, again, *twice]) == [5] * 4
    assert len(tasks.lines(tmp_path / "trace")) == 1


def test_a_delayed_call_keeps_its_key(client: Client) -> None:
    x = inc(1, dask_key_name="my-key")
    assert client.compute(x).key == "my-key"
    assert client.compute(inc(2, dask_key_name=("my", 2)), optimize_graph=False).key == ("my", 2)


def test_what_two_collections_share_runs_once(client: Client, tmp_path: Path) -> None:
    x = da.ones(6, chunks=2).map_blocks(tasks.noted, str(tmp_path / "trace"), dtype=float, meta=np.ones(0))
    total, largest = client.gather(client.compute([x.sum(), x.max()]))
    assert (total, largest) == (6, 1)
    assert len(tasks.lines(tmp_path / "trace")) == 3


def test_a_held_result_is_used(client: Client, tmp_path: Path) -> None:
    x = delayed(tasks.noted)(5, str(tmp_path / "trace"))
    future = client.compute(x)
    wait(future)
    assert client.compute(inc(x), sync=True) == 6
    assert inc(inc(x)).compute() == 7
    assert len(tasks.lines(tmp_path / "trace")) == 1


def test_a_graph_that_is_not_optimized_keeps_its_keys(client: Client, tmp_path: Path) -> None:
    """Held blocks are found by key; optimizing fuses them with what follows, and runs the function anew."""
    trace = tmp_path / "trace"
    x = da.ones(4, chunks=2).map_blocks(tasks.noted, str(trace), dtype=float, meta=np.ones(0))
    held = client.persist(x)
    wait(held)
    assert client.compute((x + 1).sum(), optimize_graph=False, sync=True) == 8
    assert (x + 1).sum().compute(optimize_graph=False) == 8
    assert len(tasks.lines(trace)) == 2
    del held


def test_dask_compute_takes_what_it_takes_without_a_cluster(client: Client) -> None:
    x = da.arange(6, chunks=2)
    assert dask.compute(x.sum(), inc(1), 5) == (15, 2, 5)
    assert dask.compute({"a": inc(1), "b": [x.max()]}) == ({"a": 2, "b": [5]},)
    assert dask.compute([inc(1), [inc(2)]], inc(3)) == ([2, [3]], 4)
    assert dask.compute([inc(1)], traverse=False)[0][0].compute() == 2
    assert dask.compute() == ()


def test_it_runs_on_workers(client: Client, addresses: dict[int, str]) -> None:
    x = delayed(tasks.pid)()
    assert os.getpid() not in addresses
    assert {x.compute(), client.compute(x, sync=True), client.get({"x": (tasks.pid,)}, "x")} <= set(addresses)
    assert x.compute(scheduler=client) in addresses
    assert x.compute(scheduler="threads") == os.getpid()


def test_futures_of_collections_complete_in_their_order(client: Client, tmp_path: Path) -> None:
    slow = client.compute(delayed(tasks.until_there)(str(tmp_path / "go"), "slow"))
    quick = client.compute(inc(1))
    completed = as_completed([slow, quick])
    assert next(completed) is quick
    (tmp_path / "go").touch()
    assert next(completed).result() == "slow"


def test_several_threads_compute_at_once(client: Client) -> None:
    x = da.arange(1000, chunks=100)
    totals: dict[int, list[int]] = {}

    def compute(number: int) -> None:
        totals[number] = [int((x + number + more).sum().compute()) for more in range(3)]

    threads = [threading.Thread(target=compute, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert totals == {n: [499_500 + 1000 * (n + more) for more in range(3)] for n in range(4)}


def test_a_large_graph(client: Client) -> None:
    """20,001 tasks, most with two inputs, and one with 10,000."""
    half = 10_000
    graph: dict[Any, Any] = {("x", i): Task(("x", i), tasks.inc, i) for i in range(half)}
    for i in range(half):
        graph["y", i] = Task(("y", i), tasks.add, TaskRef(("x", i)), TaskRef(("x", i * 7 % half)))
    graph["total"] = Task("total", sum, List(*(TaskRef(("y", i)) for i in range(half))))
    assert client.get(graph, "total") == 2 * (half * (half + 1) // 2)


def test_a_large_array(client: Client) -> None:
    x = da.ones((300, 300), chunks=(10, 10))
    assert (x + x.T).sum().compute() == 2 * 300 * 300


def test_one_client_computes_what_another_has_persisted(client: Client) -> None:
    other = Client(client.cluster or client.scheduler.address, set_as_default=False)
    with other:
        x = da.arange(10, chunks=5) + 1
        held = other.persist(x)
        wait(held)
        keys = {future.key for future in other.futures_of(held)}
        assert client.compute(x.sum(), sync=True) == 55
        assert keys <= set(client.who_has())


# ---------------------------------------------------------------- get


GRAPH: dict[Any, Any] = {
    "a": 1,
    "b": (tasks.inc, "a"),
    ("c", 0): (tasks.add, "a", "b"),
    ("c", 1): (sum, ["a", "b", ("c", 0)]),
    7: (tasks.double, ("c", 1)),
    "alias": "b",
}


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("a", 1),
        (("c", 1), 6),
        (7, 12),
        ("alias", 2),
        (["b"], [2]),
        (["a", "b", "a"], [1, 2, 1]),
        ([["a", ("c", 0)], [[7]], "b"], [[1, 3], [[12]], 2]),
        ([], []),
        ([[], ["a"]], [[], [1]]),
    ],
)
def test_get_gives_results_in_the_shape_of_keys(client: Client, keys: Any, expected: Any) -> None:
    got = client.get(GRAPH, keys)
    assert _as_lists(got) == expected
    assert _as_lists(dask.get(GRAPH, keys)) == expected


def _as_lists(result: Any) -> Any:
    return [_as_lists(item) for item in result] if isinstance(result, list | tuple) else result


def test_get_without_waiting_gives_futures(client: Client, tmp_path: Path) -> None:
    graph = {"a": (tasks.until_there, str(tmp_path / "go"), 5), "b": (tasks.inc, "a")}
    (a, (b, again)) = client.get(graph, ["a", ["b", "b"]], sync=False)
    assert isinstance(a, Future)
    assert (a.key, b.key, again.key) == ("a", "b", "b")
    assert not b.done()
    (tmp_path / "go").touch()
    assert client.gather([a, b]) == [5, 6]
    assert isinstance(client.get({"x": (tasks.inc, 1)}, "x", sync=False), Future)


def test_get_runs_only_what_the_keys_need(client: Client, tmp_path: Path) -> None:
    trace = str(tmp_path / "trace")
    graph = {"a": (tasks.note, trace, 1), "b": (tasks.note, trace, 2), "c": (tasks.inc, "b")}
    assert client.get(graph, "c") == 3
    assert tasks.lines(tmp_path / "trace") == ["2"]


def test_get_of_every_kind_of_graph(client: Client) -> None:
    x = da.arange(6, chunks=3)
    total = x.sum()
    (key,) = total.__dask_keys__()
    assert client.get(total.dask, [key]) == [15]
    assert client.get(dict(total.dask), [key]) == [15]
    layers = HighLevelGraph.from_collections("more", {"more": (operator.neg, key)}, dependencies=[total])
    assert client.get(layers, "more") == -15
    assert client.get({"t": Task("t", tasks.add, 1, 2), "u": Task("u", tasks.inc, TaskRef("t"))}, "u") == 4
    expr = dd.from_pandas(pd.DataFrame({"a": range(6)}), npartitions=2).a.sum().optimize().expr
    assert _as_lists(client.get(expr, expr.__dask_keys__())) == [15]


def test_get_of_values_that_are_no_tasks(client: Client) -> None:
    graph = {"list": [1, "two"], "dict": {"a": 5}, "none": None, "use": (tasks.pair_up, "list", "dict")}
    assert client.get(graph, ["list", "dict", "none", "use"]) == [[1, "two"], {"a": 5}, None, ([1, "two"], {"a": 5})]


def test_get_of_nested_calls(client: Client) -> None:
    graph = {"x": 3, "y": (tasks.add, (tasks.inc, "x"), (sum, [(tasks.inc, 1), "x"])), "z": [(tasks.inc, "x"), ["y"]]}
    assert client.get(graph, ["y", "z"]) == [9, [4, [9]]]


@pytest.mark.parametrize("key", ["text", 5, 1.5, ("x", 0), ("x", ("y", 1.5), 2), "with space", "unicode-é"])
def test_keys_of_every_kind(client: Client, key: Any) -> None:
    assert client.get({key: (tasks.inc, 1)}, [key]) == [2]
    assert client.get({"z": (tasks.inc, key), key: (tasks.inc, 1)}, "z") == 3
    future = client.get({key: (tasks.inc, 1)}, key, sync=False)
    assert future.key == key
    assert type(future.key) is type(key)
    assert future.result() == 2
    assert client.gather(client.submit(tasks.inc, future)) == 3


@pytest.mark.parametrize("key", [b"bytes", None, frozenset([1]), ("x", None)])
def test_keys_of_other_kinds_are_refused(client: Client, key: Any) -> None:
    with pytest.raises(TypeError):
        client.get({key: (tasks.inc, 1)}, [key])
    assert client.get({"good": (tasks.inc, 1)}, "good") == 2


def test_numbers_of_numpy_in_keys(client: Client) -> None:
    graph = {("x", np.int64(i)): (tasks.inc, i) for i in range(3)}
    graph["total"] = (sum, [("x", np.int64(i)) for i in range(3)])
    assert client.get(graph, ["total", ("x", 1)]) == [6, 2]


def test_a_key_that_is_not_in_the_graph_is_an_error(client: Client) -> None:
    with pytest.raises(Exception, match="absent"):
        client.get({"a": (tasks.inc, 1)}, ["a", "absent"])
    assert client.get({"good": (tasks.inc, 1)}, "good") == 2


def test_a_cycle_is_an_error(client: Client) -> None:
    graph = {"a": Task("a", tasks.inc, TaskRef("b")), "b": Task("b", tasks.inc, TaskRef("a"))}
    with pytest.raises((RuntimeError, ValueError)):
        client.get(graph, "a")
    assert client.get({"good": (tasks.inc, 1)}, "good") == 2


def test_nothing_stays_on_the_cluster_after_get(client: Client) -> None:
    assert client.get(GRAPH, [7]) == [12]
    until(lambda: not client.who_has(), "results are forgotten")
    assert not client.futures
