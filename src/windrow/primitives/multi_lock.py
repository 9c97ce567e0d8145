"""`MultiLock`: several names locked at once, or none.

What lives here: both sides of it: the service, which is pure, and the class that programs use. What this file must
never know: sockets, and how a client works. Its names have nothing to do with those of `Lock`.

Names are granted all together, so two who want the same ones never wait for each other. Who has waited longer has the
first right to the names it wants: they are not given to others meanwhile, so that one who wants many comes to its
turn too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, ClassVar

from msgspec import Struct

from windrow import context
from windrow.errors import ClosedClientError
from windrow.keys import Key, checked
from windrow.primitives.service import Desk, Question, Service
from windrow.primitives.shared import Holdings, Shared, check_blocking, new_lease, seconds, wait_s
from windrow.wire.blobs import Blob
from windrow.wire.messages import Reply

__all__ = ["MultiLock", "MultiLocks"]

logger = logging.getLogger("windrow.primitives")


class Acquire(Struct, tag="acquire", array_like=True):
    """Lock ``count`` of these names. Reply value: whether they are."""

    lease: str
    names: list[Key]
    count: int
    wait: bool = True


class Release(Struct, tag="release", array_like=True):
    """Reply value: whether the lease was there."""

    lease: str


class Holder:
    """Who has locked which names."""

    __slots__ = ("client", "names")

    def __init__(self, client: str, names: list[Key]) -> None:
        self.client = client
        self.names = names


class MultiLocks(Service):
    """The names that are locked, and who waits, first come first."""

    name: ClassVar[str] = "multi-locks"
    requests: ClassVar[Any] = Acquire | Release

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.holders: dict[str, Holder] = {}
        self.locked: dict[Key, str] = {}
        self.waiting: dict[str, Question] = {}

    def ask(self, question: Question, request: Any, blobs: list[Blob]) -> None:
        """Answer a request."""
        if type(request) is Acquire:
            self._acquire(question, request)
        elif request.lease in self.holders:
            self._free([request.lease])
            question.answer(True)
        else:
            question.answer(False)

    def _acquire(self, question: Question, request: Acquire) -> None:
        if not 0 <= request.count <= len(request.names) or len(set(request.names)) != len(request.names):
            raise ValueError(f"{request.count} names of {request.names} cannot be locked")
        if request.lease in self.holders or request.lease in self.waiting:
            raise ValueError(f"the lease {request.lease!r} was asked for twice")
        question.note = request
        self.waiting[request.lease] = question
        self._grant()
        if question.open and not request.wait:
            del self.waiting[request.lease]
            question.answer(False)

    def _due(self) -> Iterator[tuple[Question, list[Key]]]:
        """Those whose turn it is, with the names that they get."""
        taken = set(self.locked)
        for question in self.waiting.values():
            wish: Acquire = question.note
            free = [name for name in wish.names if name not in taken]
            if len(free) >= wish.count:
                free = free[: wish.count]
                yield question, free
            taken.update(free)  # locked, or kept for who came first

    def _grant(self) -> None:
        for question, names in list(self._due()):
            lease = question.note.lease
            del self.waiting[lease]
            self.holders[lease] = Holder(question.client, names)
            self.locked.update(dict.fromkeys(names, lease))
            question.answer(True)

    def _free(self, leases: list[str]) -> None:
        for lease in leases:
            for name in self.holders.pop(lease).names:
                del self.locked[name]
        self._grant()

    def withdraw(self, question: Question) -> None:
        """A caller waits no longer, and what was kept for it may be had by others."""
        del self.waiting[question.note.lease]
        question.end()
        self._grant()

    def left(self, client: str) -> None:
        """A client has gone, and its names are free."""
        self._free([lease for lease, holder in self.holders.items() if holder.client == client])

    def check(self) -> None:
        """Raise AssertionError if something is wrong."""
        for lease, holder in self.holders.items():
            assert self.desk.is_here(holder.client), f"{holder.client} is gone, and holds {holder.names}"
            for name in holder.names:
                assert self.locked.get(name) == lease, f"{name!r} is not locked by its holder"
        assert len(self.locked) == sum(len(holder.names) for holder in self.holders.values())
        for question in self.waiting.values():
            assert question.open, f"{question} is answered, and waits"
        assert not list(self._due()), "somebody waits for names that are free"


class MultiLock(Shared):
    """Several names locked at once, or none, so that two who want the same ones never wait for each other.

    Parameters
    ----------
    names
        What to lock; each name once. Such names have nothing to do with those of `Lock`.
    client
        The client to use; by default the one at hand, and ValueError when there is none.

    Notes
    -----
    What is held is free again when its holder's process ends, whatever ends it. It is not re-entrant. A pickled copy
    is another lock on the same names.

    Examples
    --------
    >>> def move(source, target):  # on the workers: neither account is touched by another task meanwhile
    ...     with MultiLock([source, target]):
    ...         return source, target
    >>> client.submit(move, "alice", "bob").result()  # doctest: +SKIP
    ('alice', 'bob')
    """

    _service = MultiLocks.name

    def __init__(self, names: Iterable[Key] | None = None, client: object = None) -> None:
        if isinstance(names, str | bytes):
            raise TypeError(f"names must be a list of names, not {names!r}: write [{names!r}]")
        self._begin([checked(name, "names") for name in names or ()], client)
        if self._client is None:
            self._client = context.client()

    def _begin(self, names: list[Key], client: object) -> None:
        super().__init__(None, client)
        self.names = list(dict.fromkeys(names))
        self._held = Holdings()

    def acquire(self, blocking: bool = True, timeout: float | str | None = None, num_locks: int | None = None) -> Any:
        """Wait until the names are locked.

        Parameters
        ----------
        blocking
            Whether to wait at all.
        timeout
            Seconds, or such as ``"5 s"``; 0 does not wait.
        num_locks
            Lock any so many of the names; all by default.

        Returns
        -------
        bool
            Whether they were had.

        Raises
        ------
        ValueError
            A timeout for what does not wait, or more names than there are.
        """
        count = len(self.names) if num_locks is None else num_locks
        if isinstance(count, bool) or not isinstance(count, int):
            raise TypeError(f"num_locks must be a whole number, not {num_locks!r}")
        if not 0 <= count <= len(self.names) or (count == 0 and self.names):
            raise ValueError(f"num_locks must be between 1 and {len(self.names)}, the number of names, not {count}")
        if not blocking and timeout is not None and seconds(timeout):
            raise ValueError("a timeout is for what waits: leave out timeout=, or blocking=False")
        wait, limit_s = wait_s(timeout)
        return self._acquire(blocking and wait, limit_s, count=count)

    def _acquire(
        self, wait: bool, limit_s: float | None, asynchronous: bool | None = None, count: int | None = None
    ) -> Any:
        client, lease = self.client, new_lease()
        return client.consult(
            self._service,
            Acquire(lease, self.names, len(self.names) if count is None else count, wait),
            timeout_s=limit_s,
            then=partial(self._answered, client, lease),
            undo=Release(lease),
            asynchronous=asynchronous,
            at_once=True,
        )

    def _answered(self, client: Any, lease: str, reply: Reply | None) -> bool:
        if reply is None or not reply.value:
            return False
        self._held.add(lease, client)
        return True

    def release(self) -> Any:
        """Give the names back.

        Raises
        ------
        ValueError
            This object holds none.
        """
        return self._release(None)

    def _release(self, asynchronous: bool | None) -> Any:
        held = self._held.take()
        if held is None:
            raise ValueError(f"{self!r} cannot be released: it is not acquired")
        lease, client = held
        if client.asynchronous if asynchronous is None else asynchronous:
            return self._give_back_async(client, lease)
        try:
            client.consult(self._service, Release(lease), asynchronous=False, at_once=True)
        except ClosedClientError as error:
            self._out_of_reach(error)
        return None

    async def _give_back_async(self, client: Any, lease: str) -> None:
        try:
            await client.consult(self._service, Release(lease), asynchronous=True)
        except ClosedClientError as error:
            self._out_of_reach(error)

    def _out_of_reach(self, error: ClosedClientError) -> None:
        logger.warning("%r cannot be released (what it holds ends with its client): %s", self, error)

    def locked(self) -> bool:
        """Return whether this object holds its names."""
        return len(self._held) > 0

    def __enter__(self) -> MultiLock:
        check_blocking(self)
        self._acquire(True, None)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._release(False)

    async def __aenter__(self) -> MultiLock:
        await self._acquire(True, None, True)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._release(True)

    def __repr__(self) -> str:
        return f"<MultiLock: {self.names}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.names,)


def _again(names: list[Key]) -> MultiLock:
    """Unpickle; the client is found when it is needed, as the arguments of a task are loaded before it runs."""
    lock = MultiLock.__new__(MultiLock)
    lock._begin(names, None)
    return lock
