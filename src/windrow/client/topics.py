"""Methods of `Client` for events: ``log_event``, ``get_events``, ``subscribe_topic``, ``forward_logging``.

What lives here: these methods, and `Subscriptions`, which hands what arrives to its handlers. What this file must never
know: how the scheduler remembers events.

Whoever connects from outside a task hears what tasks `print` and `warn`. The subscription is part of a client's first
frame, so that it costs no time at the start.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from windrow import context
from windrow.client.base import Base
from windrow.client.callbacks import CallbackThread
from windrow.client.waiting import DONE
from windrow.errors import CannotRunWarning
from windrow.keys import Key, label
from windrow.primitives import plain
from windrow.primitives.topics import PRINT, WARN, GetEvents, Subscribe, Unsubscribe, names_of
from windrow.wire import messages as m
from windrow.wire import requests as r

if TYPE_CHECKING:
    from windrow.client.session import Session

log = logging.getLogger("windrow.client")

Handler = Callable[[tuple[float, Any]], Any]

SERVICE = "events"

CANNOT_RUN = "no-worker-can-run"
"""What the scheduler calls its warnings of tasks that no worker can run."""

REMEMBERED_MAX = 100
"""Of so many such tasks the warning is kept here."""

FORWARDED = "forward-logging"
"""What the topics of forwarded log records begin with."""


class Subscriptions:
    """Which handler gets which topic's events; belongs to a session, and knows no client."""

    def __init__(self, session: Session, callbacks: CallbackThread) -> None:
        self.handlers: dict[str, Handler] = {}
        self.cannot_run: dict[str, str] = {}
        """What the scheduler has warned of, by the label of the task that it has named."""
        self._session = session
        self._callbacks = callbacks
        session.on_topic = self.deliver

    def connect(self) -> None:
        """Have tasks' prints and warnings come here, from the first frame on."""
        if context.place() is None:  # a worker's own client would print on the worker what came from there
            self.handlers |= {PRINT: show_print, WARN: show_warning}
            self._session.greet(r.Ask(SERVICE, Subscribe([PRINT, WARN])))

    def deliver(self, message: m.Topic) -> None:
        """Hand an event to its handler, soon; called on the loop, under the session's lock."""
        if message.topic == WARN and isinstance(message.event, dict) and message.event.get("action") == CANNOT_RUN:
            if len(self.cannot_run) >= REMEMBERED_MAX:
                self.cannot_run.clear()
            self.cannot_run[str(message.event.get("key"))] = str(message.event.get("text"))
        handler = self.handlers.get(message.topic)
        if handler is None:
            return
        # A copy: inside a process messages cross as objects, and this one is the scheduler's memory.
        event = (message.time, plain.checked(message.event))
        if inspect.iscoroutinefunction(handler):
            assert self._session.loop is not None
            self._session.loop.call_soon(_start, self._session.loop, handler, event)
        else:
            self._callbacks.start()
            self._callbacks(lambda: _call(handler, event, message.topic))


def _call(handler: Handler, event: tuple[float, Any], topic: str) -> None:
    try:
        handler(event)
    except Exception:
        log.exception("the handler of topic %r raised; it gets the next events all the same", topic)


_running: set[Any] = set()
"""Coroutines of handlers, which nobody else keeps."""


def _start(loop: Any, handler: Handler, event: tuple[float, Any]) -> None:
    async def run() -> None:
        try:
            await handler(event)
        except Exception:
            log.exception("a handler of a topic raised; it gets the next events all the same")

    task = loop.create_task(run())
    _running.add(task)
    task.add_done_callback(_running.discard)


# ---------------------------------------------------------------- what clients show by themselves


def show_print(event: tuple[float, Any]) -> None:
    """Print what a task has printed; an event that somebody else logged is printed as it is.

    Examples
    --------
    >>> show_print((0.0, {"args": ["a", "b"], "sep": "-"}))
    a-b
    """
    said = event[1]
    if not isinstance(said, dict) or "args" not in said:
        print(said)
        return
    sep, end = said.get("sep"), said.get("end")
    text = (" " if sep is None else sep).join(map(str, said["args"])) + ("\n" if end is None else end)
    # In one piece, so that lines of several tasks, and the program's own, do not run into each other.
    print(text, end="", file=sys.stderr if said.get("file") == 2 else sys.stdout, flush=bool(said.get("flush")))


def show_warning(event: tuple[float, Any]) -> None:
    """Issue the warning that a task has issued, at its place in the task's code."""
    from windrow.wire import payload

    said = event[1]
    if not isinstance(said, dict) or "text" not in said:
        warnings.warn(str(said), stacklevel=1)
        return
    message: Any = None
    if said.get("message") is not None:
        try:
            message = payload.loads(said["message"])
        except Exception as error:  # its class is not importable here: its text must do
            log.debug("a warning of a task cannot be loaded: %r", error)
    if not isinstance(message, Warning):
        kind = CannotRunWarning if said.get("category") == CannotRunWarning.__name__ else UserWarning
        message = kind(said["text"])
    warnings.warn_explicit(message, type(message), said.get("filename", "?"), said.get("lineno", 0))


