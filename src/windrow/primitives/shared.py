"""What all shared things have in common: a name, a client that is found when it is needed, futures inside their values.

What lives here: `Shared`, under the classes that programs use; and `Held`, the part of a service that keeps the results
which stored values refer to. What this file must never know: any one of these things, and how a client works.

A result is handed from a service to a client without a gap: the service keeps it under a name of its own until the
client says that it has futures on it (`Taken`). Until then it might drop the last one of its old futures, and have
the result forgotten while a new one is on its way.
"""

from __future__ import annotations

import uuid
from collections.abc import Generator, Iterable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct

from windrow import config, context
from windrow.errors import FutureCancelledError
from windrow.keys import Key, checked, from_plain
from windrow.primitives.service import Desk, Question
from windrow.wire import payload
from windrow.wire.blobs import Blob
from windrow.wire.messages import Reply
from windrow.wire.requests import Ask

__all__ = ["Held", "Holdings", "Item", "Shared", "Taken", "pack", "unpack"]

S = TypeVar("S", bound="Shared")


# ---------------------------------------------------------------- arguments


def seconds(value: object, argument: str = "timeout") -> float | None:
    """Return a duration in seconds, not below 0: a number, a timedelta, or words such as ``"500 ms"``; None stays None.

    Examples
    --------
    >>> seconds("500 ms"), seconds(-1), seconds(None)
    (0.5, 0.0, None)
    """
    if value is None:
        return None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"{argument} must be seconds, a timedelta or a string such as '5 s', not {value!r}")
    try:
        number = config.parse_timedelta(value)
    except ValueError as error:
        raise ValueError(f"{argument}: {error}") from None
    if number != number:
        raise ValueError(f"{argument} must be a number of seconds, not NaN")
    return max(0.0, number)


def wait_s(timeout: object) -> tuple[bool, float | None]:
    """Return whether to wait at all (not for a timeout of 0), and for how long at most.

    Examples
    --------
    >>> wait_s(None), wait_s(0), wait_s(2)
    ((True, None), (False, None), (True, 2.0))
    """
    limit_s = seconds(timeout)
    return (False, None) if limit_s == 0 else (True, limit_s)


def as_client(client: object, argument: str = "client") -> Any:
    """Return a client, or None; TypeError for what is none."""
    if client is not None and not callable(getattr(client, "consult", None)):
        raise TypeError(f"{argument} must be a windrow Client, or None to find one when it is needed, not {client!r}")
    return client


# ---------------------------------------------------------------- the user's side


class Shared:
    """Something that lives on the scheduler under a name, for all who know the name.

    Methods block; on an asynchronous client, and in coroutines on a client's loop, they return awaitables. A pickle of
    it is its name. Subclasses say which service they ask.
    """

    _service = ""

    def __init__(self, name: Key | None, client: object = None) -> None:
        if name == "":
            raise ValueError("name must not be empty: leave it out to have one made")
        self.name = f"{type(self).__name__.lower()}-{uuid.uuid4().hex}" if name is None else checked(name, "name")
        self._given = as_client(client)
        self._client = self._given

    @property
    def client(self) -> Any:
        """The client that asks the scheduler: the one given, else the one at hand when it was first needed."""
        client = self._client
        if client is None or (client.status == "closed" and client is not self._given):
            client = self._client = self._find()
        return client

    def _find(self) -> Any:
        try:
            return context.client()
        except ValueError as error:
            raise RuntimeError(
                f"{self!r} lives on a scheduler, and no client is here to reach one: make a Client() first"
            ) from error

    async def _find_async(self) -> None:
        """Find the client, in a coroutine: a worker's may have to be connected first, which its loop cannot await."""
        if self._client is None and context.place() is not None:
            import asyncio

            self._client = await asyncio.to_thread(self._find)

    @property
    def asynchronous(self) -> bool:
        """Whether methods return awaitables here."""
        return bool(self.client.asynchronous)

    @property
    def loop(self) -> Any:
        """The event loop that serves the client."""
        return self.client.loop

    def _ask(self, request: Struct, blobs: Sequence[Blob] = (), **how: Any) -> Any:
        """Ask the service through this object's client; see ``Client.consult``."""
        return self.client.consult(self._service, request, blobs, **how)

    async def _here(self: S) -> S:
        await self._find_async()
        return self

    def __await__(self: S) -> Generator[Any, Any, S]:
        return self._here().__await__()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name,)


def check_blocking(lock: Shared) -> None:
    """Raise TypeError where ``with`` cannot wait."""
    if lock.asynchronous:
        raise TypeError(f"{lock!r} is used on an asynchronous client, where 'with' cannot wait: use 'async with'")


class Holdings:
    """What one object has acquired and not given back: ids, each with the client that asked; for any thread."""

    __slots__ = ("_leases",)

    def __init__(self) -> None:
        self._leases: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._leases)

    def add(self, lease: str, client: Any) -> None:
        """Note a lease."""
        self._leases[lease] = client

    def of(self, client: Any) -> list[str]:
        """Return the leases of a client."""
        return [lease for lease, holder in list(self._leases.items()) if holder is client]

    def take(self) -> tuple[str, Any] | None:
        """Return the oldest lease and its client, to be given back; None when there is none."""
        for lease in list(self._leases):
            client = self._leases.pop(lease, None)
            if client is not None:  # no other thread was faster
                return lease, client
        return None


def new_lease() -> str:
    """Return an id that nobody else has."""
    return uuid.uuid4().hex


# ---------------------------------------------------------------- values with futures in them


