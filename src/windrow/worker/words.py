"""What holds a worker's memory, in words.

What lives here: `largest`. What this file must never know: why it is said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from windrow.errors import in_bytes
from windrow.keys import Key

_ENDING = re.compile(r"(-([0-9a-f]{8,}|[0-9]+))+$")


def largest(sizes: Mapping[int, int], names: Mapping[int, Key], count: int = 3) -> str:
    """Return what most of some values are of, as the end of a sentence; "" when there is none.

    Examples
    --------
    >>> largest({1: 2048, 2: 2048, 3: 5000}, {1: "load-7", 2: "load-8", 3: "sum-1"})
    '; most of it: sum (4.9 KiB), load (2 of 4.0 KiB together)'
    """
    kinds: dict[str, list[int]] = {}
    for id, size in sizes.items():
        if size and id in names:
            key = names[id]
            kinds.setdefault(_ENDING.sub("", str(key[0] if isinstance(key, tuple) else key)), []).append(size)
    first = sorted(kinds.items(), key=lambda kind: -sum(kind[1]))[:count]
    said = [
        f"{name} ({f'{len(held)} of ' if len(held) > 1 else ''}{in_bytes(sum(held))}{' together' * (len(held) > 1)})"
        for name, held in first
    ]
    return f"; most of it: {', '.join(said)}" if said else ""
