"""Functions that the tests of this directory run as tasks; light, as every worker imports it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

LIMIT_S = 20.0
POLL_S = 0.002


class Oops(Exception):
    """An error with facts, of a class that lives in a module."""

    def __init__(self, number: int, *, why: str = "because") -> None:
        super().__init__(number)
        self.number = number
        self.why = why


class Shelf:
    """An array in a file, to which blocks can be written from any process, as to one of zarr."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        import numpy

        self.path = str(path)
        self.shape = shape
        self.dtype = numpy.dtype("f8")
        numpy.lib.format.open_memmap(self.path, "w+", self.dtype, shape)[:] = numpy.nan

    def __setitem__(self, index: Any, block: Any) -> None:
        import numpy

        numpy.lib.format.open_memmap(self.path, "r+")[index] = block

    def __getitem__(self, index: Any) -> Any:
        import numpy

        return numpy.load(self.path)[index]


class Sealed:
    """Holds what cannot be pickled."""

    def __init__(self) -> None:
        self.door = {"handle": (number for number in range(3))}


class Point:
    """Something with attributes and methods."""

    def __init__(self, x: float, y: float) -> None:
        self.x = x
        self.y = y

    def moved(self, dx: float = 0, dy: float = 0) -> Point:
        return Point(self.x + dx, self.y + dy)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)

    __hash__ = None  # type: ignore[assignment]


def inc(x: Any) -> Any:
    return x + 1


def double(x: Any) -> Any:
    return 2 * x


def add(x: Any, y: Any) -> Any:
    return x + y


def identity(x: Any) -> Any:
    return x


def pair_up(x: Any, y: Any) -> tuple[Any, Any]:
    return x, y


def keywords(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


def fail(x: Any) -> Any:
    return _deeper(x)


def _deeper(x: Any) -> Any:
    raise Oops(7, why=f"deeper down with {type(x).__name__}")


def fail_with_cause(text: str) -> None:
    try:
        {}["key"]
    except KeyError as error:
        raise ValueError(text) from error


def make_sealed(x: Any) -> Sealed:
    return Sealed()


def pid(*anything: object, **more: object) -> int:
    return os.getpid()


def note(path: str, line: object) -> object:
    """Add a line to a file, in one write; return it."""
    with open(path, "a") as file:
        file.write(f"{line}\n")
    return line


def note_slowly(path: str, line: object) -> None:
    """As `note`, and busy for five milliseconds."""
    note(path, line)
    end = time.perf_counter() + 0.005
    while time.perf_counter() < end:
        pass


def noted(value: Any, path: str) -> Any:
    """Return the value, and leave a trace of the call in a file."""
    note(path, "called")
    return value


def lines(path: Path) -> list[str]:
    """Return what `note` has written so far."""
    return path.read_text().splitlines() if path.exists() else []


def fail_until(path: str, times: int) -> int:
    """Raise so many times; return how often it has been called."""
    with open(path, "a") as file:
        file.write(".")
    calls = os.path.getsize(path)
    if calls <= times:
        raise Oops(calls)
    return calls


def until_there(path: str, value: Any = None) -> Any:
    """Wait for a file, as a task that takes long does; return the value."""
    end = time.monotonic() + LIMIT_S
    while not os.path.exists(path):
        if time.monotonic() > end:
            raise TimeoutError(f"{path} is not there")
        time.sleep(POLL_S)
    return value


def announce_and_wait(value: Any, started: str, go: str) -> Any:
    """Note this process's id in a file, wait for another file, and return the value."""
    note(started, os.getpid())
    return until_there(go, value)


def nested(depth: int) -> int:
    """Compute a collection inside a task, whose tasks may do the same."""
    import dask

    if depth == 0:
        return 1
    parts = [dask.delayed(nested)(depth - 1, dask_key_name=("nested", depth, os.urandom(4).hex())) for _ in range(2)]
    return sum(dask.compute(*parts))


def total_of_squares(n: int) -> int:
    """Compute an array inside a task, in the way of code that knows nothing of clusters."""
    import dask.array as da

    x = da.arange(n, chunks=max(1, n // 4))
    return int((x * x).sum().compute())
