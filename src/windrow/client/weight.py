"""A warning when much data travels inside of tasks.

What lives here: how much that is, and what to say of it. What this file must never know: tasks, sessions.

Arguments pass through the scheduler, which keeps them as long as their task. What is small is not counted: a graph is
not at fault for having very many tasks.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Sequence

from windrow import config
from windrow.keys import Key
from windrow.wire.blobs import Blob
from windrow.wire.payload import nbytes

SMALL_BYTES = 1024
"""Payloads up to this size are those of any task."""

THRESHOLD = "distributed.admin.large-graph-warning-threshold"

OURS = ("windrow", "dask")


def weight(blobs: Iterable[Blob]) -> int:
    """Return the size of those blobs that are not small.

    Examples
    --------
    >>> weight([b"small", bytes(2000), bytes(3000)])
    5000
    """
    sizes = [len(blob) if type(blob) is bytes else nbytes(blob) for blob in blobs]
    return sum([size for size in sizes if size > SMALL_BYTES])


class Load:
    """What the tasks of one graph carry.

    Examples
    --------
    >>> load = Load()
    >>> load.add(["x", "y"], [bytes(2000), bytes(3000)])
    >>> load.nbytes, load.heaviest
    (5000, "task 'y'")
    """

    __slots__ = ("_digests", "_most_bytes", "heaviest", "nbytes")

    def __init__(self) -> None:
        self.nbytes = 0
        self.heaviest = ""
        self._most_bytes = 0
        self._digests: set[bytes] = set()

    def add(self, keys: Sequence[Key], blobs: Sequence[Blob]) -> None:
        """Count arguments of tasks."""
        carried = weight(blobs)
        if carried:
            size, place = max(zip(map(nbytes, blobs), range(len(blobs)), strict=True))
            self._count(carried, size, f"task {keys[place]!r}")

    def add_function(self, name: str, digest: bytes, code: Blob) -> None:
        """Count a function, once."""
        if digest not in self._digests:
            self._digests.add(digest)
            self._count(weight([code]), nbytes(code), f"the function {name!r}")

    def _count(self, carried: int, most: int, what: str) -> None:
        self.nbytes += carried
        if most > self._most_bytes:
            self._most_bytes, self.heaviest = most, what

    def warn(self) -> None:
        """Warn if it is too much."""
        warn_of(self.nbytes, self.heaviest)


def warn_of(weight_bytes: int, whose: str) -> None:
    """Warn, in the line of whoever called windrow or Dask, if this is too much.

    Parameters
    ----------
    weight_bytes
        What the tasks of one call carry.
    whose
        The heaviest of them, or their function.

    Examples
    --------
    >>> warn_of(2000, "task 'x'")
    """
    if not weight_bytes or weight_bytes <= config.size_bytes(THRESHOLD):
        return
    warnings.warn(
        f"{weight_bytes / 1e6:,.1f} MB of data are sent to the scheduler inside of tasks (most of it in {whose}), "
        "which is slow and takes its memory. Give the tasks futures of the data (client.scatter), or have them load it "
        f"themselves, from files for instance. The limit is {THRESHOLD!r} in the configuration.",
        stacklevel=_outside(),
    )


def _outside() -> int:
    """The level of the first frame, above the caller's, that is neither ours nor Dask's."""
    level, frame = 2, sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in OURS:
        level, frame = level + 1, frame.f_back
    return level
