"""Semaphores: so many leases of a name at a time, wherever those who want one run.

What lives here: both sides of `Semaphore`: the service, which is pure, and the class that programs use. `Lock` is a
semaphore with one lease (lock). What this file must never know: sockets, and how a client works.

A lease belongs to the client that asked for it, and ends with it at once. While an object holds leases, its side says
so every fifth of ``distributed.scheduler.locks.lease-timeout``; the scheduler frees those of which it hears nothing
for as long as that, so that a process that hangs does not stop all others.
"""

from __future__ import annotations

import logging
import math
import threading
import weakref
from functools import partial
from typing import Any, ClassVar

from msgspec import Struct

from windrow.errors import ClosedClientError
from windrow.keys import Key
from windrow.primitives.service import Desk, Question, Service
from windrow.primitives.shared import Holdings, Shared, as_client, check_blocking, new_lease, wait_s
from windrow.wire.blobs import Blob
from windrow.wire.messages import Reply
from windrow.wire.requests import Ask

__all__ = ["Semaphore", "Semaphores"]

logger = logging.getLogger("windrow.primitives")

BEATS = 5
"""How often a lease is refreshed in the time after which it would expire."""


# ---------------------------------------------------------------- what is asked


class Acquire(Struct, tag="acquire", array_like=True):
    """Reply value: the seconds after which the lease expires when it is not refreshed; None when it is not granted."""

    name: Key
    lease: str
    max_leases: int
    wait: bool = True
    make: bool = True
    """Whether the semaphore may be made for this; else it must be there."""
    keep: bool = False
    """Whether it stays when nobody holds it or waits for it: until it is closed, or all who use it have gone."""


class Release(Struct, tag="release", array_like=True):
    """Reply value: whether the lease was there."""

    name: Key
    lease: str


class Refresh(Struct, tag="refresh", array_like=True):
    """These leases are in use. Reply value: the leases among them that are not there."""

    names: list[Key]
    leases: list[list[str]]


class Register(Struct, tag="register", array_like=True):
    """Make the semaphore, if it is not there."""

    name: Key
    max_leases: int


class Value(Struct, tag="value", array_like=True):
    """Reply value: how many leases are out."""

    name: Key


class Close(Struct, tag="close", array_like=True):
    """Forget the semaphore; who waits for it is refused."""

    name: Key


# ---------------------------------------------------------------- the scheduler's side


class Lease:
    """One holder of a semaphore."""

    __slots__ = ("client", "seen_s")

    def __init__(self, client: str, seen_s: float) -> None:
        self.client = client
        self.seen_s = seen_s


class Record:
    """One semaphore: who holds it, and who waits, first come first."""

    __slots__ = ("acquired", "kept", "leases", "max_leases", "name", "released", "users", "waited_s", "waiting")

    def __init__(self, name: Key, max_leases: int) -> None:
        self.name = name
        self.max_leases = max_leases
        self.leases: dict[str, Lease] = {}
        self.waiting: dict[str, tuple[Question, float]] = {}
        """Questions, and since when they wait."""
        self.acquired = 0
        self.released = 0
        self.waited_s = 0.0
        """How long those who have acquired it waited, together."""
        self.kept = False
        self.users: dict[str, None] = {}
        """Clients for whose sake it is kept."""


