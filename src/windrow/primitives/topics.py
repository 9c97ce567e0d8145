"""Topics: events that parties log, that the scheduler remembers, and that reach whoever has subscribed.

What lives here: the scheduler's service, the requests to it, and `print` and `warn`, which log what a task has to say
to people. What this file must never know: what an event is about.

An event is plain data with a time. It is remembered under each of its topics and under ``"all"``; of each topic the
last ``distributed.admin.low-level-log-length`` events are kept. Subscribers get what is logged from then on.
"""

from __future__ import annotations

import builtins
import threading
from collections import deque
from collections.abc import Iterable
from typing import Any, ClassVar, TextIO

from msgspec import Struct

from windrow import context
from windrow.primitives.service import Desk, Question, Service
from windrow.wire.blobs import Blob
from windrow.wire.messages import Topic

__all__ = ["ALL", "PRINT", "WARN", "GetEvents", "Subscribe", "Topics", "Unsubscribe", "names_of", "print", "warn"]

ALL = "all"
"""Under which every event is."""
PRINT = "print"
WARN = "warn"


# ---------------------------------------------------------------- requests


class GetEvents(Struct, tag="get", array_like=True):
    """Answer: ``[[time, event], …]`` of a topic, oldest first; of all topics, by name, when None."""

    topic: str | None = None


class Subscribe(Struct, tag="subscribe", array_like=True):
    """From now on the client gets what is logged on these topics."""

    topics: list[str]


class Unsubscribe(Struct, tag="unsubscribe", array_like=True):
    """The client gets it no more."""

    topics: list[str]


# ---------------------------------------------------------------- the scheduler's side


class Topics(Service):
    """Remembers events, and passes them on."""

    name = "events"
    requests: ClassVar[Any] = GetEvents | Subscribe | Unsubscribe

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.kept: int = desk.config.events_kept
        self.events: dict[str, deque[tuple[float, Any]]] = {}
        self.recent: deque[tuple[float, Any, list[str]]] = deque(maxlen=self.kept)
        """The last of all topics, with theirs."""
        self.subscribers: dict[str, dict[str, None]] = {}
        """Clients by topic."""

    def log(self, topics: Iterable[str], time: float, event: Any) -> None:
        """Remember an event, and pass it on to those who have subscribed to its topics."""
        named = list(dict.fromkeys(topics))
        self.recent.append((time, event, named))
        for topic in dict.fromkeys([*named, ALL]):
            past = self.events.get(topic)
            if past is None:
                past = self.events[topic] = deque(maxlen=self.kept)
            past.append((time, event))
            for client in self.subscribers.get(topic, ()):
                self.desk.send(client, Topic(topic, time, event))

    def ask(self, question: Question, request: Any, blobs: list[Blob]) -> None:
        """Answer at once."""
        if isinstance(request, GetEvents):
            question.answer(self.past(request.topic))
            return
        change = self._subscribe if isinstance(request, Subscribe) else self._unsubscribe
        for topic in request.topics:
            change(topic, question.client)
        question.answer()

    def latest(self, topic: str, count: int) -> list[tuple[float, Any, list[str]]]:
        """Return the last events of a topic, with their topics: of one but ``"all"`` that one alone is told."""
        if topic == ALL:
            return list(self.recent)[-count:]
        return [(time, event, [topic]) for time, event in list(self.events.get(topic, ()))[-count:]]

    def past(self, topic: str | None) -> Any:
        if topic is not None:
            return list(self.events.get(topic, ()))
        return {name: list(past) for name, past in self.events.items()}

    def _subscribe(self, topic: str, client: str) -> None:
        self.subscribers.setdefault(topic, {})[client] = None

    def _unsubscribe(self, topic: str, client: str) -> None:
        clients = self.subscribers.get(topic)
        if clients is not None:
            clients.pop(client, None)
            if not clients:
                del self.subscribers[topic]

    def left(self, client: str) -> None:
        """Its subscriptions end."""
        for topic in list(self.subscribers):
            self._unsubscribe(topic, client)

    def check(self) -> None:
        """No topic is kept for nobody, and none beyond its measure."""
        assert all(self.subscribers.values()), f"topics without subscribers: {self.subscribers}"
        assert all(len(past) <= self.kept for past in self.events.values()), "more events than are to be kept"


# ---------------------------------------------------------------- the user's side


def names_of(topic: object) -> list[str]:
    """Return the topics that an argument names; TypeError unless it is a name, or a list of names.

    Examples
    --------
    >>> names_of("progress"), names_of(["progress", "fit"])
    (['progress'], ['progress', 'fit'])
    """
    names = [topic] if isinstance(topic, str) else topic
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"topic must be a name or a list of names, not {topic!r}")
    return [str(name) for name in names]


