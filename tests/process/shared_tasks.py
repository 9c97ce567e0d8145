"""What tasks of the tests of shared memory do."""

from __future__ import annotations

import os
from typing import Any

import numpy as np


def make(count: int, value: float = 1.0) -> Any:
    return np.full(count, value)


def total(array: Any) -> float:
    return float(array.sum())


def edit(array: Any) -> float:
    """Change what was given, in place."""
    array[:] = -1.0
    return float(array.sum())


def where(array: Any) -> str:
    """The kind of memory that an array is in."""
    address = array.ctypes.data
    with open("/proc/self/maps", encoding="ascii") as maps:
        for line in maps:
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            if start <= address < end:
                return "shared" if "memfd:windrow" in line else "own"
    return "nowhere"


def keep(array: Any, others: list[Any] = []) -> int:  # noqa: B006
    """Keep what was given for as long as the process lives."""
    others.append(array)
    return os.getpid()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def held_bytes() -> int:
    from windrow import memfd

    return memfd.held.total()


def viewed_bytes() -> int:
    from windrow import memfd

    return memfd.viewed.total()


def where_of_second(_number: int, array: Any) -> str:
    return where(array)


_failed: list[bool] = []


def edit_and_fail_once(array: Any) -> float:
    """Change what was given, and fail; the second time, say what was there."""
    found = float(array.sum())
    array[:] = -1.0
    if not _failed:
        _failed.append(True)
        raise ArithmeticError("once")
    return found


def open_nothing() -> None:
    """From here on this process finds that it cannot open what others offer it."""
    from windrow.memfd import SegmentError
    from windrow.wire import sharing

    def refuse(*_: object) -> None:
        raise SegmentError(13, "not allowed")

    sharing.attach = refuse  # type: ignore[assignment]
