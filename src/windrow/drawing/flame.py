"""A profile, as boxes: a flame graph, whoever calls below whom it calls.

What lives here: `boxes_of`. What this file must never know: how stacks are sampled, and how boxes are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from windrow.drawing import colours
from windrow.drawing.boxes import Columns, add, boxes, in_seconds

__all__ = ["boxes_of"]

LEAST = 0.002
"""What takes less of the whole is not drawn."""


def boxes_of(profile: Mapping[str, Any], interval_s: float = 0.01) -> Columns:
    """Return a box for each function, as wide as its part of the time (0 to 1), and as high as it is deep.

    Parameters
    ----------
    profile
        A tree as `windrow.sampling.described` makes it.
    interval_s
        How often it was looked, so that counts become times.

    Examples
    --------
    >>> from windrow import sampling
    >>> tree = sampling.new_tree()
    >>> for frames in ([("f", "a.py", 1)], [("g", "b.py", 1)]):
    ...     sampling.add(tree, frames)
    >>> found = boxes_of(sampling.described(tree))
    >>> found["label"], found["left"], found["right"], found["bottom"]
    (['all', 'f', 'g'], [0.0, 0.0, 0.5], [1.0, 0.5, 1.0], [0, 1, 1])
    """
    found, total = boxes(), profile["count"]
    waiting = [(profile, 0.0, 0)] if total else []
    while waiting:
        node, left, depth = waiting.pop(0)
        width = node["count"] / total
        where, count = node["description"], node["count"]
        add(
            found,
            (left, left + width),
            (depth, depth + 0.95),
            colours.of_prefix(where["filename"]) if depth else "#c8ced6",
            where["name"] if depth else "all",
            _detail(where, count, total, interval_s),
        )
        for child in sorted(node["children"].values(), key=lambda child: (-child["count"], child["identifier"])):
            if child["count"] / total >= LEAST:
                waiting.append((child, left, depth + 1))
            left += child["count"] / total
    return found


def _detail(where: Mapping[str, Any], count: int, total: int, interval_s: float) -> str:
    share = f"{count / total:.1%}, about {in_seconds(count * interval_s)}"
    if not where["filename"]:
        return share
    line = f" · {where['line']}" if where["line"] else ""
    return f"{share} · {where['filename']}:{where['line_number']}{line}"