class _Telling(threading.local):
    """Whether this thread prints what it has told all clients already."""

    now = False


telling = _Telling()


def print(  # the public name is windrow.print
    *args: object, sep: str | None = " ", end: str | None = "\n", file: TextIO | None = None, flush: bool = False
) -> None:
    """Print where the people are: as the builtin does, and inside a task on every client too.

    Outside of tasks this is the builtin. A task's words appear on the standard streams of all connected clients; they
    are on the way before the task's result is. The worker prints them as well, for its own log, unless it belongs to a
    `LocalCluster`, whose workers write to the terminal of the program that started them, where they would appear twice.

    Parameters
    ----------
    *args, sep, end, flush
        As for the builtin. The arguments travel as text.
    file
        Inside a task: None, ``sys.stdout`` or ``sys.stderr``.

    Raises
    ------
    TypeError
        A task prints to a file that clients do not have.

    Examples
    --------
    >>> print("fitted", 3, sep=": ")
    fitted: 3
    """
    place = context.place()
    if place is None:
        builtins.print(*args, sep=sep, end=end, file=file, flush=flush)
        return
    words = [str(arg) for arg in args]
    event = {
        "args": words,
        "sep": _checked_filling("sep", sep),
        "end": _checked_filling("end", end),
        "file": _number_of(file),
        "flush": bool(flush),
    }
    place.worker.log_event(PRINT, event)
    if place.worker.echoes:
        telling.now = True
        try:
            builtins.print(*args, sep=sep, end=end, file=file, flush=flush)
        finally:
            telling.now = False
    else:
        text = (" " if sep is None else sep).join(words) + ("\n" if end is None else end)
        _note(place, "stderr" if event["file"] == 2 else "stdout", text)


def _note(place: context.Place, source: str, text: str) -> None:
    """Have what a task says kept for `Future.logs`, as it does not pass the worker's streams."""
    if place.worker.output is not None:
        place.worker.output.note(place.key, source, text.removesuffix("\n"))


def _checked_filling(argument: str, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"{argument} must be text or None, not {type(value).__name__}")


def _number_of(file: object) -> int | None:
    """Return 1 or 2 for the standard streams; None for the default."""
    import sys

    if file is None:
        return None
    if file is sys.stdout or file is sys.stderr:
        return 1 if file is sys.stdout else 2
    raise TypeError(
        f"a task's print can go to sys.stdout and sys.stderr, which clients have too, and not to {file!r}; "
        "for a file on the worker use the builtin print"
    )


def warn(
    message: str | Warning, category: type[Warning] | None = UserWarning, stacklevel: int = 1, source: object = None
) -> None:
    """Warn people: as ``warnings.warn`` does, and inside a task on every client.

    Outside of tasks this is ``warnings.warn``. A task's warning passes the filters of each client and is shown there,
    with the place in the task's code; workers of a `LocalCluster` show it nowhere else (see `print`).

    Parameters
    ----------
    message, category, stacklevel, source
        As for ``warnings.warn``.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warn("it is getting late")
    >>> [str(warning.message) for warning in caught]
    ['it is getting late']
    """
    import sys
    import warnings

    place = context.place()
    if place is None or place.worker.echoes:
        warnings.warn(message, category, stacklevel + 1, source)
    if place is None:
        return
    if not isinstance(message, Warning):
        kind = UserWarning if category is None else category
        if not (isinstance(kind, type) and issubclass(kind, Warning)):
            raise TypeError(f"category must be a class of warnings, not {kind!r}")
        message = kind(message)
    frame = _caller(sys._getframe(1), stacklevel)
    if not place.worker.echoes:
        _note(place, "stderr", warnings.formatwarning(message, type(message), *frame, line=""))
    place.worker.log_event(
        WARN,
        {"message": _pickled(message), "text": str(message), "filename": frame[0], "lineno": frame[1]},
    )


def _caller(frame: Any, stacklevel: int) -> tuple[str, int]:
    while stacklevel > 1 and frame.f_back is not None:
        frame, stacklevel = frame.f_back, stacklevel - 1
    return frame.f_code.co_filename, frame.f_lineno


def _pickled(message: Warning) -> bytes | None:
    """Return a warning's pickle; None for one that cannot travel, whose text must do."""
    from windrow.wire import payload

    try:
        blob = payload.dumps(message, "the warning")
    except TypeError:  # PickleError is one
        return None
    return blob if type(blob) is bytes else None
