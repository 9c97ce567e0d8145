"""Figures of plots, in Bokeh: the one module that knows how a kind of plot is drawn.

What lives here: `Drawing`, a plot in one document, and a function a kind. What this file must never know: any single
plot, and where columns come from. Importing it takes most of a second: whoever does, does it in a thread.

No script is ever sent as text (``CustomJS`` and the like), so that pages need no ``unsafe-eval``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import bokeh.models
from bokeh.themes import Theme

from windrow import config
from windrow.observe.plots.plot import BOXES, Boxes, Columns, Frames, Lines, Network, Plot
from windrow.observe.plots.slots import Slots

__all__ = ["Drawing", "theme"]

models: Any = bokeh.models
"""Its own types say less than what it takes."""

INKS = {
    "light": {"ink": "#1c2128", "soft": "#5b6470", "line": "#dde1e6"},
    "dark": {"ink": "#e4e7eb", "soft": "#9aa4b1", "line": "#31373f"},
}

FONT = "system-ui, sans-serif"

FORMATS = {
    "bytes": "0 ib",
    "bytes/s": "0 ib",
    "count": "0,0",
    "percent": "0%",
    "seconds": "0.[000]",
    "share": "0%",
    "": "0.[00]",
}
"""Of axes, by their unit, in numbro's words."""

STEPS = {"count": 1, "percent": 0.01}
"""How far apart ticks are at least, where their labels have no more digits."""

INSIDE = "#10151c"
"""Texts in boxes, which have the same colours in light and dark."""
INSIDE_ROWS = 26
"""So many rows are in view where texts are in them; further ones are found by moving the figure."""

BYTES = ("bytes", "bytes/s")

HOVER = '<div class="windrow-hover"><b>@label</b><br>@detail</div>'

LINK = "leads"
"""A tag of sources whose rows lead to a page: the script of the page listens to what is selected in them."""


def theme(scheme: str) -> Theme:
    """Return how figures look in light or dark."""
    inks = INKS["dark" if scheme == "dark" else "light"]
    font = {"text_font": FONT, "text_font_size": "12px"}
    axis = {
        "axis_line_color": None,
        "major_tick_line_color": None,
        "minor_tick_line_color": None,
        "major_label_text_color": inks["soft"],
        "axis_label_text_color": inks["soft"],
        "axis_label_text_font_style": "normal",
        "axis_label_standoff": 4,
        **{f"{part}_{name}": value for part in ("major_label", "axis_label") for name, value in font.items()},
    }
    return Theme(
        json={
            "attrs": {
                "Plot": {
                    "background_fill_alpha": 0.0,
                    "border_fill_alpha": 0.0,
                    "outline_line_color": None,
                    "min_border": 4,
                },
                "Grid": {"grid_line_color": inks["line"]},
                "Axis": axis,
            }
        }
    )


