"""Boxes and lines as SVG, for files that are written where Bokeh is not installed.

What lives here: pictures that explain themselves by what the pointer is over. What this file must never know: where
boxes come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from windrow.drawing.boxes import Columns, in_seconds
from windrow.drawing.colours import PALETTE

__all__ = ["flame", "lines", "stream"]

BOXES_MAX = 20_000
"""A browser shows so many with ease; of more, the widest are drawn."""

WIDTH = 1000
LANE = 18
MARGIN = 260


def stream(columns: Columns, lanes: Sequence[str]) -> str:
    """Return a task stream; time is counted from its first box.

    Examples
    --------
    >>> from windrow.drawing.boxes import add, boxes
    >>> found = boxes()
    >>> add(found, (0, 1000), (0.1, 0.9), "#4477aa", "a<b", "1 s")
    >>> picture = stream(found, ["w thread 1"])
    >>> "<title>a&lt;b: 1 s</title>" in picture, "w thread 1" in picture
    (True, True)
    """
    begin, end = min(columns["left"], default=0.0), max(columns["right"], default=1.0)
    height = LANE * max(1, len(lanes))
    names = "".join(
        f'<text x="{MARGIN - 6}" y="{(number + 0.7) * LANE:.1f}" text-anchor="end">{escape(name)}</text>'
        for number, name in enumerate(lanes)
    )
    span = in_seconds((end - begin) / 1e3)
    axis = (
        f'<text x="{MARGIN}" y="{height + 16}">0</text>'
        f'<text x="{MARGIN + WIDTH}" y="{height + 16}" text-anchor="end">{span}</text>'
    )
    return _picture(names + axis + _boxes(columns, begin, end, MARGIN), MARGIN + WIDTH, height + 22)


def flame(columns: Columns) -> str:
    """Return a flame graph.

    Examples
    --------
    >>> from windrow.drawing.boxes import add, boxes
    >>> found = boxes()
    >>> add(found, (0, 1), (0, 0.95), "#4477aa", "all", "100%")
    >>> "<title>all: 100%</title>" in flame(found)
    True
    """
    depth = max(columns["top"], default=1.0)
    return _picture(_boxes(columns, 0.0, 1.0, 0, texts=True), WIDTH, LANE * (depth + 0.2))


def lines(series: Mapping[str, tuple[Sequence[float], Sequence[float]]], label: str) -> str:
    """Return lines over time: (seconds, values) by name.

    Examples
    --------
    >>> "<title>w</title>" in lines({"w": ([0.0, 1.0], [3.0, 4.0])}, "bytes")
    True
    """
    times = [time for of_one, _ in series.values() for time in of_one]
    most = max([value for _, of_one in series.values() for value in of_one], default=0.0) or 1.0
    begin = min(times, default=0.0)
    span = (max(times, default=1.0) - begin) or 1.0
    drawn = [f'<text x="0" y="12">{most:,.4g} {escape(label)}</text>']
    for number, (name, (of_times, values)) in enumerate(series.items()):
        points = " ".join(
            f"{(time - begin) / span * WIDTH:.1f},{200 - value / most * 180:.1f}"
            for time, value in zip(of_times, values, strict=True)
        )
        ink = PALETTE[number % len(PALETTE)]
        drawn.append(
            f'<polyline points="{points}" fill="none" stroke="{ink}" stroke-width="2"><title>{escape(name)}</title>'
            f'</polyline><text x="{120 * number}" y="216" fill="{ink}">{escape(name)}</text>'
        )
    return _picture("".join(drawn), WIDTH, 220)


def _boxes(columns: Columns, begin: float, end: float, margin: float, texts: bool = False) -> str:
    scale = WIDTH / ((end - begin) or 1.0)
    names = ("left", "right", "bottom", "top", "color", "alpha", "label", "detail")
    found = sorted(
        zip(*(columns[name] for name in names), strict=True), key=lambda box: box[0] - box[1]
    )  # the widest first
    drawn = []
    for left, right, bottom, top, color, alpha, label, detail in found[:BOXES_MAX]:
        x, width = margin + (left - begin) * scale, max(0.3, (right - left) * scale)
        drawn.append(
            f'<rect x="{x:.2f}" y="{bottom * LANE:.1f}" width="{width:.2f}" height="{(top - bottom) * LANE:.1f}" '
            f'fill="{color}" fill-opacity="{alpha}"><title>{escape(label)}: {escape(detail)}</title></rect>'
        )
        room = int(width / 7)
        if texts and room > 2:
            y = (bottom + 0.7) * LANE
            drawn.append(f'<text x="{x + 3:.1f}" y="{y:.1f}" class="inside">{escape(label[:room])}</text>')
    return "".join(drawn)


def _picture(content: str, width: float, height: float) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" xmlns="http://www.w3.org/2000/svg" '
        f'style="width: 100%; font: 11px system-ui, sans-serif">{content}</svg>'
    )
