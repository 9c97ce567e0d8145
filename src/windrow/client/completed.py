"""``as_completed``: futures in the order in which they end, for threads and coroutines.

What lives here: the iterator and its queue. What this file must never know: messages.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from queue import Empty
from time import monotonic
from typing import TYPE_CHECKING, Any

from windrow.client import gather
from windrow.client.entry import CANCELLED, ERROR, Entry, Latch
from windrow.client.future import Future
from windrow.client.options import Duration, seconds
from windrow.client.waiting import Steps, block, follow

if TYPE_CHECKING:
    from windrow.client.session import Session


class as_completed:  # lower case: it is used like a function
    """Iterate over futures as they end, with ``for`` or ``async for``; more may be added meanwhile.

    Parameters
    ----------
    futures
        Futures of one client.
    loop
        Kept as an attribute, for the sake of existing programs.
    with_results
        Yield ``(future, result)``.
    raise_errors
        With results: raise what a task raised; if False, yield ``(future, (type, exception, traceback))``.
        A cancelled future yields its FutureCancelledError as the result.
    timeout
        From now on, in seconds or as ``"5 s"``: TimeoutError when it is over before the futures are.

    Examples
    --------
    >>> list(as_completed([]))
    []
    """

    def __init__(
        self,
        futures: Iterable[Future] | None = None,
        loop: object = None,
        with_results: bool = False,
        raise_errors: bool = True,
        *,
        timeout: Duration = None,
    ) -> None:
        self.loop = loop
        self.lock = threading.Lock()
        """For the caller's use: nothing here takes it."""
        self.with_results = with_results
        self.raise_errors = raise_errors
        timeout_s = seconds(timeout)
        self._timeout_s = timeout_s
        self._until = None if timeout_s is None else monotonic() + timeout_s
        self._session: Session | None = None
        # All these are changed under the session's lock only.
        self._waiting: dict[Entry, list[Future]] = {}
        self._ready: deque[Future] = deque()
        self._count = 0
        self._latches: list[Latch] = []
        if futures is not None:
            self.update(futures)

    # ---------------------------------------------------------------- futures in

    def add(self, future: Future) -> None:
        """Take one more future."""
        if not isinstance(future, Future) and not gather.is_call(future):
            raise TypeError(f"as_completed takes futures, not {type(future).__name__}")
        session = future.bound().session
        if self._session is None:
            self._session = session
        elif session is not self._session:
            raise ValueError(f"{future!r} belongs to another client than the futures before it")
        with session.lock:
            self._count += 1
            entry = future.entry
            present = self._waiting.get(entry)
            if present is not None:
                present.append(future)
                return
            self._waiting[entry] = [future]
        session.enlist(entry, self)

    def update(self, futures: Iterable[Future]) -> None:
        """Take more futures."""
        try:
            iterator = iter(futures)
        except TypeError:
            kind = type(futures).__name__
            raise TypeError(f"futures must be futures in a list or another iterable, not {kind}") from None
        for future in iterator:
            self.add(future)

    def settle(self, entry: Entry) -> None:
        """Take note, under the session's lock, that an entry is done."""
        self._ready.extend(self._waiting.pop(entry, ()))
        latches, self._latches = self._latches, []
        for latch in latches:
            latch.open()

    # ---------------------------------------------------------------- futures out

    def _next(self, load: bool = True) -> Steps[Any]:
        """The next future, or its pair with its result; None when there are no more."""
        session = self._session
        while session is not None:
            with session.lock:
                if self._ready:
                    future = self._ready.popleft()
                    self._count -= 1
                    break
                if not self._waiting:
                    return None
                latch = Latch(1)
                self._latches.append(latch)
            yield latch
        else:
            return None
        if not (load and self.with_results):
            return future
        return (yield from self._paired(session, future))

    def _paired(self, session: Session, future: Future) -> Steps[tuple[Future, Any]]:
        entry = future.entry
        if entry.status == CANCELLED or (entry.status == ERROR and not self.raise_errors):
            error = gather.error_of(entry)
            cancelled = entry.status == CANCELLED
            return future, error if cancelled else (type(error), error, error.__traceback__ if error else None)
        return future, (yield from gather.result(future))

    def _left_s(self) -> float | None:
        return None if self._until is None else max(0.0, self._until - monotonic())

    def _what(self) -> str:
        return f"as_completed with {self._timeout_s} s in all, {self.count()} futures left"

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        item = block(self._next(), self._left_s(), self._what)
        if item is None:
            raise StopIteration
        return item

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        item = await follow(self._next(), self._left_s(), self._what)
        if item is None:
            raise StopAsyncIteration
        return item

    def next(self) -> Any:
        """Return the next one that is ready; waits for it."""
        return self.__next__()

    def next_batch(self, block: bool = True) -> list[Any]:
        """Return all that are ready; with ``block``, wait until there is one."""
        batch = [next(self)] if block and not self.is_empty() else []
        while self.has_ready():
            batch.append(next(self))
        return batch

    def batches(self) -> Iterator[list[Any]]:
        """Yield lists of what is ready, until all are done."""
        while not self.is_empty():
            yield self.next_batch(block=True)

    # ---------------------------------------------------------------- facts

    @property
    def futures(self) -> dict[Future, int]:
        """Those that are not done, and how often each was added; its ``clear`` forgets them."""
        counts = _Waiting(self)
        for waiting in list(self._waiting.values()):
            for future in waiting:
                counts[future] = counts.get(future, 0) + 1
        return counts

    @property
    def queue(self) -> _Ready:
        """Those that are done, and have not been yielded."""
        return _Ready(self)

    def count(self) -> int:
        """How many futures are still to come."""
        return self._count

    def has_ready(self) -> bool:
        """Whether the next one is there without waiting."""
        return bool(self._ready)

    def is_empty(self) -> bool:
        """Whether there are no more."""
        return self.count() == 0

    def clear(self) -> None:
        """Forget all futures."""
        session = self._session
        if session is None:
            return
        with session.lock:
            self._forget_waiting()
            self._ready.clear()
            self._count = 0

    def _forget_waiting(self) -> None:
        """Forget, under the session's lock, those that are not done."""
        for entry, futures in self._waiting.items():
            entry.delist(self)
            self._count -= len(futures)
        self._waiting.clear()
        latches, self._latches = self._latches, []
        for latch in latches:
            latch.open()


class _Waiting(dict[Future, int]):
    """Futures that are not done, as they were when one looked."""

    def __init__(self, owner: as_completed) -> None:
        super().__init__()
        self._owner = owner

    def clear(self) -> None:
        """Have the iterator forget those that are not done."""
        session = self._owner._session
        if session is not None:
            with session.lock:
                self._owner._forget_waiting()
        super().clear()


class _Ready:
    """Futures that are done, and have not been yielded, as a queue."""

    def __init__(self, owner: as_completed) -> None:
        self._owner = owner

    def __len__(self) -> int:
        return len(self._owner._ready)

    def __iter__(self) -> Iterator[Future]:
        return iter(list(self._owner._ready))

    qsize = __len__

    def empty(self) -> bool:
        """Whether there is none."""
        return not self._owner._ready

    def get(self) -> Future:
        """Take the next one out; queue.Empty where there is none."""
        owner = self._owner
        if owner._session is not None:
            with owner._session.lock:
                if owner._ready:
                    owner._count -= 1
                    return owner._ready.popleft()
        raise Empty
