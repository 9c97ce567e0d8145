"""The functions that tasks run: trivial, so that what is measured is the engine.

What lives here: module-level functions, importable by the workers of every system. What this module must never
import at its top: any of the systems, or numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def inc(x: int) -> int:
    """The trivial task."""
    return x + 1


def add(x: int, y: int) -> int:
    """The trivial task of two inputs."""
    return x + y


def total(values: list[int]) -> int:
    """The trivial task of many inputs."""
    return sum(values)


def length(data: bytes) -> int:
    """The trivial task with an argument of some size."""
    return len(data)


def make_array(nbytes: int, seed: int) -> np.ndarray:
    """An array of this many bytes, each page of it written."""
    import numpy as np

    return np.full(nbytes // 8, seed, dtype=np.float64)


def touch(array: np.ndarray) -> float:
    """Read one number of each page, so that every page has really arrived."""
    return float(array[::512].sum())


def touch_again(array: np.ndarray) -> float:
    """As `touch`, under another name: another task on the same data."""
    return float(array[::512].sum())
