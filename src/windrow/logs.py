"""The last log records of this process, for whoever asks from elsewhere; and which of them reach its terminal.

What lives here: a handler that remembers, what it remembers, and the level below which nothing is shown. What this file
must never know: who asks, and whose the records are beyond their logger's name and the party that they name.

It hangs on the loggers "windrow" and "distributed" (whose name programs for Dask use on workers), and changes nothing
of what else happens to their records, nor their levels: by Python's default, warnings and worse. What happens once in
the life of a party (`tell`) is remembered whatever the level.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from windrow import config

__all__ = ["FORMAT", "Memory", "checked_level", "recent", "remember", "silence", "tell"]

FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"

ROOTS = ("windrow", "distributed")

SHOWING = (*ROOTS, "bokeh")
"""Loggers whose handlers write to the terminal what `silence` is about."""


class Entry(NamedTuple):
    """A record, as it is remembered."""

    logger: str
    level: str
    text: str
    party: str
    """The id of whom it is about; "" where the record does not say."""


class Memory(logging.Handler):
    """Remembers the last records.

    Parameters
    ----------
    length
        How many.

    Examples
    --------
    >>> memory, logger = Memory(100), logging.getLogger("example")
    >>> logger.addHandler(memory)
    >>> logger.propagate = False
    >>> logger.error("it broke")
    >>> [entry.level for entry in memory.records]
    ['ERROR']
    """

    def __init__(self, length: int) -> None:
        super().__init__()
        self.records: deque[Entry] = deque(maxlen=length)
        self.setFormatter(logging.Formatter(FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        """Remember a record."""
        try:
            party = getattr(record, "party", "")
            text = self.format(record).encode("utf-8", "backslashreplace").decode()  # names of files may be no text
            self.records.append(Entry(record.name, record.levelname, text, party))
        except Exception:
            self.handleError(record)
        # Python's handler of last resort is for programs that have set up none; with this one there, it thinks they
        # had. It is asked in its place.
        last = logging.lastResort
        if last is not None and record.levelno >= _shown_level(last.level) and not _is_handled(record.name):
            last.handle(record)


def _is_handled(name: str) -> bool:
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        if any(not isinstance(handler, Memory) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


_memory: Memory | None = None


def remember() -> None:
    """See that this process remembers its records from now on; again is harmless."""
    global _memory
    if _memory is None:
        _memory = Memory(int(config.get("distributed.admin.log-length")))  # type: ignore[call-overload]
        for root in ROOTS:
            logging.getLogger(root).addHandler(_memory)


def tell(logger: logging.Logger, party: str, text: str, *args: object) -> None:
    """Log something at INFO that happens once in the life of a party; remembered where only warnings are logged, too.

    Parameters
    ----------
    logger
        The party's.
    party
        The id of whom it is about, as several of a kind may live in one process.
    text, args
        As `logging.Logger.info` takes them.
    """
    if logger.isEnabledFor(logging.INFO):
        logger.info(text, *args, extra={"party": party}, stacklevel=2)
    elif _memory is not None:
        record = logger.makeRecord(logger.name, logging.INFO, "", 0, text, args, None, extra={"party": party})
        _memory.handle(record)


def recent(party: str, n: int | None = None, own: str | None = None) -> list[tuple[str, str]]:
    """Return the last ``n`` records of a party's loggers as (level, text), newest first.

    A party is "scheduler", "worker" or "nanny". With the id of one as ``own``, what is about another is left out.

    Examples
    --------
    >>> recent("no such party")
    []
    """
    entries = reversed(list(_memory.records)) if _memory is not None else ()
    names = tuple(f"{root}.{party}" for root in ROOTS)
    found = [
        (entry.level, entry.text)
        for entry in entries
        if entry.logger.startswith(names) and (own is None or entry.party in ("", own))
    ]
    return found if n is None else found[:n]


# ---------------------------------------------------------------- what reaches the terminal

_lock = threading.Lock()


class _Wish(NamedTuple):
    """A level that somebody has asked for, and the handlers that were there at that time."""

    number: int
    level: int
    handlers: tuple[logging.Handler, ...]


_wishes: list[_Wish] = []
"""Those that were not taken back, oldest first."""
_numbers = itertools.count()
_before: dict[logging.Handler, int] = {}
"""The levels of the terminal's handlers as they were before the first wish about them."""


def _shown_level(default: int) -> int:
    return _wishes[-1].level if _wishes else default


def checked_level(level: object) -> int | None:
    """Return a level as a number; None for what asks for none (None, False, 0).

    Examples
    --------
    >>> checked_level("error"), checked_level(20), checked_level(False)
    (40, 20, None)
    """
    if level is True:
        return logging.WARNING
    if not level:
        return None
    if isinstance(level, int):
        return level
    number = logging.getLevelName(level.upper()) if isinstance(level, str) else None
    if not isinstance(number, int):
        raise ValueError(
            f"{level!r} is no level of logs; write it as logging.WARNING, 'error' or 30, or False for none"
        )
    return number


def silence(level: int) -> Callable[[], None]:
    """Let nothing below a level reach the terminal, until the function that is returned is called.

    Where several have asked, the last one that still does decides. Handlers that the program has given to the root
    logger, or that write to files, are left alone.

    Examples
    --------
    >>> undo = silence(logging.ERROR)
    >>> undo()
    """
    wish = _Wish(next(_numbers), level, tuple(_terminal_handlers()))

    def undo() -> None:
        with _lock:
            if wish in _wishes:
                _wishes.remove(wish)
                _apply(wish.handlers)

    with _lock:
        _wishes.append(wish)
        _apply(wish.handlers)
    return undo


def _terminal_handlers() -> Iterator[logging.Handler]:
    for name in SHOWING:
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                yield handler


def _apply(handlers: Iterable[logging.Handler]) -> None:
    """Set the levels of handlers by the last wish about each that stands; without one, as they were."""
    for handler in handlers:
        levels = [wish.level for wish in _wishes if handler in wish.handlers]
        if levels:
            _before.setdefault(handler, handler.level)
            handler.setLevel(levels[-1])
        else:
            handler.setLevel(_before.pop(handler, handler.level))
