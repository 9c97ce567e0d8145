"""Whatever a user's function does, its outcome arrives, and nothing else ends by it."""

from __future__ import annotations

import asyncio
import os
import queue
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import process_tasks as tasks
import pytest

from windrow import Client, PickleError, wait
from windrow.errors import TaskError
from windrow.worker.answers import RUN_THREADS


@pytest.fixture(scope="module")
def inside() -> Iterator[Client]:
    """A cluster whose scheduler, worker and client share one process and its loop."""
    with Client(n_workers=1, threads_per_worker=1, processes=False) as client:
        yield client


def for_ever() -> None:
    for_ever()


class Leaves(Exception):
    """Raises what is no `Exception` when it is pickled."""

    def __reduce__(self) -> Any:
        raise SystemExit(4)


def raise_leaving() -> None:
    raise Leaves("its text")


async def exit_later(code: int) -> None:
    await asyncio.sleep(0)
    sys.exit(code)


class Departing:
    """A result that does not ride along, and raises what is no `Exception` when it is pickled."""

    nbytes = 10**6

    def __reduce__(self) -> Any:
        raise SystemExit(9)


# ---------------------------------------------------------------- functions run on workers and the scheduler


@pytest.mark.parametrize("where", ["run", "run_on_scheduler"])
def test_functions_that_recurse_or_raise_what_cannot_travel_are_answered(client: Client, where: str) -> None:
    run = getattr(client, where)
    with pytest.raises(RecursionError) as caught:
        run(for_ever)
    assert [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)][-1] == "for_ever"
    who = "a function run on the scheduler" if where == "run_on_scheduler" else "a function run on worker [01]"
    with pytest.raises(PickleError, match=rf"Leaves\(its text\) raised by {who}") as unsent:
        run(raise_leaving)
    assert "SystemExit: 4" in str(unsent.value)


@pytest.mark.parametrize("where", ["run", "run_on_scheduler"])
@pytest.mark.parametrize("function", [sys.exit, exit_later])
def test_functions_that_exit_are_answered(client: Client, where: str, function: Any) -> None:
    who = "the scheduler" if where == "run_on_scheduler" else "worker [01]"
    with pytest.raises(TaskError, match=rf"A function run on {who} raised SystemExit\(3\)") as caught:
        getattr(client, where)(function, 3)
    remote = [frame for frame in traceback.extract_tb(caught.value.__traceback__) if "windrow" not in frame.filename]
    assert remote[-1].name == "exit_later" if function is exit_later else "test" in remote[-1].name
    assert client.submit(tasks.inc, 1, pure=False).result(timeout=5) == 2


def test_a_function_that_cancels_itself_on_the_scheduler_is_answered(client: Client) -> None:
    async def cancel() -> None:
        own = asyncio.current_task()
        assert own is not None
        own.cancel()
        await asyncio.sleep(60)

    with pytest.raises(TaskError, match="A function run on the scheduler raised CancelledError"):
        client.run_on_scheduler(cancel)


def test_values_leave_while_functions_take_their_time(client: Client, tmp_path: Path) -> None:
    go = tmp_path / "go"
    pids = client.run(os.getpid)
    with ThreadPoolExecutor(2 * RUN_THREADS) as pool:
        started = [tmp_path / str(number) for number in range(RUN_THREADS)]
        workers = [next(iter(pids))]
        waiting = [
            pool.submit(client.run, tasks.announce_and_wait, str(path), str(go), workers=workers) for path in started
        ]
        try:
            for path in started:
                tasks.until_there(str(path))
            waiting += [pool.submit(client.run, tasks.until_there, str(go), workers=workers) for _ in range(8)]
            large = client.submit(bytes, 10**6, workers=workers, pure=False)
            assert len(large.result(timeout=5)) == 10**6
        finally:
            go.touch()
        assert [future.result(timeout=5) for future in waiting] == [{workers[0]: pids[workers[0]]}] * len(waiting)


# ---------------------------------------------------------------- tasks


@pytest.mark.parametrize("cluster_of", ["client", "inside"])
def test_a_coroutine_that_exits_ends_no_loop(cluster_of: str, request: pytest.FixtureRequest) -> None:
    client: Client = request.getfixturevalue(cluster_of)
    future = client.submit(exit_later, 3, key="leaver")
    with pytest.raises(TaskError, match=r"Task 'leaver' raised SystemExit\(3\)"):
        future.result(timeout=5)
    assert client.submit(tasks.inc, 1, pure=False).result(timeout=5) == 2


@pytest.mark.parametrize("cluster_of", ["client", "inside"])
def test_a_result_whose_reduction_exits_harms_no_worker(cluster_of: str, request: pytest.FixtureRequest) -> None:
    client: Client = request.getfixturevalue(cluster_of)
    before = client.run(os.getpid)
    future = client.submit(Departing, key="departing")
    with pytest.raises(PickleError, match=r"The result of task 'departing'.*Departing.*SystemExit: 9"):
        future.result(timeout=5)
    assert client.run(os.getpid) == before


def test_endless_recursion_takes_no_thread(client: Client) -> None:
    futures = client.map(lambda x: for_ever(), range(8))
    for future in futures:
        assert type(future.exception(timeout=5)) is RecursionError
    assert "frames are left out here" in "".join(traceback.format_tb(futures[0].traceback()))
    assert client.submit(tasks.inc, 1, pure=False).result(timeout=5) == 2


@pytest.mark.parametrize("content", ["x" * 70_000, b"x" * 1_000_000], ids=["text", "bytes"])
def test_a_large_exception_keeps_type_and_content(client: Client, content: Any) -> None:
    def fail() -> None:
        raise ValueError(content)

    with pytest.raises(ValueError) as caught:
        client.submit(fail).result(timeout=5)
    assert caught.value.args == (content,)


def test_an_exception_holds_an_array(client: Client) -> None:
    def fail() -> None:
        import numpy as np

        raise ValueError("these", np.arange(100_000))

    error = client.submit(fail).exception(timeout=5)
    assert type(error) is ValueError
    assert error.args[1].sum() == sum(range(100_000))


# ---------------------------------------------------------------- ends of values

LOCKS: list[threading.Lock] = []
ENDS: queue.Queue[bool] = queue.Queue()


class Testament:
    """Wants its worker's lock at its end, as whatever asks something of the worker does."""

    nbytes = 10**6  # so that no copy rides along

    def __del__(self) -> None:
        for lock in LOCKS:
            free = lock.acquire(timeout=0.2)
            if free:
                lock.release()
            ENDS.put(free)


def learn_lock(dask_worker: Any) -> None:
    LOCKS.append(dask_worker.executor.lock)


def test_a_value_ends_outside_its_worker_s_lock(inside: Client) -> None:
    inside.run(learn_lock)
    future = inside.submit(Testament)
    wait(future)
    del future
    assert ENDS.get(timeout=5)
    LOCKS.clear()
