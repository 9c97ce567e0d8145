"""The settings of a worker's memory, as they are configured.

What lives here: `read_options`. What this file must never know: what they lead to.
"""

from __future__ import annotations

from typing import Any

from windrow import config
from windrow.config import parse_bytes
from windrow.worker.memory import MemoryOptions


def read_options() -> MemoryOptions:
    """Return the settings ``distributed.worker.memory.*`` and those of transfers.

    Raises
    ------
    ValueError, TypeError
        One of them makes no sense; the message names it.

    Examples
    --------
    >>> read_options().pause
    0.8
    """
    max_spill = config.get("distributed.worker.memory.max-spill")
    return MemoryOptions(
        target=_fraction("target"),
        spill=_fraction("spill"),
        pause=_fraction("pause"),
        terminate=_fraction("terminate"),
        transfer=_fraction("transfer"),
        max_spill=None if max_spill is None or max_spill is False else _bytes("distributed.worker.memory.max-spill"),
        compression=_name("distributed.worker.memory.spill-compression"),
        interval_s=config.seconds("distributed.worker.memory.monitor-interval"),
        recent_s=config.seconds("distributed.worker.memory.recent-to-old-time"),
        incoming=_count("distributed.worker.connections.incoming"),
        outgoing=_count("distributed.worker.connections.outgoing"),
        question_bytes=_bytes("distributed.worker.transfer.message-bytes-limit"),
    )


def checked_fraction(value: Any, what: str) -> float | None:
    """Return a fraction of the limit of memory; None for False, 0 and None, which switch it off.

    Examples
    --------
    >>> checked_fraction(0.5, "target"), checked_fraction(False, "target")
    (0.5, None)
    """
    if value is None or value is False or value == 0:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError(f"{what} is {value!r}: a fraction of the limit of memory (0 < x <= 1) is needed, or false")
    return float(value)


def _fraction(name: str) -> float | None:
    key = f"distributed.worker.memory.{name}"
    return checked_fraction(config.get(key), f"the setting {key!r}")


def _bytes(key: str) -> int:
    value: Any = config.get(key)
    try:
        return parse_bytes(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the setting {key!r}: {error}") from None


def _count(key: str) -> int:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"the setting {key!r} is {value!r}; a number of at least 1 is needed")
    return value


def _name(key: str) -> str | None:
    value = config.get(key)
    if value is None or value is False:
        return None
    if not isinstance(value, str):
        raise ValueError(f"the setting {key!r} is {value!r}; the name of a codec, 'auto' or false is needed")
    return value
