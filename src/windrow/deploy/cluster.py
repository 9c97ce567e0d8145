"""What every kind of cluster offers: a name, a scheduler's address, a life, synchronous or not.

What lives here: `Cluster`. What this file must never know: how the parties are started; a subclass does that in `_open`
and undoes it in `_shut`.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
import uuid
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Self, TypeVar

from windrow.deploy.adaptive import Adaptive
from windrow.errors import WorkerStartTimeoutError
from windrow.runtime import LoopThread
from windrow.transport import Link

T = TypeVar("T")

_open: dict[int, Cluster] = {}
"""Synchronous clusters that are not closed; they are closed at exit."""


class Cluster:
    """Base of cluster managers.

    Parameters
    ----------
    asynchronous
        Belong to the running event loop: ``await`` it, or use ``async with``. Else it has a loop in a thread of its
        own, and its methods block.
    name
        By default eight random hexadecimal digits.
    """

    def __init__(self, asynchronous: bool = False, name: str | None = None) -> None:
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name must be a string, not {name!r}")
        self.name = name if name is not None else uuid.uuid4().hex[:8]
        self.asynchronous = asynchronous
        self.status = "created"
        self.secret = b""
        self.scheduler_address = "<not connected>"
        self.loop_thread = None if asynchronous else LoopThread(f"IO loop of {self.name}")
        self._closing: asyncio.Task[None] | None = None
        self._adaptive: Adaptive | None = None
        self._adaptive_options: dict[str, Any] = {}
        self._close_lock = threading.Lock()
        if not asynchronous:
            try:
                self._sync(self._start())
            except BaseException:
                self.close()
                raise
            _open[id(self)] = self

    # ------------------------------------------------------------ for subclasses

    async def _open(self) -> None:
        """Start the parties; set ``scheduler_address`` and ``secret``."""
        raise NotImplementedError("a kind of cluster starts its parties in _open")

    async def _shut(self) -> None:
        """Stop the parties."""
        raise NotImplementedError("a kind of cluster stops its parties in _shut")

    def identity(self) -> dict[str, Any]:
        """Return what the scheduler says of itself and its workers (on the loop)."""
        raise NotImplementedError("a kind of cluster knows how to ask its scheduler")

    async def connect_inproc(self) -> Link:
        """Return a link to a scheduler in this process (on the loop)."""
        raise NotImplementedError("this kind of cluster has its scheduler elsewhere")

    # ------------------------------------------------------------ life

    def _sync(self, coroutine: Coroutine[Any, Any, T]) -> T:
        assert self.loop_thread is not None
        return self.loop_thread.run(coroutine)

    async def _start(self) -> Self:
        if self.status == "created":
            self.status = "starting"
            try:
                await self._open()
            except BaseException:
                await self._close()
                self.status = "failed"
                raise
            self.status = "running"
        return self

    async def _close(self) -> None:
        if self._closing is None:
            self.status = "closing"
            if self._adaptive is not None:
                self._adaptive.stop("the cluster closes")
            self._closing = asyncio.get_running_loop().create_task(self._shut())
        await asyncio.shield(self._closing)
        self.status = "closed"

    def close(self, timeout: float | None = None) -> Any:
        """Stop everything; again is harmless. An awaitable on an asynchronous cluster."""
        if self.asynchronous:
            return self._close()
        thread = self.loop_thread
        assert thread is not None
        with self._close_lock:  # the user, a client and the exit may all ask at once
            if thread.is_running:
                thread.run(self._close(), timeout)
                thread.stop()
        _open.pop(id(self), None)
        return None

    def __enter__(self) -> Self:
        if self.asynchronous:
            raise TypeError("this cluster is asynchronous: use 'async with'")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await self._start()

    async def __aexit__(self, *exc_info: object) -> None:
        await self._close()

    def __await__(self) -> Generator[Any, None, Self]:
        return self._start().__await__()

    # ------------------------------------------------------------ scaling

    def adapt(self, Adaptive: Callable[..., Any] = Adaptive, **kwargs: Any) -> Any:
        """Scale with the load from now on, until the cluster closes or the result's ``stop()`` is called.

        A second call takes the place of the first; what it does not say stays as it was.

        Parameters
        ----------
        Adaptive
            What does it.
        **kwargs
            Its arguments; see `windrow.Adaptive`.

        Examples
        --------
        >>> cluster.adapt(minimum=1, maximum=10)  # doctest: +SKIP
        """
        options = {**self._adaptive_options, **kwargs}
        adaptive = Adaptive(self, **options)
        if self._adaptive is not None:
            self._adaptive.stop("another takes its place")
        self._adaptive, self._adaptive_options = adaptive, options
        return adaptive

    # ------------------------------------------------------------ facts

    @property
    def dashboard_link(self) -> str:
        """Where to look at the cluster; "" while it has no dashboard."""
        return str(self.scheduler_info.get("dashboard_link") or "")

    @property
    def scheduler_info(self) -> dict[str, Any]:
        """The scheduler's description of itself and its workers."""
        return self.identity() if self.status == "running" else {"type": "Scheduler", "workers": {}}

    def wait_for_workers(self, n_workers: int, timeout: float | None = None) -> Any:
        """Wait until so many workers are there.

        Raises
        ------
        WorkerStartTimeoutError
            They are not, after ``timeout`` seconds.
        """
        if not isinstance(n_workers, int) or n_workers < 1:
            raise ValueError(f"n_workers must be a positive int, not {n_workers!r}")
        waiting = self._wait_for_workers(n_workers, timeout)
        return waiting if self.asynchronous else self._sync(waiting)

    async def _wait_for_workers(self, n_workers: int, timeout: float | None) -> None:
        loop = asyncio.get_running_loop()
        limit = None if timeout is None else loop.time() + timeout
        while (present := self._count_running()) < n_workers:
            left = None if limit is None else limit - loop.time()
            if left is not None and left <= 0:
                raise WorkerStartTimeoutError(f"{present} of {n_workers} workers are there after {timeout} s")
            await self._changed(left)

    def _count_running(self) -> int:
        return sum(worker["status"] == "running" for worker in self.identity()["workers"].values())

    async def _changed(self, timeout_s: float | None) -> None:
        """Wait until a party has joined or left, or the time is up."""
        await asyncio.sleep(0.02)

    def __repr__(self) -> str:
        head = f"{type(self).__name__}({self.name}, {self.scheduler_address!r}"
        if self.status != "running":
            return f"{head}, {self.status})"
        workers = self.scheduler_info["workers"].values()
        threads = sum(worker["nthreads"] for worker in workers)
        text = f"{head}, workers={len(workers)}, threads={threads}"
        if workers and all(worker["memory_limit"] for worker in workers):
            total = sum(worker["memory_limit"] for worker in workers)
            text += f", memory={total / 2**30:.2f} GiB"
        return text + ")"


@atexit.register
def _close_all() -> None:
    for cluster in list(_open.values()):
        cluster.close(5.0)
