"""Collections of Dask to run: arrays, bags and dataframes, each with the means to tell a right result.

What lives here: for each case a function that makes the collection anew from a size and a number, as a user of Dask
would write it. What this module must never know: the systems, and how anything is timed. Nor does it import any part
of Dask at its top: a process that runs other cases is to stay without it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

Job = tuple[Any, Callable[[Any], bool]]
"""A collection, and whether a result of it is right."""

Build = Callable[[int, int], Job]
"""Makes a job of this size; equal numbers make equal keys."""

SIDE = 100
"""Rows and columns of an array's chunk: small, so that the tasks take less time than what surrounds them."""


def _near(wanted: Any) -> Callable[[Any], bool]:
    """Whether a result holds these numbers, but for what rounding in another order does to them."""
    import numpy as np

    def is_right(found: Any) -> bool:
        found_array, wanted_array = np.asarray(found, dtype=float), np.asarray(wanted, dtype=float)
        return found_array.shape == wanted_array.shape and bool(np.allclose(found_array, wanted_array, rtol=1e-9))

    return is_right


def square(chunks: int, number: int) -> tuple[Any, int]:
    """A square array of about so many chunks, this number everywhere; and its length."""
    import dask.array as da

    length = SIDE * max(round(chunks**0.5), 2)
    return da.full((length, length), number, chunks=(SIDE, SIDE), dtype=float) + 1, length


# ---------------------------------------------------------------- arrays and bags: nearly no work in a task


def array_transpose(chunks: int, number: int) -> Job:
    x, length = square(chunks, number)
    return (x + x.T).sum(), _near(2 * (number + 1) * length**2)


def array_slices(slices: int, number: int) -> Job:
    """Many slices of one array, each of which takes a corner of four chunks."""
    import dask.array as da

    side = max(round(slices**0.5), 1)
    x, _ = square((2 * side) ** 2, number)
    starts = [2 * SIDE * step + SIDE // 2 for step in range(side)]
    sums = [x[row : row + SIDE, column : column + SIDE].sum() for row in starts for column in starts]
    return da.stack(sums), _near([(number + 1) * SIDE**2] * side**2)


def array_mean(chunks: int, number: int) -> Job:
    x, length = square(chunks, number)
    return x.mean(axis=0), _near([number + 1] * length)


def group_means(chunks: int, number: int) -> Job:
    """Deviations from the mean of one's group along an axis: a climatology and its anomalies."""
    import dask.array as da
    import numpy as np

    days, places = 15, 2
    length = days * max(chunks // places, 4)
    day = da.arange(length, chunks=days, dtype=float)
    x = day[:, None] + da.full((length, places * SIDE), number, chunks=(days, SIDE))
    month = np.arange(length) // 30 % 12
    groups = [np.flatnonzero(month == one) for one in np.unique(month)]
    means = da.stack([x[group].mean(axis=0) for group in groups])
    anomalies = x - means[np.searchsorted(np.unique(month), month)]
    series = np.arange(length, dtype=float)
    wanted = sum(((series[group] - series[group].mean()) ** 2).sum() for group in groups) / length
    return (anomalies**2).mean(axis=0), _near([wanted] * places * SIDE)


def bag(partitions: int, number: int) -> Job:
    import dask.bag as db

    from benchmarks import work

    first = number * 10_000_000
    numbers = range(first, first + 100 * partitions)
    made = db.from_sequence(numbers, npartitions=partitions)
    counted = made.map(work.inc).filter(work.is_even).map(work.last_digit).frequencies()
    wanted = Counter(work.last_digit(one + 1) for one in numbers if work.is_even(one + 1))
    return counted, lambda found: dict(found) == wanted


# ---------------------------------------------------------------- dataframes: pandas works in each task


def _frame(partitions: int, number: int, rows: int, keys: int) -> tuple[Any, Any]:
    """A table of Dask, and the same as one of pandas."""
    import dask.dataframe as dd
    import pandas as pd

    from benchmarks import work

    numbers = range(number * 1_000, number * 1_000 + partitions)
    made = dd.from_map(work.frame, numbers, rows=rows, keys=keys, meta=work.frame(0, 1, 1))
    return made, pd.concat([work.frame(one, rows, keys) for one in numbers])


def groupby(partitions: int, number: int) -> Job:
    made, plain = _frame(partitions, number, 500, 100)
    how = {"value": ["sum", "mean"], "count": ["max"]}
    is_near = _near(plain.groupby("key").agg(how))
    return made.groupby("key").agg(how), lambda found: is_near(found.sort_index())


def join(partitions: int, number: int) -> Job:
    """Both sides are shuffled by their key, in the way that Dask's configuration says when the collection runs."""
    keys = 50 * partitions
    left, plain_left = _frame(partitions, 2 * number, 2_000, keys)
    right, plain_right = _frame(partitions, 2 * number + 1, 200, keys)
    joined = plain_left.merge(plain_right, on="key")
    return left.merge(right, on="key")[["value_x", "value_y", "count_x"]].sum(), _near(
        joined[["value_x", "value_y", "count_x"]].sum()
    )


# ---------------------------------------------------------------- what Dask itself takes


def sum_of_transpose(tasks: int, number: int) -> Job:
    """An array and its transpose added: about so many tasks, half of them results that are kept."""
    x, length = square(tasks // 2, number)
    return x + x.T, _near([[2 * (number + 1)] * length] * length)


def graph_of(collection: Any) -> dict[Any, Any]:
    """The graph that Dask hands to whatever runs a persisted collection, made and optimised."""
    import dask

    graph: dict[Any, Any] = {}

    def get(expression: Any, keys: Any, **options: Any) -> Any:
        graph.update(expression.__dask_graph__() if hasattr(expression, "__dask_graph__") else expression)
        return [None for _ in keys]

    dask.persist(collection, scheduler=get)
    return graph


def dask_takes(collection: Any) -> tuple[int, float]:
    """How many tasks the graph of a collection has, and the seconds that Dask takes to make and optimise it."""
    start = time.perf_counter()
    graph = graph_of(collection)
    return len(graph), time.perf_counter() - start
