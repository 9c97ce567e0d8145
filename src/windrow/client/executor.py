"""`ClientExecutor`: a client behind the interface of ``concurrent.futures``.

What lives here: the bridge between the two kinds of futures. What this file must never know: messages.
"""

from __future__ import annotations

import concurrent.futures
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures._base import CancelledError
from time import monotonic
from typing import TYPE_CHECKING, Any

from windrow.client.entry import CANCELLED, ERROR
from windrow.client.gather import error_of
from windrow.client.options import seconds

if TYPE_CHECKING:
    from windrow.client.base import Base
    from windrow.client.future import Future

OPTIONS = ("allow_other_workers", "pure", "resources", "retries", "workers")


class ClientExecutor(concurrent.futures.Executor):
    """Runs calls on the cluster, and gives futures of the standard library; made by ``Client.get_executor``.

    Each call is run, even if an equal one has been (``pure=False``), unless ``pure=True`` is given to ``get_executor``.

    Examples
    --------
    >>> with client.get_executor() as executor:  # doctest: +SKIP
    ...     list(executor.map(abs, [-1, -2]))
    [1, 2]
    """

    def __init__(self, client: Base, **kwargs: Any) -> None:
        unknown = sorted(set(kwargs) - set(OPTIONS))
        if unknown:
            raise TypeError(f"get_executor does not know {', '.join(unknown)}: it takes {', '.join(OPTIONS)}")
        self._client: Any = client
        self._kwargs = {"pure": False, **kwargs}
        self._shutdown = False
        self._lock = threading.Lock()
        self._futures: weakref.WeakSet[Future] = weakref.WeakSet()
        self._bridged: weakref.WeakSet[_Bridged] = weakref.WeakSet()

    def __repr__(self) -> str:
        return f"<ClientExecutor of {self._client!r}{' (shut down)' if self._shutdown else ''}>"

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> concurrent.futures.Future[Any]:
        """Run a call on the cluster.

        Raises
        ------
        RuntimeError
            The executor is shut down.
        """
        with self._lock:
            if self._shutdown:
                raise RuntimeError("cannot schedule new futures after shutdown")
            # A call whose keyword arguments have the names of submit's own options is made by another function.
            future = self._client.submit(_Call(fn, kwargs) if kwargs else fn, *args, **self._kwargs)
            self._futures.add(future)
        bridged = _Bridged(future)
        self._bridged.add(bridged)
        future.add_done_callback(bridged.take)
        return bridged

    def map(
        self, fn: Callable[..., Any], *iterables: Any, timeout: float | None = None, chunksize: int = 1, **kwargs: Any
    ) -> Iterator[Any]:
        """Run a function over rows of arguments; results in order, as they are asked for.

        Parameters
        ----------
        timeout
            Seconds from now: TimeoutError when a result is not there by then.
        chunksize
            Accepted, and not used: a task costs microseconds.
        """
        limit_s = seconds(timeout)
        if kwargs:
            raise TypeError(f"map does not know {', '.join(kwargs)}: it takes timeout= and chunksize=")
        until = None if limit_s is None else monotonic() + limit_s
        with self._lock:
            if self._shutdown:
                raise RuntimeError("cannot schedule new futures after shutdown")
            rows = [list(iterable) for iterable in iterables]
            futures = self._client.map(fn, *rows, **self._kwargs) if rows and all(rows) else []
            self._futures.update(futures)
        return self._results(futures, until)

    def _results(self, futures: list[Future], until: float | None) -> Iterator[Any]:
        futures = futures[::-1]
        try:
            while futures:
                left = None if until is None else max(0.0, until - monotonic())
                future = futures.pop()
                try:
                    yield future.result(left)
                except TimeoutError:
                    if not future.done():
                        futures.append(future)
                    raise
        finally:
            if futures and self._client.session.status == "running":
                self._client.cancel(futures)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with ``wait``, until all are done, and without it cancel what is not.

        Parameters
        ----------
        wait
            Whether to wait.
        cancel_futures
            Cancel what has not ended, also with ``wait``.
        """
        with self._lock:
            self._shutdown = True
            futures = [future for future in self._futures if not future.done()]
        if futures and self._client.session.status == "running":
            if not wait or cancel_futures:
                self._client.cancel(futures)
                return
            for future in futures:
                future.exception()
        for bridged in list(self._bridged):
            bridged.settle()  # what tells them runs in another thread, perhaps a little later


class _Bridged(concurrent.futures.Future[Any]):
    """A future of the standard library for one of ours; cancelling it cancels the task."""

    def __init__(self, future: Future) -> None:
        super().__init__()
        self._task: Future | None = future

    def cancel(self) -> bool:
        """Cancel the task, if it has not ended; its function may have begun, and then runs to its end for nobody."""
        future = self._task
        if future is None or self.done():
            return False
        if not super().cancel():
            return False
        self.set_running_or_notify_cancel()
        future.cancel()
        return True

    def take(self, future: Future) -> None:
        """Take over what became of the task."""
        self._take(future)
        self._task = None

    def settle(self) -> None:
        """Take over what became of the task, if it has ended and nobody has."""
        future = self._task
        if future is not None and future.done():
            self.take(future)

    def _take(self, future: Future) -> None:
        if self.done():
            return
        entry = future.entry
        try:
            if entry.status == CANCELLED:
                self.set_exception(CancelledError(str(error_of(entry))))
            elif entry.status == ERROR:
                self.set_exception(error_of(entry))
            else:
                self.set_result(future.result())
        except concurrent.futures.InvalidStateError:  # cancelled at this very moment
            return
        except BaseException as error:  # the result cannot be had, or be loaded here
            if not self.done():
                self.set_exception(error)


class _Call:
    """A call with keyword arguments that are its own, whatever their names."""

    __slots__ = ("_function", "_kwargs")

    def __init__(self, function: Callable[..., Any], kwargs: dict[str, Any]) -> None:
        self._function = function
        self._kwargs = kwargs

    def __call__(self, *args: Any) -> Any:
        return self._function(*args, **self._kwargs)

    @property
    def __name__(self) -> str:
        return getattr(self._function, "__name__", type(self._function).__name__)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Call, (self._function, self._kwargs)
