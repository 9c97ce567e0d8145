"""Boxes: the columns that a task stream and a flame graph are drawn of, whoever draws them.

What lives here: `boxes`, `add`, and how sizes and times are written. What this file must never know: Bokeh, SVG.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from windrow.errors import in_bytes

__all__ = ["BOXES", "Columns", "add", "boxes", "in_bytes", "in_seconds"]

Columns: TypeAlias = dict[str, list[Any]]

BOXES = ("left", "right", "bottom", "top", "color", "alpha", "label", "detail")
"""The columns of boxes."""


def boxes() -> Columns:
    """Return columns without any boxes yet."""
    return {name: [] for name in BOXES}


def add(
    columns: Columns,
    x: tuple[float, float],
    y: tuple[float, float],
    color: str,
    label: str,
    detail: str,
    alpha: float = 1.0,
) -> None:
    """Add one box.

    Examples
    --------
    >>> found = boxes()
    >>> add(found, (0, 1), (0, 1), "#4477aa", "inc", "1 s")
    >>> found["right"], found["label"]
    ([1], ['inc'])
    """
    for name, value in zip(BOXES, (*x, *y, color, alpha, label, detail), strict=True):
        columns[name].append(value)


def in_seconds(seconds: float) -> str:
    """Return a time as people read it.

    Examples
    --------
    >>> in_seconds(0.0000123), in_seconds(0.25), in_seconds(75)
    ('12.3 µs', '250 ms', '75 s')
    """
    if seconds < 1e-3:
        return f"{seconds * 1e6:.3g} µs"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.4g} s"
