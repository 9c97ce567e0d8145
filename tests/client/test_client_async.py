"""The same client on an event loop of the user's own."""

from __future__ import annotations

import asyncio

import pytest
from fake_scheduler import FakeScheduler, identity

from windrow.client import Client, as_completed, wait
from windrow.errors import ClosedClientError, FutureCancelledError
from windrow.wire import failure
from windrow.wire import messages as m
from windrow.wire import requests as r


def inc(x):
    return x + 1


def run(test):
    """Run ``await test(client, fake)`` with an asynchronous client."""

    async def main():
        fake = FakeScheduler(asynchronous=True)
        async with Client(fake, asynchronous=True) as client:
            await asyncio.wait_for(test(client, fake), 10)
        assert client.status == "closed"

    asyncio.run(main())


def test_results():
    async def test(client, fake):
        future = client.submit(inc, 1)
        loop = asyncio.get_running_loop()
        loop.call_later(0.005, fake.finish, {future.key: 2})
        assert await future == 2
        assert await future.result() == 2
        assert await client.gather([future, future]) == [2, 2]
        assert client.asynchronous
        assert client.loop is loop

    run(test)


def test_a_future_is_held_while_it_is_awaited():
    async def test(client, fake):
        loop = asyncio.get_running_loop()
        for wait_for in (lambda: client.submit(inc, 1), lambda: client.submit(inc, 1).result()):
            awaitable = wait_for()
            loop.call_later(0.005, fake.finish, {next(iter(client.futures)): 2})
            task = asyncio.ensure_future(_await(awaitable))
            del awaitable
            assert await task == 2
        assert await client.submit(inc, 5, key="x").cancel() is None

    run(test)


async def _await(awaitable):
    return await awaitable


def test_timeouts_and_cancellation_of_the_waiting_task():
    async def test(client, fake):
        future = client.submit(inc, 1)
        with pytest.raises(TimeoutError, match="not there after"):
            await future.result(0.01)
        assert future.entry.waiter is None
        task = asyncio.ensure_future(future.result())
        await asyncio.sleep(0)
        assert future.entry.waiter is not None
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert future.entry.waiter is None
        fake.finish({future.key: 2})
        assert await future == 2

    run(test)


def test_errors_and_cancel():
    async def test(client, fake):
        bad, gone = client.submit(inc, 1), client.submit(inc, 2)
        blob, text = failure.dump(ValueError("no"))
        fake.send(m.Failed(0, [bad.key], blob, text))
        with pytest.raises(ValueError, match="no"):
            await bad
        assert isinstance(await bad.exception(), ValueError)
        assert await gone.cancel(reason="enough") is None
        with pytest.raises(FutureCancelledError, match="enough"):
            await gone
        await client.retry(bad)
        assert bad.status == "pending"

    run(test)


def test_wait_and_as_completed():
    async def test(client, fake):
        futures = client.map(inc, range(3))
        keys = [future.key for future in futures]
        loop = asyncio.get_running_loop()
        loop.call_later(0.003, fake.finish, {keys[1]: 1})
        result = await wait(futures, return_when="FIRST_COMPLETED")
        assert result.done == {futures[1]}
        loop.call_later(0.003, fake.finish, {keys[0]: 0, keys[2]: 2})
        seen = [pair async for pair in as_completed(futures, with_results=True, timeout=5)]
        assert [(future.key, value) for future, value in seen] == [(keys[1], 1), (keys[0], 0), (keys[2], 2)]

    run(test)


def test_questions():
    async def test(client, fake):
        assert client.scheduler_info() == identity()
        assert await client.nthreads() == {"tcp://127.0.0.1:4000": 2, "tcp://127.0.0.1:4001": 2}
        fake.replies[r.Identity] = lambda request: m.Reply(0, identity(5))
        client.scheduler_info()
        await client.wait_for_workers(5, timeout=5)
        assert len(client.scheduler_info()["workers"]) == 5
        assert "processes=5" in repr(client)
        fake.replies[r.Scatter] = lambda request: m.Reply(0)
        assert (await client.scatter(5)).status == "finished"

    run(test)


def test_await_client_and_close():
    async def main():
        fake = FakeScheduler(asynchronous=True)
        unready = Client(fake, asynchronous=True)
        with pytest.raises(ClosedClientError, match="await"):
            unready.submit(inc, 1)
        client = await unready
        assert client is unready
        with pytest.raises(TypeError, match="async with"):
            client.__enter__()
        future = client.submit(inc, 1)
        await client.close()
        await client.close()
        assert future.status == "cancelled"
        assert isinstance(fake.got[-1], m.Close)

    asyncio.run(main())


def test_a_synchronous_client_of_an_asynchronous_cluster_is_refused():
    with pytest.raises(RuntimeError, match="asynchronous=True"):
        Client(FakeScheduler(asynchronous=True))


def test_methods_of_a_synchronous_client_are_awaitable_on_its_own_loop(client, fake):
    async def inside():
        assert client.asynchronous
        future = client.submit(inc, 1)
        fake.finish({future.key: 2})
        return await client.gather([future])

    assert fake.loop_thread.run(inside(), 5) == [2]
    assert client.sync(inside, callback_timeout=5) == [2]
