"""`Variable`: one value under a name, for all to read and to replace.

What lives here: both sides of it: the service, which is pure, and the class that programs use. What this file must
never know: sockets, how a client works, and what the values are: they stay pickled on the scheduler.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from msgspec import Struct

from windrow.keys import Key, label
from windrow.primitives.service import Desk, Question, Service, Waiting
from windrow.primitives.shared import Held, Item, Shared, Taken, disown, pack, seconds, unpack, wait_s
from windrow.wire.blobs import Blob
from windrow.wire.messages import Reply

__all__ = ["Variable", "Variables"]


class Set(Struct, tag="set", array_like=True):
    """Let the value be the one whose pickle is the only blob."""

    name: Key
    keys: list[Key] = []
    """Of the futures in it, by position."""


class Get(Struct, tag="get", array_like=True):
    """Answered when there is a value, as by `Held.hand_over`."""

    name: Key
    wait: bool = True


class Delete(Struct, tag="delete", array_like=True):
    """Forget the value."""

    name: Key


class Variables(Service):
    """The values by name, and who waits for a first one."""

    name: ClassVar[str] = "variables"
    requests: ClassVar[Any] = Set | Get | Delete | Taken

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.items: dict[Key, Item] = {}
        self.waiting = Waiting()
        self.held = Held(desk, self.name)

    def ask(self, question: Question, request: Any, blobs: list[Blob]) -> None:
        """Answer a request."""
        if type(request) is Set:
            self._set(request.name, Item(blobs[0], request.keys))
            question.answer()
        elif type(request) is Get:
            self._get(question, request)
        elif type(request) is Delete:
            self._delete(request.name)
            question.answer()
        else:
            self.held.taken(request.number)
            question.answer()

    def _set(self, name: Key, item: Item) -> None:
        self.held.hold(_owner(name), item.keys)  # before the old ones go: they may be the same
        self._delete(name)
        self.items[name] = item
        for question in self.waiting.pop(name, ()):
            self.held.hand_over(question, [item])

    def _get(self, question: Question, request: Get) -> None:
        item = self.items.get(request.name)
        if item is not None:
            self.held.hand_over(question, [item])
        elif request.wait:
            self.waiting.keep(request.name, question)
        else:
            question.end()

    def _delete(self, name: Key) -> None:
        item = self.items.pop(name, None)
        if item is not None:
            self.held.let_go(_owner(name), item.keys)

    def withdraw(self, question: Question) -> None:
        """A caller waits no longer."""
        self.waiting.withdraw(question)

    def left(self, client: str) -> None:
        """A client has gone; what it has set stays."""
        self.held.left(client)

    def restarted(self) -> None:
        """All tasks are forgotten: values with futures in them go, and the others stay."""
        self.held.restarted()
        for name in [name for name, item in self.items.items() if item.keys]:
            self._delete(name)

    def check(self) -> None:
        """Raise AssertionError if something is wrong."""
        stored: dict[str, list[Key]] = {}
        for name, item in self.items.items():
            stored.setdefault(_owner(name), []).extend(item.keys)
        self.held.check({owner: keys for owner, keys in stored.items() if keys})
        self.waiting.check(self.desk, self.items)


def _owner(name: Key) -> str:
    return f"variable-{label(name)}"


class Variable(Shared):
    """One value under a name, which all can read and replace.

    Parameters
    ----------
    name
        What those who share it call it; a new name by default.
    client
        The client to use; by default the one at hand: the worker's in a task, else the current one.

    Notes
    -----
    The value is pickled, and lives on the scheduler until it is replaced or deleted: for a large one set a future
    instead. Results of futures inside the value, however deep, are kept as long as it is there; who gets it gets
    futures of its own. A restart of the cluster (``Client.restart``) deletes a value that holds futures.

    Examples
    --------
    >>> best = Variable("best")
    >>> best.set(0.5)  # doctest: +SKIP
    >>> best.get()  # doctest: +SKIP
    0.5
    """

    _service = Variables.name

    def __init__(self, name: Key | None = None, client: object = None) -> None:
        super().__init__(name, client)

    def set(self, value: object, timeout: float | str | None = "30 s") -> Any:
        """Set the value; who waits for it gets it.

        Parameters
        ----------
        value
            Anything that can be pickled, with futures in it or not.
        timeout
            Accepted for the sake of existing programs: nothing is waited for.

        Raises
        ------
        FutureCancelledError
            A future in the value is cancelled or forgotten; the old value stays.
        """
        seconds(timeout)
        blobs, keys = pack(value, f"the value for variable {self.name!r}")
        return self._ask(Set(self.name, keys), blobs)

    def get(self, timeout: float | str | None = None) -> Any:
        """Return the value, a fresh copy; wait until there is one.

        Parameters
        ----------
        timeout
            Seconds, or such as ``"5 s"``; 0 does not wait.

        Raises
        ------
        TimeoutError
            Nobody has set it in time.
        """
        wait, limit_s = wait_s(timeout)
        client = self.client
        return client.consult(
            self._service,
            Get(self.name, wait),
            timeout_s=limit_s,
            then=partial(self._got, client, timeout),
            undo=partial(disown, client, self._service),
        )

    def _got(self, client: Any, timeout: object, reply: Reply | None) -> Any:
        if reply is None:
            words = f"{timeout} s" if isinstance(timeout, int | float) else str(timeout)
            raise TimeoutError(f"{self!r} has no value, and got none for {words}")
        [value] = unpack(client, self._service, reply)
        return value

    def delete(self) -> Any:
        """Forget the value; who gets it from now on waits for the next one."""
        return self._ask(Delete(self.name))
