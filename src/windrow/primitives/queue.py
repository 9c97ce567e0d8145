"""`Queue`: values for whoever comes first, wherever it runs.

What lives here: both sides of it: the service, which is pure, and the class that programs use. What this file must
never know: sockets, how a client works, and what the values are: they stay pickled on the scheduler.

What is put while somebody waits goes to the one who has waited longest, and a full queue admits first who came first.
One who wants several collects them as they come, and gives them back if it stops waiting.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from functools import partial
from typing import Any, ClassVar, cast

from msgspec import Struct

from windrow.errors import FutureCancelledError
from windrow.keys import Key, label
from windrow.primitives.service import Desk, Question, Service
from windrow.primitives.shared import Held, Item, Shared, Taken, pack, unpack, wait_s
from windrow.wire.blobs import Blob
from windrow.wire.messages import Reply
from windrow.wire.requests import Ask

__all__ = ["Queue", "Queues"]


# ---------------------------------------------------------------- what is asked


class Put(Struct, tag="put", array_like=True):
    """Put the value whose pickle is the only blob; answered once it is in the queue."""

    name: Key
    keys: list[Key] = []
    """Of the futures in it, by position."""
    maxsize: int = 0
    wait: bool = True


class Get(Struct, tag="get", array_like=True):
    """Reply: values as by `Held.hand_over`."""

    name: Key
    count: int = 1
    """How many, exactly; 0 is all that is there now."""
    maxsize: int = 0
    wait: bool = True


class PutBack(Struct, tag="put-back", array_like=True):
    """Values that reached a client when nobody waited for them any more; they go to the front again."""

    name: Key
    keys: list[list[Key]]
    number: int = 0
    """What they were handed over as, if there are futures in them."""


class Size(Struct, tag="size", array_like=True):
    """Reply value: how many values are in the queue."""

    name: Key
    maxsize: int = 0


class Close(Struct, tag="close", array_like=True):
    """This client uses the queue no longer; when none does, it is forgotten with all that is in it."""

    name: Key


# ---------------------------------------------------------------- the scheduler's side


class Record:
    """One queue: its values, and who waits at either end."""

    __slots__ = ("getters", "items", "maxsize", "name", "owner", "putters", "users")

    def __init__(self, name: Key) -> None:
        self.name = name
        self.owner = f"queue-{label(name)}"
        self.maxsize = 0
        self.items: deque[Item] = deque()
        self.getters: dict[Question, None] = {}
        self.putters: dict[Question, None] = {}
        self.users: dict[str, None] = {}

    @property
    def has_room(self) -> bool:
        """Whether one more value may be put."""
        return not self.maxsize or len(self.items) < self.maxsize


class Wish:
    """What somebody waits for who gets: so many values, and those collected so far."""

    __slots__ = ("count", "got", "record")

    def __init__(self, record: Record, count: int) -> None:
        self.record = record
        self.count = count
        self.got: list[Item] = []


class Offer:
    """What somebody waits to put."""

    __slots__ = ("item", "record")

    def __init__(self, record: Record, item: Item) -> None:
        self.record = record
        self.item = item


class Queues(Service):
    """The scheduler's queues; one is forgotten when all its users have closed it, or are gone and it is empty."""

    name: ClassVar[str] = "queues"
    requests: ClassVar[Any] = Put | Get | PutBack | Size | Close | Taken

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.records: dict[Key, Record] = {}
        self.held = Held(desk, self.name)

    def ask(self, question: Question, request: Any, blobs: list[Blob]) -> None:
        """Answer a request."""
        if type(request) is Put:
            record = self._find(request.name, request.maxsize, question.client)
            self._put(question, record, Item(blobs[0], request.keys), request.wait)
        elif type(request) is Get:
            record = self._find(request.name, request.maxsize, question.client)
            self._get(question, record, request)
        elif type(request) is PutBack:
            self._put_back(request, blobs)
            question.answer()
        elif type(request) is Size:
            record = self._find(request.name, request.maxsize, question.client)
            question.answer(len(record.items))
        elif type(request) is Close:
            self._close(request.name, question.client)
            question.answer()
        else:
            self.held.taken(request.number)
            question.answer()

    def _find(self, name: Key, maxsize: int, client: str) -> Record:
        record = self.records.get(name)
        if record is None:
            record = self.records[name] = Record(name)
        elif maxsize and record.maxsize and maxsize != record.maxsize:
            raise ValueError(
                f"the queue {name!r} has maxsize={record.maxsize}, and maxsize={maxsize} was asked for: all who give "
                "a limit must give the same, or use another name"
            )
        record.maxsize = maxsize or record.maxsize
        record.users[client] = None
        return record

    def _put(self, question: Question, record: Record, item: Item, wait: bool) -> None:
        if not record.has_room and not wait:
            question.end()
            return
        self.held.hold(record.owner, item.keys)
        question.note = Offer(record, item)
        record.putters[question] = None
        self._flow(record)

    def _get(self, question: Question, record: Record, request: Get) -> None:
        count = request.count or len(record.items)
        if count == 0:
            question.answer()
        elif len(record.items) < count and not request.wait:
            question.end()
        else:
            question.note = Wish(record, count)
            record.getters[question] = None
            self._flow(record)

    def _flow(self, record: Record) -> None:
        """Move values on as long as any can move."""
        while True:
            if record.items and record.getters:
                self._give(record)
            elif record.putters and record.has_room:
                question = next(iter(record.putters))
                del record.putters[question]
                record.items.append(question.note.item)
                question.answer()
            else:
                return

    def _give(self, record: Record) -> None:
        question = next(iter(record.getters))
        wish: Wish = question.note
        wish.got.append(record.items.popleft())
        if len(wish.got) == wish.count:
            del record.getters[question]
            self.held.hand_over(question, wish.got)
            for item in wish.got:
                self.held.let_go(record.owner, item.keys)

    def _put_back(self, request: PutBack, blobs: list[Blob]) -> None:
        record = self.records.get(request.name)
        if record is not None:  # else it was closed meanwhile, which drops what is in it
            items = [Item(blob, keys) for blob, keys in zip(blobs, request.keys, strict=True)]
            for item in items:
                self.held.hold_what_is_left(record.owner, item.keys)
            record.items.extendleft(reversed(items))
            self._flow(record)
        self.held.taken(request.number)

    def withdraw(self, question: Question) -> None:
        """A caller waits no longer."""
        note = question.note
        record: Record = note.record
        if isinstance(note, Offer):
            del record.putters[question]
            self.held.let_go(record.owner, note.item.keys)
        else:
            del record.getters[question]
            record.items.extendleft(reversed(note.got))
        question.end()
        self._flow(record)

    def _close(self, name: Key, client: str) -> None:
        record = self.records.get(name)
        if record is None:
            return
        record.users.pop(client, None)
        if record.users:
            return
        del self.records[name]
        for question in [*record.getters, *record.putters]:
            question.refuse(RuntimeError(f"the queue {name!r} was closed while this waited for it"))
        for item in self._items(record):
            self.held.let_go(record.owner, item.keys)

    @staticmethod
    def _items(record: Record) -> list[Item]:
        """All values that a queue answers for: in it, collected by one who waits for more, waiting to be put."""
        collected = [item for question in record.getters for item in question.note.got]
        return [*collected, *record.items, *(question.note.item for question in record.putters)]

    def left(self, client: str) -> None:
        """A client has gone; what it has put stays, and what was on its way to it is gone with it."""
        self.held.left(client)
        for record in list(self.records.values()):
            record.users.pop(client, None)
            if not record.users and not record.items:
                del self.records[record.name]

    def restarted(self) -> None:
        """All tasks are forgotten: values with futures in them go, and the others stay."""
        self.held.restarted()
        for record in self.records.values():
            gone = [item for item in self._items(record) if item.keys]
            for question in [question for question in record.putters if question.note.item.keys]:
                del record.putters[question]
                key = question.note.item.keys[0]
                question.refuse(FutureCancelledError(key, "the cluster was restarted while it waited to be queued"))
            record.items = deque(item for item in record.items if not item.keys)
            for question in record.getters:
                question.note.got = [item for item in question.note.got if not item.keys]
            for item in gone:
                self.held.let_go(record.owner, item.keys)
            self._flow(record)

    def check(self) -> None:
        """Raise AssertionError if something is wrong."""
        stored: dict[str, list[Key]] = {}
        for name, record in self.records.items():
            assert record.name == name
            assert not (record.getters and record.items), f"{name!r} has values, and somebody waits for one"
            assert not (record.putters and record.has_room), f"{name!r} has room, and somebody waits to put"
            assert record.users or record.items, f"{name!r} is kept for nobody"
            for client in [*record.users, *(question.client for question in [*record.getters, *record.putters])]:
                assert self.desk.is_here(client), f"{client} is gone, and uses {name!r}"
            for position, question in enumerate([*record.getters]):
                assert question.open, f"{question} is answered, and waits for {name!r}"
                assert not (position and question.note.got), f"{question} has values before its turn"
            keys = [key for item in self._items(record) for key in item.keys]
            stored.setdefault(record.owner, []).extend(keys)
        self.held.check(stored)