class Taken(Struct, tag="taken", array_like=True):
    """A client has its own futures on what it was handed under this number."""

    number: int


class Item(NamedTuple):
    """A stored value: its pickle, and the keys of the futures in it, by position."""

    blob: Blob
    keys: list[Key]


def pack(value: object, what: str) -> tuple[list[Blob], list[Key]]:
    """Pickle a value for a service; return the blobs to send, and the keys of the futures inside.

    Examples
    --------
    >>> blobs, keys = pack([1], "the value")
    >>> unpack(None, "", Reply(1, None, blobs))
    [[1]]
    """
    with payload.collecting(holder=True) as collection:
        blob = payload.dumps(value, what)
        return [blob], list(collection.take())


def unpack(client: Any, service: str, reply: Reply) -> list[Any]:
    """Return the values that a service has handed over (see `Held.hand_over`), with futures of this client in them."""
    if reply.value is None:
        return [payload.loads(_there(blob), copy=True) for blob in reply.blobs]
    number, columns = reply.value
    try:
        values = []
        for blob, keys in zip(reply.blobs, columns, strict=True):
            with payload.resolving([client.bind(from_plain(key)) for key in keys]):
                values.append(payload.loads(_there(blob), copy=True))
        return values
    finally:
        acknowledge(client, service, number)


def acknowledge(client: Any, service: str, number: int) -> None:
    """Tell a service that what it handed over under this number needs it no more."""
    if client.session.status == "running":
        client.session.ask(Ask(service, Taken(number)))


def disown(client: Any, service: str, reply: Reply) -> None:
    """Let go of what was handed over to somebody who has stopped waiting."""
    if reply.value is not None:
        acknowledge(client, service, reply.value[0])


def _there(blob: Blob | None) -> Blob:
    assert blob is not None, "a stored value has its pickle"
    return blob


# ---------------------------------------------------------------- the service's side


class Held:
    """The results that a service's stored values refer to, kept alive for each owner as often as it has them.

    Parameters
    ----------
    desk
        The scheduler.
    service
        The service's name, which begins the names of owners.
    """

    def __init__(self, desk: Desk, service: str) -> None:
        self.desk = desk
        self.service = service
        self.counts: dict[str, dict[Key, int]] = {}
        """How many stored values refer to a key, by owner."""
        self.handed: dict[int, tuple[str, list[Key]]] = {}
        """The client and the keys of what is on its way, by number."""
        self._number = 0

    def hold(self, owner: str, keys: Iterable[Key]) -> None:
        """One more value of this owner refers to these; FutureCancelledError, and nothing held, when one is gone."""
        done: list[Key] = []
        for key in keys:
            if not self._hold(owner, key):
                self.let_go(owner, done)
                raise FutureCancelledError(key, "the scheduler does not know it any more, so it cannot be shared")
            done.append(key)

    def hold_what_is_left(self, owner: str, keys: Iterable[Key]) -> None:
        """As `hold`, for a value that is stored whatever has become of its futures."""
        for key in keys:
            if not self._hold(owner, key):
                counts = self.counts.setdefault(owner, {})
                counts[key] = counts.get(key, 0) + 1

    def _hold(self, owner: str, key: Key) -> bool:
        there = self.desk.hold(owner, key)
        if there:
            counts = self.counts.setdefault(owner, {})
            counts[key] = counts.get(key, 0) + 1
        return there

    def let_go(self, owner: str, keys: Iterable[Key]) -> None:
        """A value of this owner that referred to these is gone."""
        for key in keys:
            counts = self.counts[owner]
            counts[key] -= 1
            if not counts[key]:
                del counts[key]
                if not counts:
                    del self.counts[owner]
                self.desk.let_go(owner, key)

    def hand_over(self, question: Question, items: Sequence[Item]) -> None:
        """Answer with values; what they refer to is kept for the client until it has said `Taken`."""
        value: Any = None
        if any(item.keys for item in items):
            self._number += 1
            keys = list(dict.fromkeys(key for item in items for key in item.keys))
            for key in keys:
                self.desk.hold(self._on_the_way(self._number), key)
            self.handed[self._number] = question.client, keys
            value = [self._number, [item.keys for item in items]]
        question.answer(value, [item.blob for item in items])

    def _on_the_way(self, number: int) -> str:
        return f"{self.service}-handed-over-{number}"

    def taken(self, number: int) -> None:
        """A client has futures of its own on what it was handed."""
        _, keys = self.handed.pop(number, ("", ()))
        for key in keys:
            self.desk.let_go(self._on_the_way(number), key)

    def left(self, client: str) -> None:
        """A client has gone, and what was on its way to it is wanted no more."""
        for number in [number for number, (receiver, _) in self.handed.items() if receiver == client]:
            self.taken(number)

    def restarted(self) -> None:
        """All tasks are forgotten, those on the way too."""
        for number in list(self.handed):
            self.taken(number)

    def check(self, stored: dict[str, list[Key]]) -> None:
        """Raise AssertionError unless what is held is what is stored: the keys of all values, by owner."""
        for owner, keys in stored.items():
            counts: dict[Key, int] = {}
            for key in keys:
                counts[key] = counts.get(key, 0) + 1
            assert self.counts.get(owner, {}) == counts, (owner, self.counts.get(owner), counts)
        for owner in self.counts:
            assert owner in stored, f"{owner} is gone, and still holds {self.counts[owner]}"
        for client, _ in self.handed.values():
            assert self.desk.is_here(client), f"{client} is gone, and something is on its way to it"
