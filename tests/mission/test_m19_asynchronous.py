"""M19: ``asynchronous=True``: inside ``async`` functions, and Tornado's coroutines."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from windrow import Client, LocalCluster


def test_inside_async_functions() -> None:
    async def main() -> int:
        async with LocalCluster(n_workers=1, threads_per_worker=1, asynchronous=True) as cluster:
            async with Client(cluster, asynchronous=True) as client:
                assert cluster.loop is asyncio.get_running_loop()
                await cluster.scale(2)
                await cluster.wait_for_workers(2, timeout=20)
                assert len(await cluster.get_logs()) == 4
                await cluster.scale_down([0])
                assert cluster.plan == {1}
                total: int = await client.submit(sum, client.map(abs, range(10)))
                return total

    assert asyncio.run(main()) == 45


def test_inside_coroutines_of_tornado() -> None:
    gen = pytest.importorskip("tornado.gen")
    ioloop = pytest.importorskip("tornado.ioloop")

    @gen.coroutine  # type: ignore[untyped-decorator, unused-ignore]
    def main() -> Any:
        cluster = yield LocalCluster(n_workers=1, threads_per_worker=1, processes=False, asynchronous=True)
        client = yield Client(cluster, asynchronous=True)
        total = yield client.submit(sum, client.map(abs, range(10)))
        yield client.close()
        yield cluster.close()
        return total

    loop = ioloop.IOLoop(make_current=False)
    try:
        assert loop.run_sync(main) == 45
    finally:
        loop.close()


def test_several_in_one_loop() -> None:
    async def one(n: int) -> int:
        async with LocalCluster(n_workers=1, processes=False, asynchronous=True) as cluster:
            async with Client(cluster, asynchronous=True, set_as_default=False) as client:
                return int(await client.submit(abs, -n))

    async def main() -> list[int]:
        return await asyncio.gather(*map(one, range(5)))

    assert asyncio.run(main()) == list(range(5))


def test_a_blocking_cluster_where_a_loop_runs_as_in_a_notebook() -> None:
    async def cell() -> int:
        with LocalCluster(n_workers=1, processes=False) as cluster, Client(cluster) as client:
            return int(client.submit(abs, -1).result(timeout=20))

    assert asyncio.run(cell()) == 1
