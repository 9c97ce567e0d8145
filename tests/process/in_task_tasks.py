"""Tasks that ask for their worker and a client; light, as workers import it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

import windrow

LIMIT_S = 15.0


def inc(x: int) -> int:
    return x + 1


def fib(n: int) -> int:
    if n < 2:
        return n
    client = windrow.get_client()
    one, two = client.submit(fib, n - 1), client.submit(fib, n - 2)
    return int(one.result()) + int(two.result())


def gathers(n: int) -> int:
    client = windrow.get_client()
    return sum(client.gather(client.map(inc, range(n))))


def waits(n: int) -> int:
    futures = windrow.get_client().map(inc, range(n))
    return len(windrow.wait(futures).done)


def in_order_of_end(n: int) -> list[int]:
    futures = windrow.get_client().map(inc, range(n))
    return sorted(future.result() for future in windrow.as_completed(futures))


def with_worker_client(n: int) -> int:
    with windrow.worker_client() as client:
        assert windrow.Client.current() is client
        return sum(client.gather(client.map(inc, range(n))))


def with_local_client(n: int) -> int:
    with windrow.local_client() as client:
        return sum(client.gather(client.map(inc, range(n))))


def dask_sum(n: int) -> int:
    import dask

    return int(dask.compute(dask.delayed(sum)([dask.delayed(inc)(i) for i in range(n)]))[0])


async def coroutine(x: int) -> tuple[int, Any]:
    client = await asyncio.to_thread(windrow.get_client)
    return await client.submit(inc, x), windrow.get_worker().name


async def sleeps(seconds: float, number: int) -> int:
    await asyncio.sleep(seconds)
    return number


def closes_it() -> int:
    """Close the client that others wait with, in all the ways there are."""
    windrow.get_client().close()
    with windrow.get_client() as client:
        return int(client.submit(inc, 1, pure=False).result())


def waits_long(gate: str) -> int:
    return int(windrow.get_client().submit(opens_late, gate, pure=False).result())


def opens_late(gate: str) -> int:
    assert windrow.Event(gate).wait(timeout=LIMIT_S)
    return 7


def in_a_thread_of_its_own() -> int:
    """Submit from a thread that knows nothing of the task that has started it."""
    windrow.get_client()
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(windrow.get_client().submit(inc, 1, pure=False).key))
    thread.start()
    thread.join()
    return len(results)


def in_the_way(path: str) -> None:
    """Hold a thread until there is a file."""
    end = time.monotonic() + LIMIT_S
    while not os.path.exists(path):
        assert time.monotonic() < end
        time.sleep(0.002)


def gives_up_waiting(path: str) -> bool:
    """Wait for one that takes the only thread, and not to its end."""
    here = [windrow.get_worker().address]
    future = windrow.get_client().submit(in_the_way, path, workers=here, pure=False)
    try:
        future.result(timeout=0.1)
    except TimeoutError:
        Path(path).touch()
        future.result()
        return True
    return False


def who() -> tuple[Any, int]:
    return windrow.get_worker().address, os.getpid()


def meets(path: str, number: int, count: int) -> int:
    """Wait, out of the worker's threads, until so many tasks are here at once."""
    windrow.secede()
    windrow.secede()
    Path(path, str(number)).touch()
    end = time.monotonic() + LIMIT_S
    while len(list(Path(path).iterdir())) < count:
        assert time.monotonic() < end
        time.sleep(0.002)
    windrow.rejoin()
    windrow.rejoin()
    return number


def at_a_time(path: str, number: int) -> int:
    """Secede, rejoin, and say how many are in the threads at once."""
    windrow.secede()
    windrow.rejoin()
    mark = Path(path, str(number))
    mark.touch()
    inside = len(list(Path(path).iterdir()))
    mark.unlink()
    return inside


def elsewhere(path: str) -> str:
    """Ask to be run again the first time."""
    mark = Path(path)
    if not mark.exists():
        mark.touch()
        raise windrow.Reschedule
    return "again"


def result_of(box: list[Any]) -> Any:
    """Take a future out of where nobody looks for it, and wait for it."""
    return box[0].future.result()


class Box:
    """Hides a future from the search for inputs."""

    def __init__(self, future: Any) -> None:
        self.key = future.key

    @property
    def future(self) -> Any:
        return windrow.Future.unbound(self.key)


def secede_and_die(path: str) -> None:
    """End the worker, out of its threads, each time."""
    windrow.secede()
    with open(path, "a") as file:
        file.write("x")
    os.kill(os.getpid(), 9)