class Semaphores(Service):
    """The scheduler's semaphores and locks."""

    name: ClassVar[str] = "semaphores"
    requests: ClassVar[Any] = Acquire | Release | Refresh | Register | Value | Close

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.records: dict[Key, Record] = {}
        self.leases = 0
        self._looked_s = -math.inf

    @property
    def lease_timeout_s(self) -> float:
        """How long a lease lives without being refreshed; may be infinite."""
        return float(self.desk.config.lease_timeout_s)

    def ask(self, question: Question, request: Any, blobs: list[Blob]) -> None:
        """Answer a request."""
        if type(request) is Acquire:
            self._acquire(question, request)
        elif type(request) is Release:
            question.answer(self._release(request.name, request.lease))
        elif type(request) is Refresh:
            question.answer(self._refresh(request))
        elif type(request) is Register:
            self._keep(self._find(request.name, request.max_leases, make=True), question.client)
            question.answer()
        elif type(request) is Value:
            record = self.records.get(request.name)
            question.answer(0 if record is None else len(record.leases))
        else:
            self._close(request.name)
            question.answer()

    def _find(self, name: Key, max_leases: int, make: bool) -> Record:
        record = self.records.get(name)
        if record is None:
            if not make:
                raise RuntimeError(
                    f"the semaphore {name!r} is not there any more: it was closed; make a new object to open it again"
                )
            record = self.records[name] = Record(name, max_leases)
        elif record.max_leases != max_leases:
            raise ValueError(
                f"the semaphore {name!r} has max_leases={record.max_leases}, and max_leases={max_leases} was asked "
                "for: all who use a name must agree on the number, or use another name"
            )
        return record

    @staticmethod
    def _keep(record: Record, client: str) -> None:
        record.kept = True
        record.users[client] = None

    def _acquire(self, question: Question, request: Acquire) -> None:
        record = self._find(request.name, request.max_leases, request.make)
        if request.keep:
            self._keep(record, question.client)
        if request.lease in record.leases or request.lease in record.waiting:
            raise ValueError(f"the lease {request.lease!r} of {request.name!r} was asked for twice")
        if len(record.leases) < record.max_leases:
            self._grant(record, request.lease, question)
        elif request.wait:
            question.note = request
            record.waiting[request.lease] = (question, self.desk.now_s)
        else:
            question.answer()

    def _grant(self, record: Record, lease: str, question: Question) -> None:
        record.leases[lease] = Lease(question.client, self.desk.now_s)
        record.acquired += 1
        self.leases += 1
        question.answer(self.lease_timeout_s)

    def _release(self, name: Key, lease: str) -> bool:
        record = self.records.get(name)
        if record is None or lease not in record.leases:
            return False
        self._free(record, [lease])
        return True

    def _free(self, record: Record, leases: list[str]) -> None:
        """Take leases back, and grant them to those who have waited longest."""
        for lease in leases:
            del record.leases[lease]
        self.leases -= len(leases)
        record.released += len(leases)
        while record.waiting and len(record.leases) < record.max_leases:
            lease = next(iter(record.waiting))
            question, since_s = record.waiting.pop(lease)
            record.waited_s += self.desk.now_s - since_s
            self._grant(record, lease, question)
        self._forget_if_idle(record)

    def _forget_if_idle(self, record: Record) -> None:
        if not record.leases and not record.waiting and not (record.kept and record.users):
            del self.records[record.name]

    def _refresh(self, request: Refresh) -> list[str]:
        lost = []
        for name, leases in zip(request.names, request.leases, strict=True):
            record = self.records.get(name)
            for lease in leases:
                if record is None or lease not in record.leases:
                    lost.append(lease)
                else:
                    record.leases[lease].seen_s = self.desk.now_s
        return lost

    def _close(self, name: Key) -> None:
        record = self.records.pop(name, None)
        if record is None:
            return
        self.leases -= len(record.leases)
        for question, _ in record.waiting.values():
            question.refuse(RuntimeError(f"the semaphore {name!r} was closed while this waited for it"))

    def withdraw(self, question: Question) -> None:
        """A caller waits no longer."""
        record = self.records[question.note.name]
        del record.waiting[question.note.lease]
        question.end()
        self._forget_if_idle(record)

    def left(self, client: str) -> None:
        """A client has gone, and its leases are free."""
        for record in list(self.records.values()):
            record.users.pop(client, None)
            self._free(record, [key for key, lease in record.leases.items() if lease.client == client])

    def returned(self, client: str) -> None:
        """A client was away, and could not refresh its leases."""
        for record in self.records.values():
            for lease in record.leases.values():
                if lease.client == client:
                    lease.seen_s = self.desk.now_s

    def tick(self) -> None:
        """Free the leases that nobody has refreshed, though he could."""
        now_s, timeout_s = self.desk.now_s, self.lease_timeout_s
        if now_s - self._looked_s < min(1.0, timeout_s / BEATS):
            return
        self._looked_s = now_s
        for record in list(self.records.values()):
            expired = [key for key, lease in record.leases.items() if now_s - lease.seen_s > timeout_s]
            if expired := [key for key in expired if not self.desk.is_away(record.leases[key].client)]:
                self._free(record, expired)

    def figures(self, most: int) -> list[dict[str, Any]]:
        """Return what monitors are told of semaphores that are kept (a lock is none): no more than so many."""
        kept = [record for record in self.records.values() if record.kept]
        return [
            {
                "name": str(record.name),
                "max_leases": record.max_leases,
                "active": len(record.leases),
                "pending": len(record.waiting),
                "acquired": record.acquired,
                "released": record.released,
                "waited_s": record.waited_s,
            }
            for record in kept[:most]
        ]

    @property
    def is_waiting(self) -> bool:
        """Whether a lease may expire."""
        return self.leases > 0 and self.lease_timeout_s < math.inf

    def check(self) -> None:
        """Raise AssertionError if something is wrong."""
        for name, record in self.records.items():
            assert record.name == name
            assert len(record.leases) <= record.max_leases, f"{name!r} has too many leases"
            assert not record.waiting or len(record.leases) == record.max_leases, f"a lease of {name!r} is free"
            assert record.leases or (record.kept and record.users), f"{name!r} is kept for nobody"
            for lease, holder in record.leases.items():
                assert self.desk.is_here(holder.client), f"{holder.client} is gone, and holds {lease} of {name!r}"
            for lease, (question, _) in record.waiting.items():
                assert question.open, f"{question} is answered, and waits for {lease} of {name!r}"
            for client in record.users:
                assert self.desk.is_here(client), f"{client} is gone, and uses {name!r}"
        assert self.leases == sum(len(record.leases) for record in self.records.values())


