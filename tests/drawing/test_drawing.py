"""Rows and profiles become boxes, and boxes figures, pictures and a page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from windrow import sampling
from windrow.drawing import colours, figures, flame, report, stream, svg
from windrow.drawing.boxes import add, boxes, in_seconds
from windrow.wire.activity import COMPUTE, DESERIALIZE, DISK_READ, DISK_WRITE, ERRED, TRANSFER


def rows(*given: tuple[Any, ...]) -> dict[str, Any]:
    """Rows of (key, function, word, worker, kind, thread, start, seconds, nbytes)."""
    names = ("keys", "functions", "words", "workers", "kinds", "threads", "starts", "seconds", "nbytes")
    columns = [[row[place] for row in given] for place in range(len(names))]
    return {"addresses": ["tcp://a", "tcp://b"], **dict(zip(names, columns, strict=True))}


RUN = rows(
    ("inc-1", "inc", "int", 1, COMPUTE, 11, 10.0, 0.5, 28),
    (["x-1f2e", 0], "apply", "tcp://a", 0, TRANSFER, 0, 10.0, 0.25, 1024),
    (["x-1f2e", 0], "apply", "", 0, DISK_READ, 12, 10.25, 0.05, 2048),
    (["x-1f2e", 0], "apply", "", 0, DESERIALIZE, 12, 10.3, 0.1, 0),
    (["x-1f2e", 0], "apply", "ValueError", 0, ERRED, 12, 10.4, 0.1, 0),
)


def test_a_box_is_a_row_in_the_lane_of_its_thread() -> None:
    lanes = stream.Lanes()
    found = stream.boxes_of(RUN, lanes)
    assert found["left"] == [10000.0, 10000.0, 10250.0, 10300.0, 10400.0]
    assert found["right"][:2] == [10500.0, 10250.0]
    assert [bottom - stream.GAP for bottom in found["bottom"]] == [0, 1, 2, 2, 2]
    assert found["label"] == ["inc", "transfer: x", "disk-read: x", "deserialize: x", "x"]
    assert found["color"] == [
        colours.of_prefix("inc"),
        colours.ACTIVITIES["transfer"],
        colours.ACTIVITIES["disk"],
        colours.ACTIVITIES["deserialize"],
        "#000000",
    ]
    assert found["detail"] == [
        "inc-1 · 500 ms · int, 28 B · tcp://b",
        "('x-1f2e', 0) · 250 ms · 1.0 KiB from tcp://a · tcp://a",
        "('x-1f2e', 0) · 50 ms · disk-read 2.0 KiB · tcp://a",
        "('x-1f2e', 0) · 100 ms · deserialize · tcp://a",
        "('x-1f2e', 0) · 100 ms · raised ValueError · tcp://a",
    ]
    assert lanes.names() == ["tcp://b thread 1", "tcp://a loop", "tcp://a thread 1"]
    assert stream.colour(DISK_WRITE, "x") == stream.colour(DISK_READ, "y")


def test_threads_that_are_known_from_the_start_are_together() -> None:
    assert stream.Lanes(RUN).names() == ["tcp://a thread 1", "tcp://a loop", "tcp://b thread 1"]


def test_sums_and_transfers() -> None:
    assert list(stream.sums(RUN)) == ["inc", "(transfer)", "(deserialize)", "x", "(disk-read)"]
    assert stream.sums(RUN)["inc"] == (1, 0.5)
    assert stream.transfers(RUN) == {("tcp://a", "tcp://a"): (1, 1024, 0.25)}


def profile() -> dict[str, Any]:
    tree = sampling.new_tree()
    for name, count in (("f", 700), ("g", 299), ("rare", 1)):
        for _ in range(count):
            sampling.add(tree, [(name, "a.py", 1), ("in<" + name, "b.py", 1)])
    return sampling.described(tree)


def test_a_flame_is_as_wide_as_its_time_and_leaves_the_smallest_out() -> None:
    found = flame.boxes_of(profile())
    assert found["label"] == ["all", "f", "g", "in<f", "in<g"]
    assert found["left"] == [0.0, 0.0, 0.7, 0.0, 0.7]
    assert found["right"] == [1.0, 0.7, pytest.approx(0.999), 0.7, pytest.approx(0.999)]
    assert found["bottom"] == [0, 1, 1, 2, 2]
    assert found["color"][3] == found["color"][4] == colours.of_prefix("b.py")
    assert found["detail"][1] == "70.0%, about 7 s · a.py:1"
    assert flame.boxes_of(sampling.described(sampling.new_tree()))["left"] == []


@pytest.mark.parametrize(("seconds", "text"), [(2e-7, "0.2 µs"), (0.0123, "12.3 ms"), (123.4, "123.4 s")])
def test_times_are_told_in_fitting_units(seconds: float, text: str) -> None:
    assert in_seconds(seconds) == text


def test_pictures_draw_the_widest_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svg, "BOXES_MAX", 2)
    found = boxes()
    for number, width in enumerate((1, 5, 3)):
        add(found, (0, width), (0, 1), "#4477aa", f"n{number}", "d")
    assert re.findall(r"<title>(n\d)", svg.stream(found, ["w"])) == ["n1", "n2"]
    assert svg.stream(boxes(), []).count("<rect") == 0


def test_pictures_of_lines_and_names_in_flames() -> None:
    assert 'points="0.0,200.0 1000.0,20.0"' in svg.lines({"w": ([5.0, 7.0], [0.0, 4.0])}, "bytes")
    assert "in&lt;f" in svg.flame(flame.boxes_of(profile()))


def test_figures_have_what_boxes_have() -> None:
    lanes = stream.Lanes()
    figure = figures.stream(stream.boxes_of(RUN, lanes), lanes.names(), height=300)
    assert figure.height == 300
    assert figure.renderers[0].data_source.data["label"][0] == "inc"
    assert figure.yaxis[0].major_label_overrides[0.5] == "tcp://b thread 1"
    drawn = figures.flame(flame.boxes_of(profile()))
    assert drawn.renderers[1].data_source.data["text"] == ["all", "f", "g", "in<f", "in<g"]
    line = figures.lines({"w": ([1.0], [2.0])}, "T", "bytes").renderers[0].data_source.data
    assert (list(line["x"]), list(line["y"])) == ([1000.0], [2.0])


class Tags(HTMLParser):
    """What is open; wrong nesting fails."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "rect", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect",):
            assert self.open.pop() == tag


