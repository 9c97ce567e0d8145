"""What other libraries' test suites need: small functions to run, and clusters around a test.

What lives here: the names that ``distributed.utils_test`` gives to others (its fixtures are in ``fixtures``). What this
file must never know: windrow's own tests.

::

    @gen_cluster(client=True)
    async def test_sum(c, s, a, b):
        assert await c.submit(sum, [1, 2]) == 3
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import io
import itertools
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, NoReturn

from windrow import security
from windrow.client.client import Client
from windrow.scheduler.scheduler import Scheduler
from windrow.worker.worker import Worker

__all__ = [
    "async_poll_for",
    "asyncinc",
    "captured_handler",
    "captured_logger",
    "cluster",
    "dec",
    "div",
    "double",
    "gen_cluster",
    "gen_test",
    "inc",
    "map_varying",
    "mul",
    "poll_for",
    "popen",
    "randominc",
    "slowadd",
    "slowdec",
    "slowdouble",
    "slowidentity",
    "slowinc",
    "slowsum",
    "throws",
    "varying",
]

DELAY_S = 0.02
TIMEOUT_S = 30.0
TWO_WORKERS = (("127.0.0.1", 1), ("127.0.0.1", 2))


# ---------------------------------------------------------------- functions to run


def inc(x: Any) -> Any:
    """Return one more.

    Examples
    --------
    >>> inc(1), dec(1), mul(2, 3), div(6, 3), double(2)
    (2, 0, 6, 2.0, 4)
    """
    return x + 1


def dec(x: Any) -> Any:
    """Return one less.

    Examples
    --------
    >>> dec(1)
    0
    """
    return x - 1


def mul(x: Any, y: Any) -> Any:
    """Return the product.

    Examples
    --------
    >>> mul(2, 3)
    6
    """
    return x * y


def div(x: Any, y: Any) -> Any:
    """Return the quotient.

    Examples
    --------
    >>> div(1, 2)
    0.5
    """
    return x / y


def double(x: Any) -> Any:
    """Return twice as much.

    Examples
    --------
    >>> double(2)
    4
    """
    return x * 2


def throws(x: Any) -> NoReturn:
    """Raise a RuntimeError.

    Examples
    --------
    >>> throws(1)
    Traceback (most recent call last):
        ...
    RuntimeError: throws(1) was called
    """
    raise RuntimeError(f"throws({x!r}) was called")


def slowinc(x: Any, delay: float = DELAY_S) -> Any:
    """Return one more, after a while.

    Examples
    --------
    >>> slowinc(1, delay=0)
    2
    """
    time.sleep(delay)
    return x + 1


def slowdec(x: Any, delay: float = DELAY_S) -> Any:
    """Return one less, after a while.

    Examples
    --------
    >>> slowdec(1, delay=0)
    0
    """
    time.sleep(delay)
    return x - 1


def slowdouble(x: Any, delay: float = DELAY_S) -> Any:
    """Return twice as much, after a while.

    Examples
    --------
    >>> slowdouble(1, delay=0)
    2
    """
    time.sleep(delay)
    return x * 2


def slowadd(x: Any, y: Any, delay: float = DELAY_S) -> Any:
    """Return the sum, after a while.

    Examples
    --------
    >>> slowadd(1, 2, delay=0)
    3
    """
    time.sleep(delay)
    return x + y


def slowsum(seq: Iterable[Any], delay: float = DELAY_S) -> Any:
    """Return the sum of all, after a while.

    Examples
    --------
    >>> slowsum([1, 2, 3], delay=0)
    6
    """
    time.sleep(delay)
    return sum(seq)


def slowidentity(*args: Any, delay: float = DELAY_S) -> Any:
    """Return the argument (of several, the tuple), after a while.

    Examples
    --------
    >>> slowidentity(1, delay=0), slowidentity(1, 2, delay=0)
    (1, (1, 2))
    """
    time.sleep(delay)
    return args[0] if len(args) == 1 else args


def randominc(x: Any, scale: float = 1) -> Any:
    """Return one more, after a random while of at most ``scale`` seconds.

    Examples
    --------
    >>> randominc(1, scale=0)
    2
    """
    time.sleep(random.random() * scale)
    return x + 1


async def asyncinc(x: Any, delay: float = DELAY_S) -> Any:
    """Return one more, after a while in which others run.

    Examples
    --------
    >>> asyncio.run(asyncinc(1, delay=0))
    2
    """
    await asyncio.sleep(delay)
    return x + 1


_calls: dict[str, Iterator[int]] = {}
_lock = threading.Lock()


class _Varying:
    """Counts its calls in the process where they happen, however often it is pickled on the way."""

    def __init__(self, items: Sequence[Any]) -> None:
        self._items = list(items)
        self._id = uuid.uuid4().hex
        self.__name__ = "varying"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with _lock:
            count = next(_calls.setdefault(self._id, itertools.count()))
        item = self._items[count]
        if isinstance(item, BaseException):
            raise item
        return item


def varying(items: Sequence[Any]) -> Callable[..., Any]:
    """Return a function whose calls in a process return one item after the other, or raise it.

    Examples
    --------
    >>> function = varying([1, 2])
    >>> function(), function()
    (1, 2)
    """
    return _Varying(items)


def map_varying(itemslists: Sequence[Sequence[Any]]) -> tuple[Callable[..., Any], list[Callable[..., Any]]]:
    """Return a function and its arguments for ``Client.map``: each task is a `varying` of its own.

    Examples
    --------
    >>> function, arguments = map_varying([[1], [2]])
    >>> [function(each) for each in arguments]
    [1, 2]
    """
    return _call, [varying(items) for items in itemslists]


def _call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)


# ---------------------------------------------------------------- around a test


@asynccontextmanager
async def _parties(
    nthreads: Sequence[tuple[Any, ...]],
    make: Callable[..., Any],
    client: bool,
    scheduler_kwargs: Mapping[str, Any],
    worker_kwargs: Mapping[str, Any],
    client_kwargs: Mapping[str, Any],
) -> AsyncIterator[list[Any]]:
    """Start a scheduler, its workers, and a client if one is wanted; yield them in the order of a test's arguments."""
    async with AsyncExitStack() as stack:
        scheduler = await stack.enter_async_context(Scheduler(**{"dashboard": False, **scheduler_kwargs}))
        security.remember(scheduler.address, scheduler.secret)
        workers = []
        for name, (host, threads, *own) in enumerate(nthreads):
            options = {"nthreads": threads, "name": name, "host": host, **worker_kwargs, **(own[0] if own else {})}
            workers.append(make(scheduler.address, **options))
        for worker in workers:
            stack.push_async_callback(worker.close)
        await asyncio.gather(*(worker.start() for worker in workers))
        arguments = [scheduler, *workers]
        if client:
            opened = Client(scheduler.address, asynchronous=True, **client_kwargs)
            arguments.insert(0, await stack.enter_async_context(opened))
        yield arguments