# ---------------------------------------------------------------- the user's side

_lock = threading.Lock()
_open: weakref.WeakKeyDictionary[Any, dict[Key, weakref.WeakSet[Queue]]] = weakref.WeakKeyDictionary()
"""The objects of each client that have used a queue, and have not closed it."""


class Queue(Shared):
    """Values for whoever comes first, between clients and tasks, first in first out.

    Parameters
    ----------
    name
        What those who share it call it; a new name by default.
    client
        The client to use; by default the one at hand: the worker's in a task, else the current one.
    maxsize
        How many values it may hold: `put` waits while it is full. 0 is no limit.

    Notes
    -----
    Values are pickled, and live on the scheduler until they are taken: for large ones put futures instead. Results of
    futures inside values, however deep, are kept while the value is in the queue; who gets it gets futures of its
    own. A restart of the cluster (``Client.restart``) drops the values that hold futures.

    Each value is given to one getter. A value that was given to a process which dies at that moment is lost with it.

    Examples
    --------
    >>> queue = Queue("parts", maxsize=10)
    >>> def consume():  # on a worker
    ...     return Queue("parts").get(timeout="10 s")
    >>> future = client.submit(consume)  # doctest: +SKIP
    >>> queue.put({"part": 1})  # doctest: +SKIP
    >>> future.result()  # doctest: +SKIP
    {'part': 1}
    """

    _service = Queues.name

    def __init__(self, name: Key | None = None, client: object = None, maxsize: int = 0) -> None:
        if isinstance(maxsize, bool) or not isinstance(maxsize, int):
            raise TypeError(f"maxsize must be a whole number, not {maxsize!r}")
        super().__init__(name, client)
        self.maxsize = max(0, maxsize)
        self._closed = False

    def _use(self) -> Any:
        """Return the client, once it is noted that this object uses the queue."""
        if self._closed:
            raise RuntimeError(f"{self!r} was closed; make a new object to use the queue again")
        client = self.client
        with _lock:
            _open.setdefault(client, {}).setdefault(self.name, weakref.WeakSet()).add(self)
        return client

    def put(self, value: object, timeout: float | str | None = None) -> Any:
        """Put a value; wait while the queue is full.

        Parameters
        ----------
        value
            Anything that can be pickled, with futures in it or not.
        timeout
            Seconds, or such as ``"5 s"``; 0 does not wait.

        Raises
        ------
        TimeoutError
            The queue was full all the time; the value is not in it.
        FutureCancelledError
            A future in the value is cancelled or forgotten.
        """
        wait, limit_s = wait_s(timeout)
        client = self._use()
        blobs, keys = pack(value, f"the value for queue {self.name!r}")
        request = Put(self.name, keys, self.maxsize, wait)
        then = partial(self._was_put, timeout)
        return client.consult(self._service, request, blobs, timeout_s=limit_s, then=then)

    def _was_put(self, timeout: object, reply: Reply | None) -> None:
        if reply is None:
            raise TimeoutError(f"{self!r} was full for {_words(timeout)}, and the value was not put into it")

    def get(self, timeout: float | str | None = None, batch: bool | int = False) -> Any:
        """Take the oldest value, or several; wait for what is not there.

        Parameters
        ----------
        timeout
            Seconds, or such as ``"5 s"``; 0 does not wait.
        batch
            True for a list of all that is there now, which may be empty; a number for a list of exactly so many.

        Returns
        -------
        object
            The value, or a list of values; a fresh copy.

        Raises
        ------
        TimeoutError
            Not there in time; what had come of a batch is in the queue again.
        """
        wait, limit_s = wait_s(timeout)
        count = _count(batch)
        client = self._use()
        request = Get(self.name, count, self.maxsize, wait)
        then = partial(self._got, client, batch is not False, timeout)
        undo = partial(self._give_back, client)
        return client.consult(self._service, request, timeout_s=limit_s, then=then, undo=undo)

    def _got(self, client: Any, several: bool, timeout: object, reply: Reply | None) -> Any:
        if reply is None:
            raise TimeoutError(f"{self!r} did not have enough for {_words(timeout)}")
        values = unpack(client, self._service, reply)
        return values if several else values[0]

    def _give_back(self, client: Any, reply: Reply) -> None:
        """Whoever waited does so no longer, but the values had left already."""
        if not reply.blobs or client.session.status != "running":
            return
        nothing: list[list[Key]] = [[] for _ in reply.blobs]
        number, keys = reply.value or (0, nothing)
        client.session.ask(Ask(self._service, PutBack(self.name, keys, number), cast("list[Blob]", reply.blobs)))

    def qsize(self) -> Any:
        """Return how many values are in the queue."""
        return self._use().consult(self._service, Size(self.name, self.maxsize))

    def close(self) -> Any:
        """Use the queue no longer with this object.

        When all who have used it have closed it or are gone, the queue is forgotten with what is in it.
        """
        self._closed = True
        client = self.client
        with _lock:
            mine = _open.get(client, {}).get(self.name)
            if mine is not None:
                mine.discard(self)
            last = not mine
        return client.consult(self._service, Close(self.name) if last else _NOTHING)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, None, self.maxsize)


_NOTHING = Taken(0)
"""A request that changes nothing, whose answer comes when all that was asked before is done."""


def _count(batch: object) -> int:
    if isinstance(batch, bool):
        return 0 if batch else 1
    if not isinstance(batch, int):
        raise TypeError(f"batch must be True, False or a whole number, not {batch!r}")
    if batch < 1:
        raise ValueError(f"batch must be 1 or more, or True for all that is there, not {batch}")
    return batch


def _words(timeout: object) -> str:
    return "a moment" if timeout is None else f"{timeout} s" if isinstance(timeout, int | float) else str(timeout)
