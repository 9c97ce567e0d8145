"""The last log records of this process, for whoever asks from elsewhere.

What lives here: a handler that remembers, and what it remembers. What this file must never know: who asks, and whose
the records are beyond their logger's name.

It hangs on the loggers "windrow" and "distributed" (whose name programs for Dask use on workers), and changes nothing
of what else happens to their records, nor their levels: by Python's default, warnings and worse.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable

from windrow import config

__all__ = ["FORMAT", "Memory", "recent", "remember"]

FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"

ROOTS = ("windrow", "distributed")


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
    >>> [level for _, level, _ in memory.records]
    ['ERROR']
    """

    def __init__(self, length: int) -> None:
        super().__init__()
        self.records: deque[tuple[str, str, str]] = deque(maxlen=length)
        self.setFormatter(logging.Formatter(FORMAT))

    def emit(self, record: logging.LogRecord) -> None:
        """Remember a record: its logger, level and text."""
        try:
            self.records.append((record.name, record.levelname, self.format(record)))
        except Exception:
            self.handleError(record)
        # Python's handler of last resort is for programs that have set up none; with this one there, it thinks they
        # had. It is asked in its place.
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and not _is_handled(record.name):
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


def recent(party: str, n: int | None = None) -> list[tuple[str, str]]:
    """Return the last ``n`` records of a party's loggers as (level, text), newest first.

    A party is "scheduler", "worker" or "nanny".

    Examples
    --------
    >>> recent("no such party")
    []
    """
    records: Iterable[tuple[str, str, str]] = reversed(list(_memory.records)) if _memory is not None else ()
    names = tuple(f"{root}.{party}" for root in ROOTS)
    found = [(level, text) for name, level, text in records if name.startswith(names)]
    return found if n is None else found[:n]
