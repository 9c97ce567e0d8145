"""`Event`: a flag that can be waited for.

What lives here: both sides of it: the service, which is pure, and the class that programs use. What this file must
never know: sockets, how a client works, and the scheduler's log of events, which is another thing.
"""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct

from windrow.keys import Key
from windrow.primitives.service import Desk, Question, Service, Waiting
from windrow.primitives.shared import Shared, wait_s
from windrow.wire.blobs import Blob
from windrow.wire.messages import Reply

__all__ = ["Event", "Flags"]


class Wait(Struct, tag="wait", array_like=True):
    """Answered when the flag is set."""

    name: Key


class Set(Struct, tag="set", array_like=True):
    """Set the flag, and let go who waits."""

    name: Key


class Clear(Struct, tag="clear", array_like=True):
    """Clear the flag."""

    name: Key


class IsSet(Struct, tag="is-set", array_like=True):
    """Reply value: whether the flag is set."""

    name: Key


class Flags(Service):
    """The flags that are set, and who waits for others. A flag that is not set and that nobody waits for is nothing."""

    name: ClassVar[str] = "flags"
    requests: ClassVar[Any] = Wait | Set | Clear | IsSet

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.set: dict[Key, None] = {}
        self.waiting = Waiting()

    def ask(self, question: Question, request: Any, blobs: list[Blob]) -> None:
        """Answer a request."""
        name = request.name
        if type(request) is Wait:
            if name in self.set:
                question.answer(True)
            else:
                self.waiting.keep(name, question)
        elif type(request) is IsSet:
            question.answer(name in self.set)
        elif type(request) is Set:
            self.set[name] = None
            question.answer()
            for waiter in self.waiting.pop(name, ()):
                waiter.answer(True)
        else:
            self.set.pop(name, None)
            question.answer()

    def withdraw(self, question: Question) -> None:
        """A caller waits no longer."""
        self.waiting.withdraw(question)

    def check(self) -> None:
        """Raise AssertionError if something is wrong."""
        self.waiting.check(self.desk, self.set)


class Event(Shared):
    """A flag that is seen on the whole cluster: clear at first, set by one, waited for by many.

    Parameters
    ----------
    name
        What those who share it call it; a new name by default.
    client
        The client to use; by default the one at hand: the worker's in a task, else the current one.

    Examples
    --------
    >>> event = Event("go")
    >>> def work():  # on a worker
    ...     Event("go").wait()
    ...     return "done"
    >>> future = client.submit(work)  # doctest: +SKIP
    >>> event.set()  # doctest: +SKIP
    >>> future.result()  # doctest: +SKIP
    'done'
    """

    _service = Flags.name

    def __init__(self, name: Key | None = None, client: object = None) -> None:
        super().__init__(name, client)

    def wait(self, timeout: float | str | None = None) -> Any:
        """Wait until the event is set.

        Parameters
        ----------
        timeout
            Seconds, or such as ``"5 s"``; 0 does not wait.

        Returns
        -------
        bool
            Whether it was set in time.
        """
        wait, limit_s = wait_s(timeout)
        if not wait:
            return self.is_set()
        return self._ask(Wait(self.name), timeout_s=limit_s, then=_truth)

    def set(self) -> Any:
        """Set the event: who waits goes on, and who comes later does not wait."""
        return self._ask(Set(self.name))

    def clear(self) -> Any:
        """Clear the event: who comes from now on waits."""
        return self._ask(Clear(self.name))

    def is_set(self) -> Any:
        """Return whether the event is set."""
        return self._ask(IsSet(self.name))


def _truth(reply: Reply | None) -> bool:
    return reply is not None