class Drawing:
    """A plot in one document.

    Parameters
    ----------
    plot
        Which.
    scheme
        "light" or "dark".

    Attributes
    ----------
    roots : list
        The models that go into the document: the figure first, if there is one.
    """

    def __init__(self, plot: Plot, scheme: str = "light") -> None:
        self.plot = plot
        self.sources: dict[str, Any] = {}
        self._shown: Frames = {}
        self._inks = INKS["dark" if scheme == "dark" else "light"]
        kind = plot.kind
        self.figure: Any = None
        self.on_range: Callable[[float | None, float | None], None] = lambda start, stop: None
        """Called with a range along the horizontal axis that was chosen; with None where that was undone."""
        self._slots: Slots | None = None
        """Where the boxes of a stream go."""
        self._named: Any = None
        """The axis with names at it."""
        if isinstance(kind, Boxes):
            self.figure = self._boxes(kind)
        elif isinstance(kind, Lines):
            self.figure = self._lines(kind)
        elif isinstance(kind, Network):
            self.figure = self._network()
        else:
            self._source("rows", {name: [] for name, _, _ in kind.columns} | {"link": []})
        self.roots = [self.figure] if self.figure is not None else list(self.sources.values())

    def show(self, frames: Frames) -> None:
        """Have these columns shown; what is as it was is not sent again."""
        for name, columns in frames.items():
            if columns == self._shown.get(name):
                continue
            if name == "stream":
                self._follow(columns)
            elif name == "ticks":
                self._tick(columns)
            else:
                self.sources[name].data = columns
        self._shown = frames

    def _follow(self, columns: Columns) -> None:
        """Send the boxes that are new, and of older ones as many as a browser takes in at a time."""
        if self._slots is None or not columns["first"]:
            return
        chunks = list(zip(columns["first"], columns["boxes"], strict=True))
        end = chunks[-1][0] + len(chunks[-1][1]["left"])
        for put in self._slots.put(chunks[0][0], end):
            rows: Columns = {name: [] for name in BOXES}
            for first, found in chunks:
                start, stop = max(0, put.start - first), min(len(found["left"]), put.stop - first)
                if start < stop:
                    for name in BOXES:
                        rows[name] += found[name][start:stop]
            source = self.sources[_slot(put.slot)]
            if put.anew:
                source.data = rows
            else:
                source.stream(rows, self._slots.limit if self._slots.count == 1 else None)

    # ------------------------------------------------------------ parts

    def _source(self, name: str, columns: Columns, leads: bool = False) -> Any:
        tags = [LINK] if leads else []
        made = models.ColumnDataSource(data=columns, name=f"{self.plot.name}:{name}", tags=tags)
        self.sources[name] = made
        return made

    def _figure(self, x_range: Any, y_range: Any, tools: Sequence[Any] = ()) -> Any:
        # Of the parts themselves, and not by `bokeh.plotting.figure`, which makes twice as many models: they are what
        # opening a page costs.
        made = models.Plot(
            x_range=x_range,
            y_range=y_range,
            sizing_mode="stretch_both",
            toolbar_location="above" if tools else None,
            name=self.plot.name,
        )
        made.toolbar.logo = None
        made.toolbar.autohide = True
        if tools:
            made.add_tools(*tools)
            made.toolbar.active_scroll = next(tool for tool in tools if isinstance(tool, models.WheelZoomTool))
        return made

    def _boxes(self, kind: Boxes) -> Any:
        x_range: Any = models.DataRange1d(range_padding=0.02)
        if kind.follow_s:
            x_range = models.DataRange1d(follow="end", follow_interval=kind.follow_s * 1e3, range_padding=0)
        elif kind.x == "share":
            x_range = models.Range1d(start=0, end=1.18 if kind.texts == "beside" else 1)
        elif kind.x in ("bytes", "count", "percent", "seconds"):
            x_range = models.DataRange1d(start=0, range_padding=0.03, default_span=_span(kind.x))
        y_range: Any = models.DataRange1d(range_padding=0.04, flipped=kind.flipped)
        if kind.texts == "inside":
            y_range = models.Range1d(start=INSIDE_ROWS, end=0)
        made = self._figure(x_range, y_range, _movers(kind.tools))
        if kind.stream:
            self._slots = Slots(int(str(config.get(kind.stream))))
        names = [_slot(number) for number in range(1 if self._slots is None else self._slots.count)]
        sources = [self._source(name, {column: [] for column in BOXES}, leads=True) for name in names]
        quad = models.Quad(
            left="left",
            right="right",
            bottom="bottom",
            top="top",
            fill_color="color",
            fill_alpha="alpha",
            line_color=None,
            hatch_pattern="hatch" if kind.hatched else None,
            hatch_color=self._inks["soft"],
            hatch_alpha=0.5,
            hatch_scale=6,
            hatch_weight=0.7,
        )
        self._add_pointed(made, sources, quad)
        if kind.texts:
            texts = self._source("texts", {"x": [], "y": [], "text": []})
            font = {"text_font": {"value": FONT}, "text_font_size": "12px", "text_baseline": "middle"}
            color = INSIDE if kind.texts == "inside" else self._inks["soft"]
            made.add_glyph(texts, models.Text(x="x", y="y", text="text", text_color=color, **font))
        self._listen(made, sources[0], kind.gesture)
        if kind.x:
            made.add_layout(self._axis(kind.x, kind.x_label, dimension=0, of=made), "below")
        axis = models.LinearAxis(axis_label=kind.y_label or None, ticker=models.FixedTicker(ticks=[]))
        made.add_layout(axis, "left")
        self._named = axis
        return made

    def _listen(self, made: Any, source: Any, gesture: str) -> None:
        """Do what was asked for with the pointer."""
        if gesture == "select":
            tool = models.BoxSelectTool(dimensions="width")
            made.add_tools(tool)
            made.toolbar.active_drag = tool
            made.on_event("selectiongeometry", lambda event: self.on_range(event.geometry["x0"], event.geometry["x1"]))
            made.on_event("reset", lambda event: self.on_range(None, None))
        elif gesture == "zoom":

            def look_closer(_attribute: str, _before: Any, chosen: list[int]) -> None:
                if chosen:
                    made.x_range.start = source.data["left"][chosen[0]]
                    made.x_range.end = source.data["right"][chosen[0]]

            source.selected.on_change("indices", look_closer)

    def _lines(self, kind: Lines) -> Any:
        y_range = models.DataRange1d(start=0, range_padding=0.1, default_span=_span(kind.unit))
        made = self._figure(models.DataRange1d(), y_range)
        names = [column for column, _, _ in kind.series]
        source = self._source("lines", {name: [] for name in ("time", *names)})
        drawn = [
            made.add_glyph(source, models.Line(x="time", y=column, line_color=color, line_width=2))
            for column, _, color in kind.series
        ]
        form = "0.0 ib" if kind.unit in BYTES else FORMATS[kind.unit]
        tips = [("time", "@time{%H:%M:%S}"), *((words, f"@{column}{{{form}}}") for column, words, _ in kind.series)]
        made.add_tools(
            models.HoverTool(renderers=drawn[:1], tooltips=tips, formatters={"@time": "datetime"}, mode="vline")
        )
        made.add_layout(self._axis(kind.unit, kind.label, dimension=1, of=made), "left")
        made.add_layout(self._axis("time", "", dimension=None, of=made), "below")
        return made

    def _network(self) -> Any:
        ranges = (models.DataRange1d(range_padding=0.15), models.DataRange1d(range_padding=0.25))
        made = self._figure(*ranges, _movers("xy"))
        edges = self._source("edges", {"xs": [], "ys": []})
        made.add_glyph(edges, models.MultiLine(xs="xs", ys="ys", line_color=self._inks["soft"], line_alpha=0.35))
        names = ("x", "y", "color", "shape", "size", "label", "detail", "link")
        nodes = self._source("nodes", {name: [] for name in names}, leads=True)
        self._add_pointed(
            made,
            [nodes],
            models.Scatter(x="x", y="y", fill_color="color", marker="shape", size="size", line_color=None),
        )
        texts = self._source("texts", {"x": [], "y": [], "text": []})
        at = {"x": "x", "y": "y", "y_offset": -14, "text_baseline": "bottom", "text_align": "center"}
        font = {"text_font": {"value": FONT}, "text_font_size": "12px", "text_color": self._inks["ink"]}
        made.add_glyph(texts, models.Text(text="text", **at, **font))
        return made

    def _add_pointed(self, made: Any, sources: Sequence[Any], glyph: Any) -> None:
        """Add a glyph that is told of where one points, and that leads on where one clicks."""
        drawn = [made.add_glyph(source, glyph) for source in sources]
        hover = models.HoverTool(renderers=drawn, tooltips=HOVER, point_policy="follow_mouse")
        made.add_tools(hover, models.TapTool(renderers=drawn))

    def _axis(self, unit: str, label: str, dimension: int | None, of: Any) -> Any:
        """Return an axis of this unit; with lines across the figure, if it is told in which dimension."""
        if unit == "time":
            axis = models.DatetimeAxis(formatter=models.DatetimeTickFormatter(**CLOCK))
            axis.major_label_policy = models.NoOverlap(min_distance=8)
        else:
            axis = models.LinearAxis(formatter=models.NumeralTickFormatter(format=FORMATS[unit]))
        if unit in BYTES:
            powers = [2.0**power for power in range(10)]
            axis.ticker = models.AdaptiveTicker(base=1024, mantissas=powers, min_interval=1, num_minor_ticks=0)
        elif unit in STEPS:
            axis.ticker = models.AdaptiveTicker(min_interval=STEPS[unit], mantissas=[1, 2, 5], num_minor_ticks=0)
        elif unit == "share":
            axis.ticker = models.FixedTicker(ticks=[0, 0.25, 0.5, 0.75, 1])
        if label:
            axis.axis_label = label
        if dimension is not None:
            of.add_layout(models.Grid(axis=axis, dimension=dimension))
        return axis

    def _tick(self, columns: Columns) -> None:
        self._named.major_label_overrides = dict(zip(columns["at"], columns["text"], strict=True))
        self._named.ticker.ticks = columns["at"]


CLOCK = {
    "microseconds": "%S.%3N s",
    "milliseconds": "%S.%3N s",
    **dict.fromkeys(("seconds", "minsec", "minutes", "hourmin", "hours"), "%H:%M:%S"),
}
"""How times stand at an axis."""


def _slot(number: int) -> str:
    """Return what a source of a stream is called."""
    return f"boxes-{number}" if number else "boxes"


def _span(unit: str) -> float:
    """Return the width of a range that holds nothing but 0, twice what is in view: a part of a byte is no size."""
    return 2048.0 if unit in BYTES else 2.0


def _movers(ways: str) -> list[Any]:
    """Return the tools that move a figure, in "x" or both ("xy"); none for ""."""
    if not ways:
        return []
    dimensions = {"x": "width", "xy": "both"}[ways]
    wheel = models.WheelZoomTool(dimensions=dimensions)
    pan = models.PanTool(dimensions=dimensions)
    return [pan, wheel, models.BoxZoomTool(dimensions=dimensions), models.ResetTool()]
