"""The functions that tasks run: trivial, so that what is measured is the engine.

What lives here: module-level functions, importable by the workers of every system. What this module must never
import at its top: any of the systems, numpy or pandas.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


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


_kept: list[np.ndarray] = []


def keep(array: np.ndarray) -> float:
    """As `touch`, and keep it."""
    _kept.append(array)
    return touch(array)


def let_go() -> None:
    """Keep nothing any more."""
    _kept.clear()


def is_even(x: int) -> bool:
    """Keep half of what there is."""
    return x % 2 == 0


def last_digit(x: int) -> int:
    """Make ten groups of many numbers."""
    return x % 10


def frame(number: int, rows: int, keys: int) -> pd.DataFrame:
    """One partition of a table: the same for the same number, whoever makes it."""
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(number)
    return pd.DataFrame(
        {
            "key": random.integers(0, keys, rows),
            "value": random.random(rows),
            "count": random.integers(0, 100, rows),
        }
    )


def hold(path: str, limit_s: float) -> None:
    """Keep a worker busy while this file is there."""
    until = time.monotonic() + limit_s
    while Path(path).exists() and time.monotonic() < until:
        time.sleep(0.02)


def known_tasks(dask_scheduler: Any) -> int:
    """How many tasks a scheduler knows; to be run in its process."""
    tasks = getattr(dask_scheduler, "tasks", None)
    return len(dask_scheduler.core.state.tasks if tasks is None else tasks)
