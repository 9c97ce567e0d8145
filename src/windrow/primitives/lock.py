"""`Lock`: one holder at a time, on the whole cluster.

What lives here: the class that programs use. What this file must never know: how leases are granted, which is the
business of semaphores, of which a lock is one with a single lease.

Copies of a lock that are unpickled in the tasks of one process are one object. Who combines locks sorts them by the
addresses of the objects, so that all take them in one order (xarray does, for files that are written); with copies that
lie somewhere else in each task, two tasks would take a lock of the process and this one in opposite orders, and wait
for each other for ever. What such an object holds is each task's own nevertheless.
"""

from __future__ import annotations

import threading
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

from windrow import context
from windrow.keys import Key
from windrow.primitives.semaphore import Acquire, Semaphore, Value
from windrow.primitives.shared import new_lease, seconds, wait_s
from windrow.wire.messages import Reply

__all__ = ["Lock"]


class Lock(Semaphore):
    """One holder of a name at a time, on the whole cluster.

    Parameters
    ----------
    name
        What those who share it call it; a new name by default.
    scheduler_rpc, loop
        Accepted for the sake of existing programs. A client may be given in the place of ``scheduler_rpc``.
    client
        The client to use; by default the one at hand: the worker's in a task, else the current one.

    Notes
    -----
    Who has waited longest comes first. It is not re-entrant: whoever holds it and acquires it again waits for ever.
    The lock is free again when its holder's process ends, whatever ends it. See `Semaphore` for leases. Copies that
    tasks of one process have unpickled are one object, which each task acquires and releases for itself.

    Examples
    --------
    >>> lock = Lock("file.h5")
    >>> def append(part):  # on the workers: one at a time
    ...     with Lock("file.h5"):
    ...         return part
    >>> client.gather(client.map(append, range(10)))  # doctest: +SKIP
    """

    def __init__(
        self,
        name: Key | None = None,
        scheduler_rpc: object = None,
        loop: object = None,
        *,
        client: object = None,
    ) -> None:
        super().__init__(1, name, scheduler_rpc, loop, client=client)
        self._parts: WeakKeyDictionary[object, Lock] | None = None
        """What is each task's own of a copy that tasks share; None: this is no such copy."""

    def _own(self) -> Lock:
        """What of this object belongs to what runs here: all of it, unless tasks share it."""
        place = context.place()
        if self._parts is None or place is None:
            return self
        owner = place.owner
        if owner is None:
            return self
        with _lock:
            part = self._parts.get(owner)
            if part is None:
                part = self._parts[owner] = type(self)(self.name)
            return part

    @property
    def client(self) -> Any:
        """The client that asks the scheduler: the one given, else the one at hand when it was first needed."""
        own = self._own()
        return super().client if own is self else own.client

    def acquire(self, blocking: bool = True, timeout: float | str | None = None) -> Any:  # type: ignore[override]
        """Wait for the lock.

        Parameters
        ----------
        blocking
            Whether to wait at all.
        timeout
            Seconds, or such as ``"5 s"``; 0 does not wait.

        Returns
        -------
        bool
            Whether it was had.

        Raises
        ------
        ValueError
            A timeout for what does not wait.
        RuntimeError
            There is no client, or the lock was closed.
        """
        if not blocking:
            if timeout is not None and seconds(timeout):
                raise ValueError("a timeout is for what waits: leave out timeout=, or blocking=False")
            return self._acquire(False, None)
        wait, limit_s = wait_s(timeout)
        return self._acquire(wait, limit_s)

    def _acquire(self, wait: bool, limit_s: float | None, asynchronous: bool | None = None) -> Any:
        # The scheduler knows a lock only while somebody holds it or waits: there may be very many.
        own = self._own()
        client = own._check_open()
        return own._wait_for(client, Acquire(self.name, new_lease(), 1, wait), limit_s, asynchronous)

    def _release(self, asynchronous: bool | None) -> Any:
        own = self._own()
        return super()._release(asynchronous) if own is self else own._release(asynchronous)

    def close(self) -> Any:
        """Forget the lock, for all: who waits for it gets a RuntimeError, and so do later uses of this object."""
        own = self._own()
        return super().close() if own is self else own.close()

    def locked(self) -> Any:
        """Return whether anybody holds the lock."""
        return self._ask(Value(self.name), then=_is_held)

    async def _find_async(self) -> None:
        own = self._own()
        await (super()._find_async() if own is self else own._find_async())

    async def _here(self) -> Lock:
        await self._find_async()
        return self

    def register(self, **kwargs: object) -> Any:
        """Do nothing: the scheduler hears of a lock when somebody acquires it."""
        return self._ask(Value(self.name), then=_nothing)

    def __reduce__(self) -> tuple[Any, ...]:
        return _copy, (type(self), self.name)


_lock = threading.RLock()  # a collection of garbage inside of it may come back here
_copies: WeakValueDictionary[tuple[type[Lock], Key], Lock] = WeakValueDictionary()


def _copy(kind: type[Lock], name: Key) -> Lock:
    """Unpickle a lock; in tasks, find the one copy that they share in this process."""
    place = context.place()
    if place is None or place.owner is None:
        return kind(name)
    with _lock:
        copy = _copies.get((kind, name))
        if copy is None:
            copy = _copies[kind, name] = kind(name)
            copy._parts = WeakKeyDictionary()
        return copy


def _is_held(reply: Reply | None) -> bool:
    return reply is not None and bool(reply.value)


def _nothing(reply: Reply | None) -> None:
    return None
