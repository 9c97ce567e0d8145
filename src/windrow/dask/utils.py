"""What ``distributed.utils`` offers to other libraries.

What lives here: small tools, and the state of the thread that runs a task. What this file must never know: clusters.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import logging
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from windrow import addressing, config, context, listening
from windrow.client.options import Duration, seconds
from windrow.deploy.loops import own_loop, thread_of
from windrow.errors import TimeoutError
from windrow.runtime import LoopThread

__all__ = [
    "All",
    "LoopRunner",
    "SyncMethodMixin",
    "TimeoutError",
    "cli_keywords",
    "format_dashboard_link",
    "get_ip",
    "get_ip_interface",
    "get_ipv6",
    "has_arg",
    "has_keyword",
    "import_term",
    "in_async_call",
    "is_kernel",
    "iscoroutinefunction",
    "log_errors",
    "open_port",
    "safe_sizeof",
    "sync",
    "thread_state",
    "wait_for",
    "warn_on_duration",
]

T = TypeVar("T")

logger = logging.getLogger("distributed.utils")


# ---------------------------------------------------------------- tasks


class _ThreadState(threading.local):
    """Has attributes while the thread runs a task, and is empty elsewhere."""

    def __reduce__(self) -> str:
        return "thread_state"  # a function that refers to it finds the worker's

    def __getattr__(self, name: str) -> Any:
        place = context.place()
        if place is not None:
            if name == "key":
                return place.key
            if name == "actor":
                return False
            if name == "execution_state":
                return {"key": place.key, "worker": place.worker.address}
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"thread_state has no {name!r}" + (" outside of tasks" if place is None else ""))


thread_state = _ThreadState()
"""``key``, ``execution_state`` and ``actor`` of the task that this thread runs; libraries ask ``hasattr``."""


# ---------------------------------------------------------------- loops


def sync(loop: Any, func: Callable[..., Any], *args: Any, callback_timeout: Duration = None, **kwargs: Any) -> Any:
    """Run a coroutine function on a loop that runs in another thread, and return what it returns.

    Raises
    ------
    RuntimeError
        The loop is closed, or runs in this very thread.
    TimeoutError
        It has not ended within ``callback_timeout``.

    Examples
    --------
    >>> thread = LoopThread()
    >>> sync(thread, asyncio.sleep, 0, "done")
    'done'
    >>> thread.stop()
    """
    target = own_loop(loop)
    if target is None or target.is_closed():
        raise RuntimeError(f"sync needs a running event loop, and {loop!r} is closed")
    if in_async_call(target):
        raise RuntimeError("sync would block the event loop's own thread; await the coroutine there")

    async def call() -> Any:
        value = func(*args, **kwargs)
        return await value if inspect.isawaitable(value) else value

    limit_s = seconds(callback_timeout, "callback_timeout")
    future = asyncio.run_coroutine_threadsafe(call(), target)
    try:
        return future.result(limit_s)
    except BaseException:  # late, or Ctrl-C in this thread; of one that is done, cancel changes nothing
        future.cancel()
        raise


def in_async_call(loop: Any, default: bool = False) -> bool:
    """Whether this code runs on that loop.

    Examples
    --------
    >>> in_async_call(None)
    False
    """
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return False
    target = own_loop(loop)
    return default if target is None else running is target


class LoopRunner:
    """A loop to use: the given one, or one in a thread of its own, or, if asynchronous, the running one.

    Examples
    --------
    >>> runner = LoopRunner()
    >>> runner.start()
    >>> runner.run_sync(asyncio.sleep, 0, "done")
    'done'
    >>> runner.stop()
    >>> runner.is_started()
    False
    """

    def __init__(self, loop: Any = None, asynchronous: bool = False) -> None:
        self._asynchronous = asynchronous
        self._given = loop
        self._thread: LoopThread | None = None
        self._owned = False
        self._loop = asyncio.get_running_loop() if asynchronous and loop is None else own_loop(loop)

    @property
    def loop(self) -> Any:
        """The loop; one of its own is made at its first use."""
        if self._loop is None:
            self.start()
        return self._loop

    def start(self) -> None:
        """Start the thread, unless the loop is somebody else's."""
        if self._asynchronous or self._thread is not None:
            return
        self._thread, self._owned = thread_of(self._given, "IO loop")
        self._loop = self._thread.loop

    def stop(self, timeout: float = 10) -> None:
        """Stop the thread, if it is its own."""
        if self._thread is not None and self._owned:
            self._thread.stop()
        self._thread = None

    def is_started(self) -> bool:
        """Whether coroutines can be run."""
        if self._asynchronous:
            return bool(self._loop is not None and self._loop.is_running())
        return self._thread is not None and self._thread.is_running

    def run_sync(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a coroutine function, and return what it returns."""
        if self._asynchronous:
            raise RuntimeError("this runner is asynchronous: await the coroutine")
        started = self.is_started()
        self.start()
        try:
            return sync(self.loop, func, *args, **kwargs)
        finally:
            if not started:
                self.stop()


class SyncMethodMixin:
    """Methods that block on a synchronous object, and return a coroutine on an asynchronous one.

    A subclass has ``loop``, and ``_asynchronous`` where it is not False.
    """

    loop: Any
    _asynchronous = False

    @property
    def asynchronous(self) -> bool:
        """Whether this code must await."""
        return self._asynchronous or in_async_call(self.loop)

    def sync(
        self,
        func: Callable[..., Any],
        *args: Any,
        asynchronous: bool | None = None,
        callback_timeout: Duration = None,
        **kwargs: Any,
    ) -> Any:
        """Run a coroutine function on the loop and wait for it, or return its coroutine."""
        if self.asynchronous if asynchronous is None else asynchronous:
            coroutine = func(*args, **kwargs)
            limit_s = seconds(callback_timeout, "callback_timeout")
            return coroutine if limit_s is None else asyncio.wait_for(coroutine, limit_s)
        return sync(self.loop, func, *args, callback_timeout=callback_timeout, **kwargs)


async def wait_for(fut: Awaitable[T], timeout: float | None) -> T:
    """Wait for an awaitable, for so long at most.

    Examples
    --------
    >>> asyncio.run(wait_for(asyncio.sleep(0, "done"), 1))
    'done'
    """
    return await asyncio.wait_for(fut, timeout)


async def All(args: Any, quiet_exceptions: Any = ()) -> list[Any]:
    """Wait for all of some awaitables; the first that raises ends it, and the others are cancelled.

    Examples
    --------
    >>> asyncio.run(All([asyncio.sleep(0, 1), asyncio.sleep(0, 2)]))
    [1, 2]
    """
    futures = [asyncio.ensure_future(each) for each in args]
    try:
        return list(await asyncio.gather(*futures))
    except BaseException:
        for future in futures:
            future.cancel()
        raise


# ---------------------------------------------------------------- functions


def iscoroutinefunction(f: object) -> bool:
    """Whether calling this returns a coroutine, also where it is wrapped into a partial.

    Examples
    --------
    >>> iscoroutinefunction(functools.partial(asyncio.sleep, 1)), iscoroutinefunction(len)
    (True, False)
    """
    while isinstance(f, functools.partial):
        f = f.func
    return inspect.iscoroutinefunction(f) or (callable(f) and inspect.iscoroutinefunction(type(f).__call__))


def has_arg(func: Callable[..., Any], argname: str) -> bool:
    """Whether a function takes an argument of this name.

    Examples
    --------
    >>> has_arg(lambda x: x, "x"), has_arg(lambda x: x, "y")
    (True, False)
    """
    try:
        return argname in inspect.signature(func).parameters
    except (TypeError, ValueError):  # a builtin that does not say
        return False


has_keyword = has_arg


def import_term(name: str) -> Any:
    """Return what a dotted name names.

    Examples
    --------
    >>> import_term("math.sqrt")(4)
    2.0
    """
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute) if module else importlib.import_module(attribute)


def log_errors(func: Any = None, /, *, pdb: bool = False, unroll_stack: int = 0) -> Any:
    """Log what a function, coroutine function or ``with`` block raises, and pass it on.

    Examples
    --------
    >>> @log_errors
    ... def half(x):
    ...     return x / 2
    >>> half(3)
    1.5
    """
    if func is None:
        return _logged(pdb)
    if iscoroutinefunction(func):

        @functools.wraps(func)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            with _logged(pdb):
                return await func(*args, **kwargs)

        return call_async

    @functools.wraps(func)
    def call(*args: Any, **kwargs: Any) -> Any:
        with _logged(pdb):
            return func(*args, **kwargs)

    return call


@contextmanager
def _logged(pdb: bool) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        logger.exception("%s", error)
        if pdb:
            import pdb as debugger

            debugger.post_mortem()
        raise


@contextmanager
def warn_on_duration(duration: str | float, msg: str) -> Iterator[None]:
    """Warn if a ``with`` block takes longer than this.

    Examples
    --------
    >>> with warn_on_duration("1 minute", "this takes long"):
    ...     pass
    """
    import warnings

    start_s = time.monotonic()
    yield
    taken_s = time.monotonic() - start_s
    if taken_s > config.parse_timedelta(duration):
        warnings.warn(f"{msg} (it took {taken_s:.1f} s)", stacklevel=3)


def cli_keywords(d: dict[str, Any], cls: Any = None, cmd: Any = None) -> list[str]:
    """Return keywords as a command line.

    Examples
    --------
    >>> cli_keywords({"nthreads": 2, "name": None, "no_nanny": True})
    ['--nthreads', '2', '--no-nanny']
    """
    words = []
    for name, value in d.items():
        if value is None or value is False:
            continue
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words.append(str(value))
    return words


# ---------------------------------------------------------------- the machine


def get_ip(host: str = "8.8.8.8", port: int = 80) -> str:
    """Return this machine's IPv4 address on the way to another.

    Examples
    --------
    >>> get_ip("127.0.0.1")
    '127.0.0.1'
    """
    return addressing.own_ip(host)


def get_ipv6(host: str = "2001:4860:4860::8888", port: int = 80) -> str:
    """Return this machine's IPv6 address on the way to another.

    Examples
    --------
    >>> ":" in get_ipv6()
    True
    """
    return addressing.own_ip(host)


def get_ip_interface(ifname: str) -> str:
    """Return the IPv4 address of a network interface.

    Examples
    --------
    >>> get_ip_interface("lo")
    '127.0.0.1'
    """
    return listening.interface_ip(ifname)


def open_port(host: str = "") -> int:
    """Return a port that nobody listens on at the moment.

    Examples
    --------
    >>> open_port() > 0
    True
    """
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def is_kernel() -> bool:
    """Whether this runs in a notebook's kernel.

    Examples
    --------
    >>> is_kernel()
    False
    """
    shell = sys.modules.get("IPython")
    return bool(shell is not None and getattr(shell.get_ipython(), "kernel", None) is not None)


def format_dashboard_link(host: str, port: int | str) -> str:
    """Return the link to a dashboard, in the form that ``distributed.dashboard.link`` says.

    Examples
    --------
    >>> format_dashboard_link("127.0.0.1", 8787)
    'http://127.0.0.1:8787/status'
    """
    import os

    template = cast(str, config.get("distributed.dashboard.link"))
    return template.format(**{**os.environ, "scheme": "http", "host": host, "port": port})


def safe_sizeof(obj: object, default_size: float = 1e6) -> int:
    """Return an object's size in bytes; ``default_size`` where its type cannot say.

    Examples
    --------
    >>> safe_sizeof(b"abc") > 2
    True
    """
    from dask.sizeof import sizeof

    try:
        return int(sizeof(obj))
    except Exception:  # a user's own __sizeof__ may raise anything
        logger.warning("the size of a %s cannot be told; %d bytes are assumed", type(obj).__name__, default_size)
        return int(default_size)