@pytest.mark.parametrize("there", [True, False], ids=["bokeh", "no bokeh"])
def test_a_page_is_well_formed_and_whatever_it_tells_is_only_text(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(figures, "is_there", lambda: there)
    evil = "</script><b>&"
    page = report.render(
        report.Report(
            when=evil,
            seconds=2.0,
            code=evil,
            rows=rows((evil, evil, evil, 0, COMPUTE, 1, 1.0, 1.0, 5)),
            lost=3,
            profiles={"Worker Profile (compute)": profile(), "Other": sampling.described(sampling.new_tree())},
            series={"Memory": ("bytes", {evil: ([1.0], [2.0])})},
            workers=[
                {"name": evil, "address": "tcp://a", "host": "h", "nthreads": 2, "memory": 2**30, "memory_limit": 0}
            ],
            facts=[(evil, evil)],
            logs=[("INFO", evil)],
        )
    )
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert "b" not in tags.seen
    assert ("script" in tags.seen) == there
    assert ("svg" in tags.seen) != there
    assert "<td>1 s: 25% of what 2 threads could do</td>" in page
    assert "3 older rows are not shown" in page
    assert "<td class=number>1.0 GiB</td><td class=number>no limit</td>" in page


def test_a_page_of_nothing() -> None:
    page = report.render(
        report.Report(when="", seconds=0.0, code="", rows=rows(), profiles={}, series={}, workers=[], facts=[], logs=[])
    )
    for words in ("No task ran", "Nothing was moved", "There was no worker", "There are none", "no source file"):
        assert words in page
    assert "<script" not in page