# ---------------------------------------------------------------- the user's side


class Semaphore(Shared):
    """At most so many holders of a name at a time, on the whole cluster.

    Parameters
    ----------
    max_leases
        How many may hold it at once. All who use the name must agree: ValueError otherwise, at the first use.
    name
        What those who share it call it; a new name by default.
    scheduler_rpc, loop
        Accepted for the sake of existing programs. A client may be given in the place of ``scheduler_rpc``.
    client
        The client to use; by default the one at hand: the worker's in a task, else the current one.

    Notes
    -----
    Who has waited longest comes first. A lease ends when the process of its holder ends, and when nothing is heard of
    the holder for ``distributed.scheduler.locks.lease-timeout`` (30 s; "inf": never). A lease is held by the object
    that acquired it and can be released by it alone; a pickled copy is another object.

    Examples
    --------
    >>> semaphore = Semaphore(max_leases=2, name="database")
    >>> def load(part):  # on the workers: no more than two of these use the database at once
    ...     with Semaphore(max_leases=2, name="database"):
    ...         return part
    >>> client.gather(client.map(load, range(10)))  # doctest: +SKIP
    """

    _service = Semaphores.name

    def __init__(
        self,
        max_leases: int = 1,
        name: Key | None = None,
        scheduler_rpc: object = None,
        loop: object = None,
        *,
        client: object = None,
    ) -> None:
        if isinstance(max_leases, bool) or not isinstance(max_leases, int):
            raise TypeError(f"max_leases must be a whole number, not {max_leases!r}")
        if max_leases < 1:
            raise ValueError(f"max_leases must be 1 or more, not {max_leases}")
        if client is None and scheduler_rpc is not None:
            client = as_client(scheduler_rpc, "scheduler_rpc")
        super().__init__(name, client)
        self.max_leases = max_leases
        self._held = Holdings()
        self._registered: Any = None
        """The client that has told the scheduler of this semaphore."""
        self._closed = False

    # ------------------------------------------------------------ leases

    def acquire(self, timeout: float | str | None = None) -> Any:
        """Wait for a lease.

        Parameters
        ----------
        timeout
            Seconds, or such as ``"5 s"``; 0 does not wait.

        Returns
        -------
        bool
            Whether it was had in time.

        Raises
        ------
        RuntimeError
            The semaphore was closed, or there is no client.
        ValueError
            The name is in use with another ``max_leases``.
        """
        wait, limit_s = wait_s(timeout)
        return self._acquire(wait, limit_s)

    def _acquire(self, wait: bool, limit_s: float | None, asynchronous: bool | None = None) -> Any:
        client = self._check_open()
        lease, new = new_lease(), self._registered is not client
        request = Acquire(self.name, lease, self.max_leases, wait, make=new, keep=new)
        return self._wait_for(client, request, limit_s, asynchronous)

    def _wait_for(self, client: Any, request: Acquire, limit_s: float | None, asynchronous: bool | None) -> Any:
        return client.consult(
            self._service,
            request,
            timeout_s=limit_s,
            then=partial(self._answered, client, request.lease),
            undo=Release(self.name, request.lease),
            asynchronous=asynchronous,
            at_once=True,
        )

    def _answered(self, client: Any, lease: str, reply: Reply | None) -> bool:
        self._registered = client
        if reply is None or reply.value is None:
            return False
        self._held.add(lease, client)
        _keep_fresh(client, self, reply.value)
        return True

    def release(self) -> Any:
        """Give a lease back, the oldest of this object.

        Returns
        -------
        bool
            False when it had expired, or the scheduler is out of reach (and has freed it, or will); that is logged.

        Raises
        ------
        RuntimeError
            This object holds no lease.
        """
        return self._release(None)

    def _release(self, asynchronous: bool | None) -> Any:
        held = self._held.take()
        if held is None:
            raise RuntimeError(
                f"{self!r} cannot be released: this object holds no lease of it. "
                "A lease is released by the object that acquired it."
            )
        lease, client = held
        if client.asynchronous if asynchronous is None else asynchronous:
            return self._give_back_async(client, lease)
        try:
            return self._give_back(client, lease, False)
        except ClosedClientError as error:
            return self._out_of_reach(error)

    async def _give_back_async(self, client: Any, lease: str) -> bool:
        try:
            return bool(await self._give_back(client, lease, True))
        except ClosedClientError as error:
            return self._out_of_reach(error)

    def _give_back(self, client: Any, lease: str, asynchronous: bool) -> Any:
        request = Release(self.name, lease)
        return client.consult(self._service, request, then=self._given_back, asynchronous=asynchronous, at_once=True)

    def _given_back(self, reply: Reply | None) -> bool:
        there = reply is not None and bool(reply.value)
        if not there:
            logger.warning(
                "%r was released, but its lease had expired or the semaphore was closed: others may have held it too. "
                "A process whose threads hold the interpreter for long cannot refresh its leases; see the setting "
                "distributed.scheduler.locks.lease-timeout",
                self,
            )
        return there

    def _out_of_reach(self, error: ClosedClientError) -> bool:
        logger.warning("%r cannot be released (its lease ends with its client): %s", self, error)
        return False

    def __enter__(self) -> Semaphore:
        check_blocking(self)
        self._acquire(True, None)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._release(False)

    async def __aenter__(self) -> Semaphore:
        await self._find_async()
        await self._acquire(True, None, True)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._release(True)

    # ------------------------------------------------------------ the semaphore itself

    def register(self, **kwargs: object) -> Any:
        """Make the semaphore on the scheduler now, instead of at the first `acquire`."""
        return self._register(None)

    def _register(self, asynchronous: bool | None) -> Any:
        client = self._check_open()
        request = Register(self.name, self.max_leases)
        then = partial(self._noted, client)
        return client.consult(self._service, request, then=then, asynchronous=asynchronous)

    def _noted(self, client: Any, reply: Reply | None) -> None:
        self._registered = client

    async def _here(self) -> Semaphore:
        await self._find_async()
        await self._register(True)
        return self

    def get_value(self) -> Any:
        """Return how many leases are out, of all who use the name."""
        return self._ask(Value(self.name))

    def close(self) -> Any:
        """Forget the semaphore, for all: who waits for it gets a RuntimeError, and so do later uses of their objects.

        A new `Semaphore` of the name begins anew.
        """
        self._closed = True
        return self._ask(Close(self.name))

    def _check_open(self) -> Any:
        if self._closed:
            raise RuntimeError(f"{self!r} was closed; make a new object to open it again")
        return self.client

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.max_leases, self.name)


