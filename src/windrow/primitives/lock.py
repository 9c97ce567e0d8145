"""`Lock`: one holder at a time, on the whole cluster.

What lives here: the class that programs use. What this file must never know: how leases are granted, which is the
business of semaphores, of which a lock is one with a single lease.
"""

from __future__ import annotations

from typing import Any

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
    The lock is free again when its holder's process ends, whatever ends it. See `Semaphore` for leases.

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
        client = self._check_open()
        return self._wait_for(client, Acquire(self.name, new_lease(), 1, wait), limit_s, asynchronous)

    def locked(self) -> Any:
        """Return whether anybody holds the lock."""
        return self._ask(Value(self.name), then=_is_held)

    async def _here(self) -> Lock:
        await self._find_async()
        return self

    def register(self, **kwargs: object) -> Any:
        """Do nothing: the scheduler hears of a lock when somebody acquires it."""
        return self._ask(Value(self.name), then=_nothing)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name,)


def _is_held(reply: Reply | None) -> bool:
    return reply is not None and bool(reply.value)


def _nothing(reply: Reply | None) -> None:
    return None
