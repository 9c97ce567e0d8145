"""Sizes and values in words, for logs and errors.

What lives here: `in_bytes` and `largest`. What this file must never know: why something is said.
"""

from __future__ import annotations

from collections.abc import Mapping

from windrow.keys import Key


def in_bytes(nbytes: float) -> str:
    """Return a size for people to read.

    Examples
    --------
    >>> in_bytes(500), in_bytes(3 * 2**20), in_bytes(2.5 * 2**30)
    ('500 B', '3.0 MiB', '2.5 GiB')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if nbytes < 1024:
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1024
    return f"{nbytes:.1f} TiB"


def largest(sizes: Mapping[int, int], names: Mapping[int, Key], count: int = 3) -> str:
    """Return the largest of some values, as the end of a sentence; "" when there is none.

    Examples
    --------
    >>> largest({1: 10, 2: 2048}, {2: "load-7"})
    '; the largest: load-7 (2.0 KiB)'
    """
    first = sorted([id for id in sizes if id in names], key=lambda id: -sizes[id])[:count]
    said = [f"{names[id]} ({in_bytes(sizes[id])})" for id in first if sizes[id] >= 1024]
    return f"; the largest: {', '.join(said)}" if said else ""
