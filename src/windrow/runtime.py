"""Event loops in threads of their own, for programs that are not asynchronous.

What lives here: `LoopThread`. What this file must never know: what runs on a loop.
"""

from __future__ import annotations

import atexit
import functools
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures

__all__ = ["LoopThread", "add_callback", "new_loop"]

T = TypeVar("T")

_STOP_LIMIT_S = 5.0

SLICE_S = 0.5
"""The longest that a waiting thread blocks without looking at signals."""

_alive: weakref.WeakSet[LoopThread] = weakref.WeakSet()

_called_back: set[asyncio.Future[Any]] = set()
"""Coroutines of callbacks, which nobody else keeps."""


def new_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop: uvloop's where it is installed. It has `add_callback`, too, as Tornado's loops have it.

    Examples
    --------
    >>> loop = new_loop()
    >>> loop.close()
    """
    loop: asyncio.AbstractEventLoop = _kind_of_loop()()
    return loop


@functools.cache
def _kind_of_loop() -> Any:
    base: Any
    try:
        import uvloop
    except ImportError:
        import asyncio

        base = asyncio.SelectorEventLoop
    else:
        base = uvloop.Loop
    return type("Loop", (base,), {"add_callback": add_callback, "asyncio_loop": property(lambda loop: loop)})


def add_callback(loop: Any, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    """Call a function on a loop soon, from any thread; if it returns an awaitable, that is run too.

    Programs for Dask call it as ``client.loop.add_callback``. What is raised goes to the loop's exception handler.

    Examples
    --------
    >>> thread = LoopThread()
    >>> done = threading.Event()
    >>> thread.loop.add_callback(done.set)
    >>> done.wait(5)
    True
    >>> thread.stop()
    """
    loop.call_soon_threadsafe(functools.partial(_call_back, loop, callback, *args, **kwargs))


def _call_back(loop: Any, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    import asyncio

    awaitable = callback(*args, **kwargs)
    if hasattr(awaitable, "__await__"):
        running = asyncio.ensure_future(awaitable, loop=loop)
        _called_back.add(running)
        running.add_done_callback(_end_callback)


def _end_callback(ended: asyncio.Future[Any]) -> None:
    _called_back.discard(ended)
    if not ended.cancelled() and (error := ended.exception()) is not None:
        context = {"message": "a callback of a loop has failed", "exception": error, "future": ended}
        ended.get_loop().call_exception_handler(context)


class LoopThread:
    """An event loop that runs in a daemon thread, from construction until `stop` or the interpreter's exit.

    Attributes
    ----------
    loop : asyncio.AbstractEventLoop
        The loop. From other threads use its ``call_soon_threadsafe``, or `run`.

    Examples
    --------
    >>> import asyncio
    >>> thread = LoopThread()
    >>> thread.run(asyncio.sleep(0, "done"))
    'done'
    >>> thread.stop()
    >>> thread.is_running
    False
    """

    def __init__(self, name: str = "IO loop") -> None:
        self.loop = new_loop()
        self._lock = threading.Lock()  # between `run` in one thread and `stop` in another
        self._stopping = False
        started = threading.Event()
        self._thread = threading.Thread(target=_serve, args=(self.loop, started), name=name, daemon=True)
        self._thread.start()
        started.wait()
        _alive.add(self)

    @classmethod
    def around(cls, loop: asyncio.AbstractEventLoop, thread_id: int) -> LoopThread:
        """Return a handle on a loop that runs in a thread of somebody else's, who stops it."""
        self = cls.__new__(cls)
        self.loop = loop
        self._lock = threading.Lock()
        self._stopping = False
        self._thread = next(thread for thread in threading.enumerate() if thread.ident == thread_id)
        return self

    @property
    def is_running(self) -> bool:
        """Whether coroutines can be run on it."""
        return not self._stopping and self._thread.is_alive()

    @property
    def is_current(self) -> bool:
        """Whether the caller is on this loop's own thread, and so must not wait."""
        return threading.get_ident() == self._thread.ident and self._thread.is_alive()  # else the number is another's

    def run(self, coroutine: Coroutine[object, object, T], timeout_s: float | None = None) -> T:
        """Run a coroutine on the loop, wait for it in this thread, and return what it returns.

        Raises
        ------
        TimeoutError
            It has not ended within ``timeout_s``; it is cancelled.
        KeyboardInterrupt
            Ctrl-C arrived meanwhile; it is cancelled too.
        RuntimeError
            The loop is stopped, or this is its own thread, which would wait for itself.
        """
        import asyncio

        if self.is_current:
            coroutine.close()
            raise RuntimeError(
                "this call would block the event loop's own thread, on which it was made; await the asynchronous form"
            )
        future: concurrent.futures.Future[T] | None = None
        try:
            with self._lock:
                if not self.is_running:
                    coroutine.close()
                    raise RuntimeError(
                        "the event loop of this cluster or client is stopped: it is closed; make a new one"
                    )
                future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
            return _await(future, timeout_s)
        except BaseException:  # late, or Ctrl-C in this thread; of one that is done, cancel changes nothing
            if future is not None:
                future.cancel()
            raise

    def stop(self) -> None:
        """Cancel what still runs, stop the loop, and wait for its thread; again is harmless."""
        with self._lock:
            first = not self._stopping
            self._stopping = True
            if first and self._thread.is_alive():
                self.loop.call_soon_threadsafe(self.loop.stop)
        if not self.is_current:
            self._thread.join(_STOP_LIMIT_S)

    def __repr__(self) -> str:
        return f"<LoopThread {self._thread.name!r} {'running' if self.is_running else 'stopped'}>"


def _await(future: concurrent.futures.Future[T], timeout_s: float | None) -> T:
    """Wait for a future in this thread, in slices.

    A signal that arrives between the interpreter's last look and the blocking call is seen only when that returns: so
    no single call blocks for long, and Ctrl-C is never lost.
    """
    until = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        slice_s = SLICE_S if until is None else min(SLICE_S, until - time.monotonic())
        try:
            return future.result(max(0.0, slice_s))
        except TimeoutError:
            if future.done():  # the coroutine's own, or it ended just now
                return future.result()
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"not done within {timeout_s:g} s") from None


def _serve(loop: asyncio.AbstractEventLoop, started: threading.Event) -> None:
    """Run a loop until it is stopped, then end all that is on it; a function, so that no thread keeps its owner."""
    import asyncio

    asyncio.set_event_loop(loop)
    loop.call_soon(started.set)
    try:
        loop.run_forever()
        # Twice: what a cancelled task does on its way out may start another.
        for _ in range(2):
            if tasks := asyncio.all_tasks(loop):
                for task in tasks:
                    task.cancel()
                loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


@atexit.register
def _stop_all() -> None:
    """Stop every loop before the interpreter goes; registered at import, and so after all that users of it register."""
    for thread in list(_alive):
        thread.stop()
