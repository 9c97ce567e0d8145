"""Figures: each plot of the catalogue as Bokeh draws it, without a server."""

from __future__ import annotations

from typing import Any

import dask
import pytest
from bokeh.core.validation import check_integrity
from bokeh.document import Document
from observe_help import recorded, some_facts

from windrow.observe.plots.catalogue import PLOTS
from windrow.observe.plots.draw import Drawing, theme
from windrow.observe.plots.plot import Boxes, Plot, Rows


@pytest.mark.parametrize("plot", PLOTS.values(), ids=lambda plot: plot.name)
def test_each_plot_is_drawn_whole(plot: Plot) -> None:
    document = Document()
    document.theme = theme("dark")
    drawing = Drawing(plot, "dark")
    drawing.show(plot.frames(some_facts()))
    for root in drawing.roots:
        document.add_root(root)
    issues = check_integrity(set(document.models))
    assert not issues.error
    assert any(len(column) for source in drawing.sources.values() for column in source.data.values())
    if isinstance(plot.kind, Boxes):
        hatched = any(set(source.data.get("hatch", ())) - {" "} for source in drawing.sources.values())
        assert plot.kind.hatched or not hatched
        assert not (plot.kind.hatched and plot.kind.stream), "each hatched box costs a picture at each change"
    if not isinstance(plot.kind, Rows):
        assert drawing.figure.background_fill_alpha == 0.0
        assert [type(tool).__name__ for tool in drawing.figure.toolbar.tools].count("HoverTool") == 1


@pytest.mark.parametrize("name", ["workers-memory", "workers-memory-timeseries"])
def test_an_axis_of_bytes_has_no_parts_of_bytes(name: str) -> None:
    drawing = Drawing(PLOTS[name])
    figure = drawing.figure
    axis, range_ = (figure.below[0], figure.x_range) if name == "workers-memory" else (figure.left[0], figure.y_range)
    assert axis.ticker.min_interval == 1
    assert range_.default_span == 2048


def test_what_is_as_it_was_is_not_set_again() -> None:
    drawing, set_again = Drawing(PLOTS["progress"]), []
    frames = PLOTS["progress"].frames(some_facts())
    drawing.show(frames)
    for source in drawing.sources.values():
        source.on_change("data", lambda attr, old, new: set_again.append(attr))
    drawing.show(PLOTS["progress"].frames(some_facts()))
    assert set_again == []
    drawing.show({**frames, "texts": {"x": [], "y": [], "text": []}})
    assert len(set_again) == 1


def test_a_stream_goes_on_and_begins_anew() -> None:
    def frames(*counts: int) -> Any:
        return PLOTS["task-stream"].frames({**some_facts(), "stream": (recorded(*counts), 0)})

    drawing = Drawing(PLOTS["task-stream"])
    for counts in [(4,), (4, 3), (4, 3, 2)]:
        drawing.show(frames(*counts))
    links = drawing.sources["boxes"].data["link"]
    assert [link.removeprefix("info/task/inc-") for link in links] == [f"{number}.html" for number in range(9)]
    drawing.show(frames(2))
    assert len(drawing.sources["boxes"].data["link"]) == 2


def test_so_many_boxes_of_the_stream_are_shown_as_is_configured() -> None:
    lengths = {f"distributed.scheduler.dashboard.{page}.task-stream-length": 25_000 for page in ("status", "tasks")}
    with dask.config.set(lengths):
        drawings = [Drawing(PLOTS[name]) for name in ("task-stream", "task-stream-long")]
        for rounds in range(1, 15):
            stream = {"stream": (recorded(*[2_500] * rounds), 0)}
            for drawing in drawings:
                drawing.show(PLOTS[drawing.plot.name].frames({**some_facts(), **stream}))
    for drawing in drawings:
        held = [source.data["link"] for source in drawing.sources.values()]
        assert len(held) == 3, "so that a browser need not go through all of them each second"
        assert 25_000 * 2 / 3 <= sum(map(len, held)) <= 25_000 + 2
        assert len(drawing.figure.renderers) == 3


def test_a_click_on_a_flame_looks_closer() -> None:
    drawing = Drawing(PLOTS["profile"])
    drawing.show(PLOTS["profile"].frames(some_facts()))
    drawing.sources["boxes"].selected.indices = [2]
    assert (drawing.figure.x_range.start, drawing.figure.x_range.end) == (0.0, 0.6)


def test_a_range_that_was_chosen_is_told() -> None:
    drawing, told = Drawing(PLOTS["profile-times"]), []
    drawing.on_range = lambda start, stop: told.append((start, stop))
    from bokeh.events import Reset, SelectionGeometry

    drawing.figure._trigger_event(SelectionGeometry(drawing.figure, geometry={"x0": 1.0, "x1": 2.0}))
    drawing.figure._trigger_event(Reset(drawing.figure))
    assert told == [(1.0, 2.0), (None, None)]
