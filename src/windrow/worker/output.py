"""What tasks print and log on this worker, on its way to the scheduler.

What lives here: `Output`, which collects it; `Tee`, which stands in the place of ``sys.stdout`` and ``sys.stderr``; and
`attend`, which has these and `logging` attended to. What this file must never know: connections, and who reads it.

A task that says nothing pays nothing: who runs here is looked up when something is said (`windrow.context`). Whoever
prints or logs may hold any lock, and the end of an object may print anywhere: so nothing here takes a lock, or waits.
A task's lines reach the terminal whole, each in one write. What C code writes to descriptors 1 and 2 is not seen here,
nor what goes around the streams (``sys.stdout.buffer``, ``sys.__stdout__``).
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from windrow import config, context, logs
from windrow.keys import Key
from windrow.wire import messages as m

__all__ = ["Output", "Tee", "attend", "collect"]

APART_S = 0.1
"""What a task says reaches the scheduler at once, if nothing has been sent for so long; else then, or with its end."""

BURST_S = 4.0
"""How many seconds' worth of the rate may come at once."""

LINE_MAX = 8192
"""A longer line is cut."""

_FORMAT = logging.Formatter("%(name)s: %(message)s")


class Output:
    """Collects what tasks say.

    Parameters
    ----------
    send
        Carries what is here away, on the loop.
    rate_bytes
        How much may be said in a second, over a few of them.
    loop
        Where.

    Examples
    --------
    >>> output = Output(lambda: None, 1000, loop=None)
    >>> output.note("inc-1", "stdout", "hello")
    >>> said = output.take({})
    >>> said.keys, [[row[1:] for row in rows] for rows in said.said], output.take({})
    (['inc-1'], [[('stdout', 'hello')]], None)
    """

    def __init__(self, send: Callable[[], None], rate_bytes: float, loop: asyncio.AbstractEventLoop | None) -> None:
        self.tees: list[Tee] = []
        self._send = send
        self._loop = loop
        self._rate = float(rate_bytes)
        self._left = self._rate * BURST_S
        self._counted_s = time.monotonic()
        self._sent_s = 0.0
        self._news: deque[tuple[Key, float, str, str]] = deque()
        self._dropped: dict[Key, int] = {}
        self.is_due = False
        """Whether something is here that the loop knows of."""

    def note(self, key: Key, source: str, text: str) -> None:
        """Take what a task says: one line or several, without the last one's end."""
        if "\r" in text:
            text = "\n".join([_last_of(line) for line in text.split("\n")])
        size = len(text) + 32
        now = time.monotonic()
        # Threads may pass each other here; what that costs is a line counted twice, or not at all.
        self._left = min(self._left + (now - self._counted_s) * self._rate, self._rate * BURST_S) - size
        self._counted_s = now
        if self._left < 0:
            self._left += size
            self._dropped[key] = self._dropped.get(key, 0) + 1 + text.count("\n")
        else:
            if size > LINE_MAX:
                text = "\n".join([_cut(line) for line in text.split("\n")])
            self._news.append((key, time.time(), source, text))
        if not self.is_due and self._loop is not None:
            self.is_due = True
            try:
                self._loop.call_soon_threadsafe(self._send_soon)
            except RuntimeError:  # the loop has ended, and the worker with it
                return

    def _send_soon(self) -> None:
        assert self._loop is not None
        wait_s = self._sent_s + APART_S - time.monotonic()
        if wait_s > 0:
            self._loop.call_later(wait_s, self._send)
        else:
            self._send()

    def take(self, attempts: Mapping[int, object]) -> m.Output | None:
        """Take what was said since the last time; ``attempts`` are those that have not ended. On the loop only."""
        for tee in self.tees:
            if tee.held:
                tee.end_lines(attempts)
        if not self._news and not self._dropped:
            self.is_due = False
            return None
        self.is_due = False
        self._sent_s = time.monotonic()
        said: dict[Key, list[tuple[float, str, str]]] = {}
        for _ in range(len(self._news)):
            key, moment, source, text = self._news.popleft()
            if not text.isascii():  # what is no UTF-8 (a file's name, say) would not travel
                text = text.encode("utf-8", "backslashreplace").decode()
            said.setdefault(key, []).append((moment, source, text))
        dropped, self._dropped = self._dropped, {}
        for key in dropped:
            said.setdefault(key, [])
        return m.Output(list(said), list(said.values()), [dropped.get(key, 0) for key in said])


def _last_of(line: str) -> str:
    """Return what of a line is on the screen, when parts of it were written over others."""
    return line.rstrip("\r").rpartition("\r")[2]


