"""What workers log and print, sent to clients as events.

What lives here: `ForwardLoggingPlugin` and `ForwardOutput`. What this file must never know: who subscribes to events,
and what they make of them.

A log record is sent as a dictionary that `logging.makeLogRecord` takes; a printed line as the event of `windrow.print`.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any, TextIO

from windrow.plugins.base import WorkerPlugin
from windrow.primitives.topics import telling

__all__ = ["ForwardLoggingPlugin", "ForwardOutput"]

_PLAIN = (str, int, float, bool, type(None))


class ForwardLoggingPlugin(WorkerPlugin):
    """Sends what is logged on workers to those who have subscribed to a topic.

    Parameters
    ----------
    logger_name
        The logger; None for the root.
    level
        The least level that is sent.
    topic
        Where it goes.

    Examples
    --------
    >>> client.register_plugin(ForwardLoggingPlugin("my_package", "INFO", "my-logs"))  # doctest: +SKIP
    """

    def __init__(self, logger_name: str | None, level: int | str, topic: str) -> None:
        self.logger_name = logger_name
        self.level = level
        self.topic = topic
        self.handler: logging.Handler | None = None

    def setup(self, worker: Any) -> None:
        """Listen."""
        self.handler = _Sender(worker, self.topic, self.level)
        logging.getLogger(self.logger_name).addHandler(self.handler)

    def teardown(self, worker: Any) -> None:
        """Listen no more."""
        if self.handler is not None:
            logging.getLogger(self.logger_name).removeHandler(self.handler)
            self.handler = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "handler": None}


class _Sender(logging.Handler):
    def __init__(self, worker: Any, topic: str, level: int | str) -> None:
        super().__init__(level)
        self._worker = worker
        self._topic = topic
        self._busy = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(self._busy, "now", False):  # what is logged by the sending itself would be sent, and so on
            return
        self._busy.now = True
        try:
            _log_soon(self._worker, self._topic, _plain_record(record))
        except Exception:
            self.handleError(record)
        finally:
            self._busy.now = False


def _log_soon(worker: Any, topic: str, event: dict[str, Any]) -> None:
    """Log an event from the worker's loop: whoever prints or logs just now may hold any lock."""
    try:
        worker.loop.call_soon_threadsafe(worker.log_event, topic, event)
    except RuntimeError:  # the loop is closed: the worker has ended
        return


def _plain_record(record: logging.LogRecord) -> dict[str, Any]:
    """Return a record as plain data: its text made up, its exception formatted, and only what travels."""
    plain = {name: value for name, value in record.__dict__.items() if isinstance(value, _PLAIN)}
    plain |= {"msg": record.getMessage(), "args": None, "exc_info": None, "name": record.name}
    if record.exc_info and not record.exc_text:
        plain["exc_text"] = logging.Formatter().formatException(record.exc_info)
    return plain


class ForwardOutput(WorkerPlugin):
    """Sends each line that workers write to stdout and stderr to all clients, which print it.

    Workers that write to the terminal of the program that started them (`LocalCluster`) do so no longer meanwhile, as
    their lines would be there twice. Workers inside the program's own process have nothing to forward. What is kept for
    ``Future.logs`` is kept all the same.

    Examples
    --------
    >>> client.register_plugin(ForwardOutput())  # doctest: +SKIP
    """

    name = "forward-output"

    def __init__(self) -> None:
        self._former: tuple[TextIO, TextIO] | None = None

    def setup(self, worker: Any) -> None:
        """Read along."""
        if worker.address.startswith("inproc://"):
            return
        self._former = (sys.stdout, sys.stderr)
        sys.stdout = _Tee(sys.stdout, 1, worker)
        sys.stderr = _Tee(sys.stderr, 2, worker)

    def teardown(self, worker: Any) -> None:
        """Read along no more."""
        if self._former is not None:
            for stream in self._former:
                _mute(stream, False)
            sys.stdout, sys.stderr = self._former
            self._former = None


def _mute(stream: Any, is_mute: bool) -> bool:
    """Have a stream that keeps what is written show it, or not; False if it is no such stream."""
    if not hasattr(stream, "is_mute"):
        return False
    stream.is_mute = is_mute
    return True


class _Tee:
    """A stream that hands what is written on, and each whole line to a worker's clients."""

    def __init__(self, stream: TextIO, number: int, worker: Any) -> None:
        self._stream = stream
        self._number = number
        self._worker = worker
        self._partial: dict[int, str] = {}
        """Beginnings of lines, by thread."""
        self._hands_on = worker.echoes or _mute(stream, True)

    def write(self, text: str) -> int:
        written = self._stream.write(text) if self._hands_on else len(text)
        if telling.now:  # to all clients, and here for the worker's own log
            return written
        thread = threading.get_ident()
        *lines, rest = (self._partial.pop(thread, "") + text).split("\n")
        if rest:
            self._partial[thread] = rest
        if lines:
            event = {"args": ["\n".join(lines)], "sep": " ", "end": "\n", "file": self._number, "flush": True}
            _log_soon(self._worker, "print", event)
        return written

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