def replay(event: tuple[float, Any]) -> None:
    """Have a worker's log record handled by the logger of the same name here.

    A record of this very process (a worker may live in it) has been handled already, and is let be; else it would be
    forwarded once more, and so on.
    """
    record = logging.makeLogRecord(event[1])
    own = record.process == os.getpid() and any(thread.ident == record.thread for thread in threading.enumerate())
    if own or getattr(record, "forwarded", False):
        return
    record.forwarded = True
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


# ---------------------------------------------------------------- the methods


class TopicMethods(Base):
    """What a client does with events."""

    _subscriptions: Subscriptions

    def cannot_run(self, key: Key) -> str:
        """Return the warning that no worker can run this task, if it named it; else ""."""
        return self._subscriptions.cannot_run.get(label(key), "")

    def log_event(self, topic: str | list[str] | tuple[str, ...], msg: Any) -> Any:
        """Log an event, for the scheduler to remember and subscribers to hear.

        Parameters
        ----------
        topic
            A topic's name, or several.
        msg
            Plain data: None, numbers, text, bytes, and lists and dicts of these.

        Raises
        ------
        TypeError
            Something in it is no plain data; the message names the part.
        """
        self.session.say(m.Log(names_of(topic), time.time(), plain.checked(msg)))
        return DONE if self.asynchronous else None

    def get_events(self, topic: str | None = None) -> Any:
        """Return what has been logged on a topic, oldest first: a tuple of (time, event); of all topics a dict of such.

        ``"all"`` is the topic of everything, ``"scheduler"`` that of workers that come and go. Of each topic the newest
        events are remembered (``distributed.admin.low-level-log-length``, 1000).
        """
        if topic is not None and not isinstance(topic, str):
            raise TypeError(f"topic must be a name or None, not {topic!r}")

        def past(reply: m.Reply | None) -> Any:
            assert reply is not None
            if topic is not None:
                return _tuples(reply.value)
            return {name: _tuples(events) for name, events in reply.value.items()}

        return self.consult(SERVICE, GetEvents(topic), then=past)

    def subscribe_topic(self, topic: str, handler: Handler) -> Any:
        """Have ``handler((time, event))`` called for each event that is logged on a topic from now on.

        Functions are called in the thread of done-callbacks, one after another; coroutine functions run on the loop.
        What they raise is logged. A topic has one handler: a later one takes its place, and events of
        ``"print"`` and ``"warn"`` are not shown while somebody else handles them.
        """
        [name] = names_of([topic])
        if not callable(handler):
            raise TypeError(f"handler must be a function, not {type(handler).__name__}")
        self.session.check_open()
        self._subscriptions.handlers[name] = handler
        self.session.ask(r.Ask(SERVICE, Subscribe([name])))
        return DONE if self.asynchronous else None

    def unsubscribe_topic(self, topic: str) -> Any:
        """End a subscription; ValueError if there is none."""
        if self._subscriptions.handlers.pop(topic, None) is None:
            raise ValueError(f"this client has no subscription to the topic {topic!r}")
        self.session.ask(r.Ask(SERVICE, Unsubscribe([topic])))
        return DONE if self.asynchronous else None

    def forward_logging(self, logger_name: str | None = None, level: int | str = logging.NOTSET) -> Any:
        """Have what workers log handled here too, by the logger of the same name, from now on and on new workers too.

        Loggers have their levels on either side, and both sides' apply: a worker's, by Python's default, lets warnings
        through and worse.

        Parameters
        ----------
        logger_name
            The logger on the workers, with those below it; None for all.
        level
            The least level to forward.
        """
        from windrow.plugins import ForwardLoggingPlugin

        name = _forwarding(logger_name)
        self.subscribe_topic(name, replay)
        client: Any = self
        return client.register_plugin(ForwardLoggingPlugin(logger_name, level, name), name)

    def unforward_logging(self, logger_name: str | None = None) -> Any:
        """End `forward_logging` of this logger; ValueError if there is none."""
        name = _forwarding(logger_name)
        self.unsubscribe_topic(name)
        client: Any = self
        return client.unregister_worker_plugin(name)


def _forwarding(logger_name: str | None) -> str:
    if logger_name is not None and not isinstance(logger_name, str):
        raise TypeError(f"logger_name must be a logger's name or None, not {logger_name!r}")
    return f"{FORWARDED}-{logger_name}" if logger_name else FORWARDED


def _tuples(events: list[Any]) -> tuple[tuple[float, Any], ...]:
    return tuple([(when, plain.checked(event)) for when, event in events])