def _cut(line: str) -> str:
    return line if len(line) <= LINE_MAX else f"{line[:LINE_MAX]}… ({len(line) - LINE_MAX} more characters)"


class _Held:
    """The beginning of a line that has not ended, and how much of it the terminal has."""

    __slots__ = ("shown", "text")

    def __init__(self, text: str, shown: int) -> None:
        self.text = text
        self.shown = shown


class Tee:
    """Stands in the place of a standard stream: what a task writes is noted, and goes on in whole lines.

    Parameters
    ----------
    stream
        The stream.
    name
        "stdout" or "stderr".
    output
        Where it is noted.
    """

    def __init__(self, stream: TextIO, name: str, output: Output) -> None:
        self.held: dict[Any, _Held] = {}
        """By who writes: an attempt, or an actor's key."""
        self.is_mute = False
        """Whether nothing goes on to the stream, as somebody else shows it."""
        self._stream = stream
        self._name = name
        self._output = output

    def write(self, text: str) -> int:
        """Write, as a text stream does."""
        owner = _speaker()
        if owner is None or _logging.now or not isinstance(text, str):
            return len(text) if self.is_mute else self._stream.write(text)
        held = self.held.pop(owner, None)
        line, shown = (text, 0) if held is None else (held.text + text, held.shown)
        end = line.rfind("\n") + 1
        if len(line) - end > LINE_MAX:  # no line, it seems
            end = len(line)
        if end < len(line):
            self.held[owner] = _Held(line[end:], 0 if end else shown)
        if end:
            self._output.note(_key_of(owner), self._name, line[:end].removesuffix("\n"))
            if not self.is_mute:
                self._stream.write(line[shown:end])
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Let the terminal have what there is of a line."""
        held = self.held.get(_speaker())
        if held is not None and not self.is_mute:
            part = held.text[held.shown :]
            held.shown = len(held.text)
            self._stream.write(part)
        self._stream.flush()

    def end_lines(self, attempts: Mapping[int, object]) -> None:
        """Take the last words of attempts that have ended in the middle of a line."""
        for owner, held in list(self.held.items()):
            id = getattr(owner, "id", None)
            if id is None or attempts.get(id) is owner:
                continue
            self.held.pop(owner, None)
            self._output.note(_key_of(owner), self._name, held.text)
            if not self.is_mute:
                self._stream.write(held.text[held.shown :])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _stream, (self._name,)


def _stream(name: str) -> Any:
    return getattr(sys, name)


def _speaker() -> Any:
    """Return whose words are heard now: an attempt or an actor's key; None outside of tasks."""
    place = context.place()
    if place is None:
        return None
    # A thread that a task has started may know its seat, and another task sits there now; that is the price of looking
    # only when something is said.
    return place.attempt if hasattr(place, "attempt") else place.key


def _key_of(owner: Any) -> Key:
    key: Key = getattr(owner, "key", owner)
    return key


class _Logging(threading.local):
    """Whether this thread is handing out a log record, which its handlers may write to a stream that is attended to."""

    now = False


_logging = _Logging()


def _attend_to_logging(output: Output, level: int) -> None:
    """Have records noted that are made in tasks, whichever logger they belong to.

    No handler does that: one on the root logger would have ``logging.basicConfig`` do nothing in tasks, and warnings
    without any other handler would no longer reach the terminal; and it would see no logger that does not propagate.
    """
    hand_out = logging.Logger.callHandlers

    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        owner = _speaker()
        if owner is None or _logging.now:
            return hand_out(self, record)
        if record.levelno >= level:
            output.note(_key_of(owner), record.levelname, _words_of(record))
        _logging.now = True
        try:
            hand_out(self, record)
        finally:
            _logging.now = False

    logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign]


def _words_of(record: logging.LogRecord) -> str:
    try:
        return _FORMAT.format(record)
    except Exception:  # its arguments do not fit, of which the handlers tell
        return f"{record.name}: {record.msg}"


def collect(worker: Any) -> Output | None:
    """Return what collects what tasks of a worker say; None where that is not wanted."""
    if not config.get("windrow.output.keep"):
        return None
    return Output(lambda: worker.visit(worker.executor.taken), config.size_bytes("windrow.output.rate"), worker.loop)


def attend(output: Output) -> None:
    """Attend to what tasks print and log, for the rest of this process's life, which has one worker."""
    level = logs.checked_level(config.get("windrow.output.level"))
    if level is not None:
        logging.getLogger().setLevel(level)
    for name in ("stdout", "stderr"):
        tee = Tee(getattr(sys, name), name, output)
        output.tees.append(tee)
        setattr(sys, name, tee)
    _attend_to_logging(output, level or logging.NOTSET)