def gen_cluster(
    nthreads: Sequence[tuple[Any, ...]] | None = None,
    scheduler: str = "127.0.0.1",
    timeout: float = TIMEOUT_S,
    security: object = None,
    Worker: Callable[..., Any] = Worker,
    client: bool = False,
    scheduler_kwargs: Mapping[str, Any] | None = None,
    worker_kwargs: Mapping[str, Any] | None = None,
    client_kwargs: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    **others: Any,
) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Return a decorator that runs a coroutine function, a test, with a cluster on its own event loop.

    The test is given the client (if one is asked for), the scheduler, and the workers, before its own arguments.

    Parameters
    ----------
    nthreads
        A worker each: its host, its threads, and perhaps its own keywords. By default two, of one and of two threads.
    scheduler
        Where the scheduler listens.
    timeout
        How long the test may take, in seconds.
    security
        A `Security` for all of them, whose connections are then encrypted; see `windrow.testing.trust`.
    Worker
        `Worker`, or `Nanny` for workers in processes.
    client
        Whether there is one; it is asynchronous.
    scheduler_kwargs, worker_kwargs, client_kwargs
        Further keywords of each.
    config
        Settings of Dask for the test.
    **others
        Keywords about the checks that other suites make afterwards; they have no effect.

    Examples
    --------
    >>> @gen_cluster(client=True, nthreads=[("127.0.0.1", 1)])
    ... async def test_inc(c, s, a):
    ...     assert await c.submit(inc, 1) == 2
    >>> test_inc()
    """
    trust = {} if security is None else {"security": security}
    threads = TWO_WORKERS if nthreads is None else nthreads
    first = 1 + len(threads) + client

    def decorate(function: Callable[..., Any]) -> Callable[..., None]:
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"gen_cluster is for coroutine functions; write 'async def {function.__name__}'")

        async def run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            told = [{**trust, **(given or {})} for given in (scheduler_kwargs, worker_kwargs, client_kwargs)]
            told[0] = {"host": scheduler, **told[0]}
            async with asyncio.timeout(timeout), _parties(threads, Worker, client, *told) as parties:
                await function(*parties, *args, **kwargs)

        return _as_test(function, run, first, config)

    return decorate


def gen_test(
    timeout: float = TIMEOUT_S, config: Mapping[str, Any] | None = None, **others: Any
) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Return a decorator that runs a coroutine function, a test, on an event loop of its own.

    Parameters
    ----------
    timeout
        How long it may take, in seconds.
    config
        Settings of Dask for the test.
    **others
        Keywords about the checks that other suites make afterwards; they have no effect.

    Examples
    --------
    >>> @gen_test()
    ... async def test_inc():
    ...     assert await asyncinc(1, delay=0) == 2
    >>> test_inc()
    """
    if callable(timeout):
        raise TypeError("gen_test is called before it decorates: write @gen_test()")

    def decorate(function: Callable[..., Any]) -> Callable[..., None]:
        async def run(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            async with asyncio.timeout(timeout):
                await function(*args, **kwargs)

        return _as_test(function, run, 0, config)

    return decorate


def _as_test(
    function: Callable[..., Any], run: Callable[..., Any], first: int, config: Mapping[str, Any] | None
) -> Callable[..., None]:
    """Return a function for pytest, which asks for the arguments from the ``first`` on."""

    @functools.wraps(function)
    def test(*args: Any, **kwargs: Any) -> None:
        import dask

        with dask.config.set(dict(config or {})):
            asyncio.run(run(args, kwargs))

    signature = inspect.signature(function)
    rest = list(signature.parameters.values())
    if first > len(rest) and not any(each.kind is each.VAR_POSITIONAL for each in rest):
        raise TypeError(f"{function.__name__} is given {first} arguments, and takes {len(rest)}")
    rest = [each for each in rest[first:] if each.kind is not each.VAR_POSITIONAL]
    test.__signature__ = signature.replace(parameters=rest)  # type: ignore[attr-defined]
    return test


@contextmanager
def cluster(
    nworkers: int = 2,
    nanny: bool = False,
    worker_kwargs: Mapping[str, Any] | None = None,
    active_rpc_timeout: float = 10,
    disconnect_timeout: float = 20,
    scheduler_kwargs: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Have workers in processes of their own within a ``with`` block: the scheduler's address, and the workers'.

    Parameters
    ----------
    nworkers
        How many, of one thread each.
    nanny, active_rpc_timeout, disconnect_timeout
        Without effect: each worker has a nanny.
    worker_kwargs, scheduler_kwargs
        Further keywords of each.
    config
        Settings of Dask within the block.

    Examples
    --------
    >>> with cluster() as (s, [a, b]):  # doctest: +SKIP
    ...     with Client(s["address"]) as client:
    ...         client.submit(inc, 1).result()
    2
    """
    import dask

    from windrow.deploy.local import LocalCluster

    with dask.config.set(dict(config or {})):
        options = {"threads_per_worker": 1, "dashboard_address": None, **(worker_kwargs or {})}
        if "nthreads" in options:
            options["threads_per_worker"] = options.pop("nthreads")
        with LocalCluster(n_workers=nworkers, scheduler_kwargs=dict(scheduler_kwargs or {}), **options) as running:
            addresses = list(running.scheduler_info["workers"])
            yield {"address": running.scheduler_address}, [{"address": address} for address in addresses]


def poll_for(
    predicate: Callable[[], object], timeout: float, fail_func: Callable[[], object] | None = None, period: float = 0.05
) -> None:
    """Wait in this thread until something holds; AssertionError if it does not within ``timeout`` seconds.

    Examples
    --------
    >>> poll_for(lambda: True, timeout=1)
    """
    asyncio.run(async_poll_for(predicate, timeout, fail_func, period))


async def async_poll_for(
    predicate: Callable[[], object], timeout: float, fail_func: Callable[[], object] | None = None, period: float = 0.05
) -> None:
    """Wait until something holds; AssertionError if it does not within ``timeout`` seconds.

    Examples
    --------
    >>> asyncio.run(async_poll_for(lambda: True, timeout=1))
    """
    end_s = time.monotonic() + timeout
    while not predicate():
        await asyncio.sleep(period)
        if time.monotonic() > end_s:
            if fail_func is not None:
                fail_func()
            raise AssertionError(f"{predicate!r} does not hold after {timeout:g} s")


@contextmanager
def captured_logger(
    logger: logging.Logger | str, level: int = logging.INFO, propagate: bool | None = None
) -> Iterator[io.StringIO]:
    """Catch what a logger logs within a ``with`` block, in place of its handlers.

    Examples
    --------
    >>> with captured_logger("some.logger") as caught:
    ...     logging.getLogger("some.logger").info("hello")
    >>> caught.getvalue()
    'hello\\n'
    """
    if isinstance(logger, str):
        logger = logging.getLogger(logger)
    former = logger.level, logger.handlers[:], logger.propagate
    caught = io.StringIO()
    logger.handlers[:] = [logging.StreamHandler(caught)]
    logger.setLevel(level)
    if propagate is not None:
        logger.propagate = propagate
    try:
        yield caught
    finally:
        logger.setLevel(former[0])
        logger.handlers[:] = former[1]
        logger.propagate = former[2]


@contextmanager
def captured_handler(handler: logging.StreamHandler[Any]) -> Iterator[io.StringIO]:
    """Catch what a stream handler writes within a ``with`` block.

    Examples
    --------
    >>> with captured_handler(logging.StreamHandler()) as caught:
    ...     pass
    """
    caught = io.StringIO()
    former = handler.setStream(caught)
    try:
        yield caught
    finally:
        handler.setStream(former)


@contextmanager
def popen(
    args: Sequence[str],
    capture_output: bool = False,
    terminate_timeout: float = 10,
    kill_timeout: float = 5,
    **kwargs: Any,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program within a ``with`` block: one of this Python's directory, where there is one of that name.

    It is interrupted at the end of the block, and killed if it goes on; what it has written is then shown, unless it
    was to be captured.

    Examples
    --------
    >>> with popen(["python", "-c", "print('hello')"], capture_output=True) as process:
    ...     process.stdout.readline()
    b'hello\\n'
    """
    own = os.path.join(os.path.dirname(sys.executable), args[0])
    if capture_output:
        kwargs |= {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = subprocess.Popen([own if os.path.exists(own) else args[0], *args[1:]], **kwargs)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(terminate_timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(kill_timeout)
        for stream in (process.stdout, process.stderr, process.stdin):
            if stream is not None:
                stream.close()
