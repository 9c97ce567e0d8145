"""The life of a cluster: started once, closed once, on an event loop of its own or on the program's.

What lives here: `Life`. What this file must never know: schedulers and workers.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
import warnings
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Self, TypeVar

from windrow.client import options
from windrow.client.options import Duration
from windrow.deploy import loops
from windrow.node import Status
from windrow.runtime import LoopThread

logger = logging.getLogger("windrow.deploy")

T = TypeVar("T")

EXIT_S = 10.0
"""How long the end of the program waits for a cluster to close."""

_open: dict[int, Life] = {}
"""Synchronous clusters that are not closed; they are closed at exit."""


class Life:
    """Base of clusters: what starts and ends them, for programs that are asynchronous and those that are not.

    Parameters
    ----------
    asynchronous, loop, name
        See `Cluster`.
    """

    shutdown_on_close = True
    """Whether the end of the program closes it."""

    def __init__(self, asynchronous: bool, loop: Any, name: str) -> None:
        self.status = Status.created
        self._failure = ""
        """Why it could not go on; "" for one that was closed."""
        self._name = name
        self._asynchronous = asynchronous
        self._background: set[asyncio.Task[Any]] = set()
        self._opening = asyncio.Lock()
        self._closing: asyncio.Task[None] | None = None
        self._close_lock = threading.Lock()
        self.loop_thread: LoopThread | None = None
        self._loop, self._owns_loop = loops.own_loop(loop), False
        if not asynchronous:
            self.loop_thread, self._owns_loop = loops.thread_of(loop, f"IO loop of {name}")
            self._loop = self.loop_thread.loop

    # ------------------------------------------------------------ for subclasses

    async def _open(self) -> None:
        """Start the parties."""

    async def _opened(self) -> None:
        """Do what is to be done before it counts as running."""

    async def _shut(self) -> None:
        """Stop the parties."""

    def _on_running(self) -> None:
        """It runs."""

    def _on_closing(self) -> None:
        """It is about to stop its parties."""

    def _on_closed(self) -> None:
        """It has stopped them."""

    def _begin(self) -> None:
        """Start, and wait until it has started; an asynchronous one starts when it is awaited."""
        if self.loop_thread is None:
            return
        try:
            self._sync(self._start())
        except BaseException:
            self.close()
            raise

    # ------------------------------------------------------------ waiting

    def _sync(self, coroutine: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        assert self.loop_thread is not None
        return self.loop_thread.run(coroutine, timeout_s)

    def _either(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Return an awaitable where the caller is on the event loop; else wait."""
        return coroutine if self.asynchronous else self._sync(coroutine)

    def sync(
        self,
        func: Callable[..., Any],
        *args: Any,
        asynchronous: bool | None = None,
        callback_timeout: Duration = None,
        **kwargs: Any,
    ) -> Any:
        """Run a coroutine function on the loop, and wait for it (or return its coroutine, if asynchronous)."""
        coroutine = func(*args, **kwargs)
        if self.asynchronous if asynchronous is None else asynchronous:
            return coroutine
        return self._sync(coroutine, options.seconds(callback_timeout, "callback_timeout"))

    def _in_background(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something on the loop; its error is for those who wait for it."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        task.add_done_callback(_retrieve)
        return task

    @property
    def asynchronous(self) -> bool:
        """Whether methods return awaitables here."""
        return self._asynchronous or self.called_from_running_loop

    @property
    def called_from_running_loop(self) -> bool:
        """Whether this is the thread of the cluster's event loop, which must not wait."""
        if self.loop_thread is not None:
            return self.loop_thread.is_current
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop; None for an asynchronous cluster that has not been awaited."""
        return self._loop

    @property
    def _is_over(self) -> bool:
        return self.status in (Status.closed, Status.failed)

    # ------------------------------------------------------------ start and end

    async def _start(self) -> Self:
        async with self._opening:
            if self.status in (Status.closing, Status.closed, Status.failed):
                raise RuntimeError(f"cluster {self._name} is {self.status}: make a new one")
            if self.status is Status.created:
                await self._start_once()
        return self

    async def _start_once(self) -> None:
        self.status = Status.starting
        self._loop = asyncio.get_running_loop()
        try:
            await self._open()
            await self._opened()
        except BaseException:
            await self._close()
            self.status = Status.failed
            raise
        self.status = Status.running
        if self.loop_thread is not None:
            _open[id(self)] = self
        self._on_running()

    async def _close(self) -> None:
        if self._closing is None:
            self.status = Status.closing
            self._on_closing()
            self._closing = asyncio.get_running_loop().create_task(self._end())
        await asyncio.shield(self._closing)

    async def _end(self) -> None:
        try:
            await self._shut()
        finally:
            self.status = Status.failed if self._failure else Status.closed
            self._on_closed()
            for task in self._background:
                task.cancel()
            _open.pop(id(self), None)

    def close(self, timeout: Duration = None) -> Any:
        """Stop everything; again is harmless. An awaitable on an asynchronous cluster.

        Raises
        ------
        TimeoutError
            It has not stopped within ``timeout``; it goes on with that.
        """
        if self.asynchronous:
            return self._close()
        thread = self.loop_thread
        assert thread is not None
        with self._close_lock:  # the user, a client and the exit may all ask at once
            if thread.is_running and not self._is_over:
                thread.run(self._close(), options.seconds(timeout))
            if self._owns_loop:
                thread.stop()
        _open.pop(id(self), None)
        return None

    def __enter__(self) -> Self:
        if self._asynchronous:
            raise TypeError("this cluster is asynchronous: use 'async with'")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._close()

    def __await__(self) -> Generator[Any, None, Self]:
        return self._start().__await__()

    def __del__(self) -> None:
        if getattr(self, "status", None) in (Status.starting, Status.running, Status.closing):
            warnings.warn(f"unclosed cluster {self._name}: close it, or use 'with'", ResourceWarning, 2, self)


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Look at a task's error, so that asyncio does not speak of it: those who wait for the task have it too."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.debug("%s: %r", task.get_name(), error)


@atexit.register
def _close_all() -> None:
    for cluster in list(_open.values()):
        if not cluster.shutdown_on_close:
            continue
        try:
            cluster.close(EXIT_S)
        except TimeoutError:
            logger.warning("cluster %s: not closed within %g s; the program ends all the same", cluster._name, EXIT_S)