# ---------------------------------------------------------------- leases that stay fresh

_lock = threading.Lock()
_refreshers: weakref.WeakKeyDictionary[Any, Refresher] = weakref.WeakKeyDictionary()


def _keep_fresh(client: Any, semaphore: Semaphore, lease_s: float) -> None:
    """Have a semaphore's leases refreshed on the client's loop, as long as it has any and is alive."""
    if lease_s == math.inf:
        return
    with _lock:
        refresher = _refreshers.get(client)
        if refresher is None:
            refresher = _refreshers[client] = Refresher(client)
        refresher.semaphores.add(semaphore)
        refresher.interval_s = lease_s / BEATS
        if not refresher.running:
            refresher.running = True
            try:
                client.loop.call_soon_threadsafe(refresher.start)
            except RuntimeError:  # the loop is closed, and the lease ends with its client
                refresher.running = False


class Refresher:
    """Says now and then which leases of a client are in use; it stops when there are none."""

    def __init__(self, client: Any) -> None:
        self.client = weakref.ref(client)
        self.semaphores: weakref.WeakSet[Semaphore] = weakref.WeakSet()
        self.interval_s = 1.0
        self.running = False
        self._lost: set[str] = set()

    def start(self) -> None:
        """Set the clock, on the loop."""
        client = self.client()
        if client is not None and client.loop is not None:
            client.loop.call_later(self.interval_s, self.beat)

    def beat(self) -> None:
        """Refresh, on the loop."""
        client = self.client()
        with _lock:
            leases = self._leases(client)
            if not leases or client is None or client.session.status != "running":
                self.running = False
                return
        try:
            question = client.session.ask(Ask(Semaphores.name, Refresh(list(leases), list(leases.values()))))
        except ClosedClientError:  # at this moment; the scheduler frees what its client held
            self.running = False
            return
        # Out of the session's lock, under which this is called: whoever logs may want to send something.
        question.attach(lambda: client.loop.call_soon_threadsafe(self._answered, question.reply))
        self.start()

    def _leases(self, client: Any) -> dict[Key, list[str]]:
        leases: dict[Key, list[str]] = {}
        for semaphore in list(self.semaphores):
            held = semaphore._held.of(client)
            if held:
                leases.setdefault(semaphore.name, []).extend(held)
            else:
                self.semaphores.discard(semaphore)
        return leases

    def _answered(self, reply: Reply | None) -> None:
        lost = [] if reply is None or reply.value is None else reply.value
        for lease in lost:
            if lease not in self._lost:
                self._lost.add(lease)
                logger.warning("a lease has expired while it was in use, or its semaphore was closed (%s)", lease)
