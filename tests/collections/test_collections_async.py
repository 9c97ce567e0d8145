"""Collections and an asynchronous client."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable

import collection_tasks as tasks
import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import pandas as pd
import pytest
from collection_help import same
from dask import delayed

from windrow import Client, Future, as_completed, futures_of, wait


def run(test: Callable[[Client], Awaitable[None]]) -> None:
    """Run ``await test(client)`` with an asynchronous client of a cluster of threads."""

    async def main() -> None:
        options = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
        async with Client(asynchronous=True, **options) as client:
            await asyncio.wait_for(test(client), 20)

    asyncio.run(main())
    assert dask.config.get("scheduler", None) is None


def test_compute() -> None:
    async def test(client: Client) -> None:
        future = client.compute(da.arange(10, chunks=3).sum())
        assert isinstance(future, Future)
        assert await future == 45
        futures = client.compute([delayed(tasks.inc)(1), 5, db.range(4, npartitions=2)])
        assert await client.gather(futures) == [2, 5, [0, 1, 2, 3]]
        assert await client.compute({"a": delayed(tasks.inc)(1)}) == {"a": 2}

    run(test)


def test_compute_with_sync() -> None:
    async def test(client: Client) -> None:
        awaitable = client.compute([delayed(tasks.inc)(1), 5], sync=True)
        assert inspect.isawaitable(awaitable)
        assert await awaitable == [2, 5]

    run(test)


def test_persist() -> None:
    async def test(client: Client) -> None:
        x, table = client.persist(
            [da.arange(10, chunks=3), dd.from_pandas(pd.DataFrame({"a": range(5)}), npartitions=2)]
        )
        await wait([x, table])
        assert {future.status for future in futures_of([x, table])} == {"finished"}
        assert await client.compute(x.sum()) == 45
        same(await client.compute(table), pd.DataFrame({"a": range(5)}))
        async for future in as_completed(futures_of(x)):
            assert len(await future) in (1, 3)

    run(test)


def test_get() -> None:
    async def test(client: Client) -> None:
        graph = {"a": 1, "b": (tasks.inc, "a")}
        assert await client.get(graph, ["b", ["a"]]) == [2, [1]]
        future = client.get({"c": (tasks.inc, 4)}, "c", sync=False)
        assert isinstance(future, Future)
        assert await future == 5

    run(test)


def test_errors() -> None:
    async def test(client: Client) -> None:
        with pytest.raises(tasks.Oops):
            await client.compute(delayed(tasks.inc)(delayed(tasks.fail)(1)))
        with pytest.raises(tasks.Oops):
            await client.get({"x": (tasks.fail, 1)}, "x")

    run(test)


def test_many_at_once() -> None:
    async def test(client: Client) -> None:
        x = da.arange(100, chunks=10)
        totals = await asyncio.gather(*((client.compute((x + number).sum())).result() for number in range(20)))
        assert totals == [4950 + 100 * number for number in range(20)]

    run(test)


def test_blocking_calls_of_dask_are_refused_or_right() -> None:
    """They cannot wait for this loop; what they must never do is return a coroutine, or hang."""

    async def test(client: Client) -> None:
        try:
            result = delayed(tasks.inc)(1).compute()
        except RuntimeError:
            return
        assert result == 2

    run(test)


def test_dask_computes_for_a_loop_in_another_thread(client: Client) -> None:
    """In a notebook, say: a loop runs here, and the client is not its."""

    async def main() -> int:
        assert await asyncio.to_thread(da.arange(10, chunks=3).sum().compute) == 45
        return int(da.arange(10, chunks=3).sum().compute())

    assert asyncio.run(main()) == 45


def test_a_setting_says_what_computes_where_the_client_cannot_be_waited_for() -> None:
    async def test(client: Client) -> None:
        with pytest.raises(RuntimeError, match=r"asynchronous client: write .*async-client-fallback"):
            delayed(tasks.inc)(1).compute()
        with dask.config.set({"admin.async-client-fallback": "sync"}):
            with pytest.warns(UserWarning, match="by Dask's scheduler 'sync'.*asynchronous client"):
                assert delayed(threading.get_ident)().compute() == threading.get_ident()

    run(test)
