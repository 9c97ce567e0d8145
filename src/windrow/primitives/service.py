"""The frame of the scheduler's services: what a lock, a queue or a dataset needs of the scheduler, and owes it.

What lives here: `Service`, `Question`, `Waiting` and `Desk`. What this file must never know: any one service, and
sockets, clocks, threads or random numbers: services are a part of the scheduler's pure core.

A service answers a `Question` at once or later. Later is what blocks a caller, and costs nothing meanwhile. Each
question is answered exactly once: a caller that waits no longer has it withdrawn, which answers it too, so that no
value is ever on its way to nobody. When a client goes, its open questions are dropped before `Service.left` is called.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, ClassVar, Protocol

from windrow.keys import Key
from windrow.wire.blobs import Blob

__all__ = ["Desk", "Question", "Service", "Waiting"]


class Desk(Protocol):
    """What services may ask of the scheduler."""

    @property
    def now_s(self) -> float:
        """The scheduler's time, in seconds; monotonic, from an unknown start."""

    @property
    def config(self) -> Any:
        """The scheduler's knobs (``scheduler.state.SchedulerConfig``)."""

    def answer(
        self,
        question: Question,
        value: Any = None,
        blobs: Sequence[Blob] = (),
        error: BaseException | None = None,
        late: bool = False,
    ) -> None:
        """Answer a question; see `Question`, which is what services call."""

    def hold(self, owner: str, key: Key, brief: bool = False) -> bool:
        """Want a task's result on behalf of ``owner``, as a client does; False if there is no such task.

        An owner counts once a key; `let_go` ends it. All that a ``brief`` owner wants ends by itself, with the task.
        """

    def let_go(self, owner: str, key: Key) -> None:
        """End a `hold`."""

    def has_task(self, key: Key) -> bool:
        """Whether there is a task of this key."""

    def is_here(self, client: str) -> bool:
        """Whether this client has not gone."""

    def is_away(self, client: str) -> bool:
        """Whether this client's connection is cut, and it may come back."""

    def send(self, client: str, message: Any) -> None:
        """Send a message to a client, by id; nothing happens if it is gone."""


class Question:
    """One call of a client that waits for its answer.

    Attributes
    ----------
    client : str
        Who asks, by id.
    note : object
        For the service's own use while it waits.
    """

    __slots__ = ("_desk", "call", "client", "note", "open", "service")

    def __init__(self, desk: Desk, service: Service, client: str, call: int) -> None:
        self._desk = desk
        self.service = service
        self.client = client
        self.call = call
        self.note: Any = None
        self.open = True

    def answer(self, value: Any = None, blobs: Sequence[Blob] = ()) -> None:
        """Answer with plain data and payloads."""
        self._desk.answer(self, value, blobs)

    def refuse(self, error: BaseException) -> None:
        """Answer with an exception, which is raised where the question came from."""
        self._desk.answer(self, error=error)

    def end(self) -> None:
        """Answer that there will be no answer: the time is over."""
        self._desk.answer(self, late=True)

    def __repr__(self) -> str:
        return f"<Question {self.call} of {self.client} to {self.service.name}>"


class Waiting(dict[Key, dict[Question, None]]):
    """Questions that wait for something, by its name, in the order of their coming.

    The question's ``note`` is the name. A name that nobody waits for is not here.
    """

    def keep(self, name: Key, question: Question) -> None:
        """Keep a question until it is taken with all others of its name (``pop``), or withdrawn."""
        question.note = name
        self.setdefault(name, {})[question] = None

    def withdraw(self, question: Question) -> None:
        """End a question: its caller waits no longer."""
        waiting = self[question.note]
        del waiting[question]
        if not waiting:
            del self[question.note]
        question.end()

    def check(self, desk: Desk, there: Container[Key]) -> None:
        """Raise AssertionError if something is wrong; nobody waits for what is ``there``."""
        for name, waiting in self.items():
            assert waiting, f"nobody waits for {name!r}"
            assert name not in there, f"{name!r} is set, and waited for"
            for question in waiting:
                assert question.open, f"{question} is answered, and waits for {name!r}"
                assert desk.is_here(question.client), f"{question.client} is gone, and waits for {name!r}"


class Service:
    """One of the scheduler's services; lives as long as the scheduler.

    Subclasses name themselves, say what requests they take, and override what they need.
    """

    name: ClassVar[str]
    requests: ClassVar[Any]
    """A type that `msgspec.convert` understands: a union of tagged, array-like Structs, as a rule."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def ask(self, question: Question, request: Any, blobs: list[Blob]) -> None:
        """Answer a question now, or keep it and answer later. An exception raised here is the answer."""
        raise NotImplementedError

    def withdraw(self, question: Question) -> None:
        """Forget a question that is open: the caller waits no longer. To be overridden where questions are kept."""
        question.end()

    def left(self, client: str) -> None:
        """A client has gone: free what it held."""

    def returned(self, client: str) -> None:
        """A client is back, whose connection was cut for a while; what it said meanwhile comes after this."""

    def restarted(self) -> None:
        """All tasks have been forgotten (``Client.restart``), and what was held is no more."""

    def tick(self) -> None:
        """Do what is due by time alone; called about once a second while `is_waiting`, perhaps more often."""

    @property
    def is_waiting(self) -> bool:
        """Whether something may become due by time alone."""
        return False

    def check(self) -> None:
        """Raise AssertionError if two sides of any fact disagree; the simulated cluster asks after each step."""
