"""Boxes and lines as figures of Bokeh, which is imported at the first use.

What lives here: figures of a task stream, of a flame graph, of lines over time, and how they are written to a file.
What this file must never know: where boxes come from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from windrow.drawing.boxes import Columns

__all__ = ["NEEDS_BOKEH", "flame", "is_there", "lines", "resources_of", "save", "stream"]

NEEDS_BOKEH = "Bokeh draws this, and is not installed here: pip install 'windrow[dashboard]' (or bokeh itself)"

HOVER = '<div style="max-width: 40em; font: 12px system-ui, sans-serif"><b>@label</b><br>@detail</div>'

LANE_PIXELS = 18

LETTERS = 130
"""So many are as wide as a figure."""


def is_there() -> bool:
    """Whether Bokeh is installed."""
    import importlib.util

    return importlib.util.find_spec("bokeh") is not None


def _plotting() -> Any:
    try:
        import bokeh.plotting
    except ImportError as error:
        raise ImportError(NEEDS_BOKEH, name="bokeh") from error
    return bokeh.plotting


def _models() -> Any:
    import bokeh.models

    return bokeh.models


def _boxes(figure: Any, columns: Columns) -> None:
    models = _models()
    boxes = figure.quad(
        left="left",
        right="right",
        bottom="bottom",
        top="top",
        fill_color="color",
        fill_alpha="alpha",
        line_color="color",
        line_alpha=0.4,
        source=models.ColumnDataSource(columns),
    )
    figure.add_tools(models.HoverTool(renderers=[boxes], tooltips=HOVER, point_policy="follow_mouse"))
    figure.toolbar.logo = None
    figure.grid.grid_line_color = None


def _names(figure: Any, columns: Columns) -> None:
    """Write into boxes of a flame graph what they are, as far as there is room."""
    names: Columns = {"x": [], "y": [], "text": []}
    for left, right, bottom, top, label in zip(
        *(columns[name] for name in ("left", "right", "bottom", "top", "label")), strict=True
    ):
        room = int((right - left) * LETTERS)
        if room > 3:
            names["x"].append(left + 0.003)
            names["y"].append((bottom + top) / 2)
            names["text"].append(label[:room])
    figure.text(
        x="x",
        y="y",
        text="text",
        source=_models().ColumnDataSource(names),
        text_baseline="middle",
        text_color="#ffffff",
        text_font_size="11px",
    )


def stream(columns: Columns, lanes: Sequence[str], title: str = "Task Stream", **options: Any) -> Any:
    """Return the figure of a task stream: time to the right, and a lane a thread.

    Parameters
    ----------
    columns, lanes
        See `windrow.drawing.stream.boxes_of`.
    title
        Above it.
    **options
        For ``bokeh.plotting.figure``.

    Raises
    ------
    ImportError
        Bokeh is not installed.

    Examples
    --------
    >>> from windrow.drawing.boxes import boxes
    >>> stream(boxes(), []).title.text
    'Task Stream'
    """
    figure = _plotting().figure(
        title=title,
        x_axis_type="datetime",
        x_axis_label="time",
        y_range=(len(lanes), 0),
        tools="xwheel_zoom,xpan,reset,box_zoom",
        active_scroll="xwheel_zoom",
        **{"height": 90 + LANE_PIXELS * max(4, min(len(lanes), 40)), "sizing_mode": "stretch_width", **options},
    )
    _boxes(figure, columns)
    figure.yaxis.ticker = [number + 0.5 for number in range(len(lanes))]
    figure.yaxis.major_label_overrides = {number + 0.5: name for number, name in enumerate(lanes)}
    return figure


def flame(columns: Columns, title: str = "Profile", **options: Any) -> Any:
    """Return the figure of a flame graph: parts of the time to the right, and functions below those that call them.

    Examples
    --------
    >>> from windrow.drawing.boxes import boxes
    >>> flame(boxes(), title="Of inc").title.text
    'Of inc'
    """
    depth = max(columns["top"], default=1.0)
    figure = _plotting().figure(
        title=title,
        x_range=(0, 1),
        x_axis_label="share of the time",
        y_range=(depth + 0.05, 0),
        tools="xwheel_zoom,pan,reset,box_zoom",
        active_scroll="xwheel_zoom",
        **{"height": int(90 + LANE_PIXELS * min(max(depth, 6), 60)), "sizing_mode": "stretch_width", **options},
    )
    _boxes(figure, columns)
    _names(figure, columns)
    figure.xaxis.formatter = _models().NumeralTickFormatter(format="0%")
    figure.yaxis.visible = False
    return figure


def lines(series: Mapping[str, tuple[Sequence[float], Sequence[float]]], title: str, label: str, **options: Any) -> Any:
    """Return a figure of lines over time: (seconds since the epoch, values) by name.

    Examples
    --------
    >>> lines({"w": ([0.0, 1.0], [3.0, 4.0])}, "Memory", "bytes").title.text
    'Memory'
    """
    from windrow.drawing.colours import PALETTE

    figure = _plotting().figure(
        title=title,
        x_axis_type="datetime",
        x_axis_label="time",
        y_axis_label=label,
        tools="xwheel_zoom,xpan,reset",
        **{"height": 260, "sizing_mode": "stretch_width", **options},
    )
    for number, (name, (times, values)) in enumerate(series.items()):
        milliseconds = [1e3 * time for time in times]
        figure.line(milliseconds, list(values), legend_label=name, color=PALETTE[number % len(PALETTE)], line_width=2)
    figure.toolbar.logo = None
    return figure


def save(figure: Any, filename: str | os.PathLike[str], title: str, resources: Any = None) -> None:
    """Write a figure to an HTML file, which by default holds all that it needs to be shown.

    Parameters
    ----------
    figure
        One of Bokeh's.
    filename
        A path.
    title
        Of the page.
    resources
        Where BokehJS comes from: a ``bokeh.resources.Resources``, or ``"inline"`` or ``"cdn"``.
    """
    plotting = _plotting()
    plotting.save(figure, filename=os.fspath(filename), title=title, resources=resources_of(resources))


def resources_of(resources: Any = None) -> Any:
    """Return Bokeh's resources by their mode, as they are, or those that are written into the file.

    Examples
    --------
    >>> resources_of().mode, resources_of("cdn").mode
    ('inline', 'cdn')
    """
    import bokeh.resources

    named: Any = bokeh.resources.Resources
    if resources is None or isinstance(resources, str):
        return named(mode=resources or "inline")
    return resources
