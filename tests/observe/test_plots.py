"""Plots: facts in, columns out; of every plot in the catalogue, and of the largest clusters."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import isnan
from typing import Any

import pytest
from msgspec import structs
from observe_help import recorded, rows, snapshot, some_facts

from windrow.drawing import colours
from windrow.observe.feed import ASKED
from windrow.observe.plots import workers
from windrow.observe.plots.catalogue import PAGES, PLOTS, individual_plots, page_of
from windrow.observe.plots.plot import BOXES, Boxes, Lines, Network, Plot, Rows
from windrow.observe.plots.stream import Stream
from windrow.observe.plots.times import moment


def names_of(plot: Plot) -> set[str]:
    """The frames that a plot of this kind is drawn from, beside those that it may leave out."""
    if isinstance(plot.kind, Boxes) and plot.kind.stream:
        return {"stream", "ticks"}
    return {Boxes: {"boxes", "ticks"}, Lines: {"lines"}, Network: {"nodes", "edges"}, Rows: {"rows"}}[type(plot.kind)]


@pytest.mark.parametrize("plot", PLOTS.values(), ids=lambda plot: plot.name)
@pytest.mark.parametrize("facts", [some_facts(), some_facts(snapshot(workers=0, prefixes={}))], ids=["some", "none"])
def test_every_plot_makes_whole_columns_of_the_facts_that_it_names(plot: Plot, facts: dict[str, Any]) -> None:
    assert set(plot.needs) <= set(ASKED)
    frames = plot.frames({name: facts[name] for name in plot.needs})
    assert names_of(plot) <= set(frames)
    for name, columns in frames.items():
        assert len({len(column) for column in columns.values()}) == 1, (name, {n: len(c) for n, c in columns.items()})
    if "boxes" in frames:
        assert set(frames["boxes"]) == set(BOXES)
    for chunk in frames.get("stream", {"boxes": []})["boxes"]:
        assert set(chunk) == set(BOXES)
        assert len({len(column) for column in chunk.values()}) == 1
    if isinstance(plot.kind, Rows):
        assert set(frames["rows"]) == {column for column, _, _ in plot.kind.columns} | {"link"}
    if isinstance(plot.kind, Lines):
        assert {column for column, _, _ in plot.kind.series} <= set(frames["lines"])


def test_every_plot_says_what_it_is_and_has_a_path() -> None:
    assert individual_plots()["Individual Progress"] == "/individual-progress"
    for plot in PLOTS.values():
        assert plot.title
        assert plot.note.endswith(".")
        page = page_of(f"individual-{plot.name}")
        assert page is not None
        assert page.plots == [plot.name]
    for page in PAGES.values():
        assert set(page.plots) <= set(PLOTS)
        assert len(set(page.plots)) == len(page.plots)
    assert page_of("individual-") is None


def test_a_bar_a_worker_with_its_memory_against_its_limit() -> None:
    frames = workers.memory({"snapshot": snapshot(workers=3)})
    boxes = frames["boxes"]
    free = [place for place, alpha in enumerate(boxes["alpha"]) if alpha == 0.18]
    assert [boxes["right"][place] for place in free] == [2 * 2**30] * 3
    assert frames["ticks"] == {"at": [0, -1, -2], "text": ["0", "1", "2"]}
    assert boxes["detail"][0] == "256.0 MiB of 2.0 GiB: 128.0 MiB results"
    assert boxes["link"][0] == "info/worker/tcp%3A%2F%2F127.0.0.1%3A4000.html"


@pytest.mark.parametrize("make", [workers.memory, workers.processing, workers.cpu, workers.occupancy])
def test_above_a_hundred_workers_histograms_count_them_all(make: Callable[[Any], Any]) -> None:
    boxes = make({"snapshot": snapshot(workers=250)})["boxes"]
    assert len(boxes["top"]) <= workers.BINS
    assert sum(boxes["top"]) == 250
    assert len(make({"snapshot": snapshot(workers=100)})["boxes"]["top"]) >= 100


def test_a_million_tasks_on_five_hundred_workers_cost_milliseconds() -> None:
    large = snapshot(workers=500, prefixes={f"task-{n}": {"memory": 900, "queued": 100} for n in range(1_000)})
    facts = some_facts(large)
    for plot in PLOTS.values():
        start = time.process_time()
        frames = plot.frames(facts)
        spent = time.process_time() - start
        assert spent < 0.25, plot.name
        assert max(len(column) for columns in frames.values() for column in columns.values()) <= 20_000, plot.name


def test_a_worker_that_has_gone_keeps_its_name_in_the_stream() -> None:
    facts = some_facts()
    facts["stream"][0].call(facts["snapshot"].identity["workers"])
    lanes = PLOTS["task-stream"].frames(facts)["ticks"]["text"]
    left = dict(facts["snapshot"].identity, workers={})
    facts["snapshot"] = structs.replace(facts["snapshot"], identity=left)
    after = PLOTS["task-stream"].frames(facts)["ticks"]["text"]
    assert after == [lane.replace(" · ", ", gone · ") for lane in lanes]


def test_a_prefix_has_the_same_colour_everywhere() -> None:
    facts = {"snapshot": snapshot(prefixes={"inc": {"memory": 3}, "sum": {"memory": 4}})}
    for name in ("progress", "memory-by-key"):
        boxes = PLOTS[name].frames(facts)["boxes"]
        for label, color in zip(boxes["label"], boxes["color"], strict=True):
            assert color == colours.of_prefix(label.partition(":")[0])


def test_progress_bars_are_whole_and_say_how_many_are_done() -> None:
    frames = PLOTS["progress"].frames({"snapshot": snapshot()})
    assert frames["texts"]["text"] == ["30 / 40"]
    boxes = frames["boxes"]
    assert (boxes["left"][0], boxes["right"][-1]) == (0.0, pytest.approx(1.0))
    assert boxes["label"] == ["inc: 30 memory", "inc: 2 processing", "inc: 8 queued"]
    assert boxes["hatch"][-1] == "/"


def test_the_schedulers_loop_is_late_by_what_its_ticks_take_longer() -> None:
    lines = PLOTS["contention"].frames(some_facts())["lines"]
    assert lines["late"] == [pytest.approx(1 / 8 - 0.1)]
    assert lines["longest"] == [0.25]
    assert lines["gc"] == [pytest.approx(0.25)]
    assert lines["recalled"] == [0.0]


def test_the_network_of_a_worker_has_a_bar_for_each_way() -> None:
    found = snapshot(1)
    [address] = found.identity["workers"]
    found.received[address], found.sent[address] = 2048.0, 1024.0
    bars = PLOTS["workers-network"].frames({"snapshot": found})["boxes"]
    assert bars["right"] == [2048.0, 1024.0]
    assert bars["detail"][0] == "2.0 KiB received a second, 1.0 KiB sent"


def test_counts_that_are_old_say_so() -> None:
    found = snapshot()
    found.overview["now"] = found.overview["counted"] + 12.0
    texts = PLOTS["progress"].frames({"snapshot": found})["texts"]
    assert texts["text"] == ["30 / 40", "as they were 12 s ago"]


def test_the_stream_keeps_the_last_rows_and_sums_of_all() -> None:
    stream = Stream(rows_kept=6)
    for first in range(0, 40, 4):
        stream.add(rows(first, 4))
    assert [first for first, _ in stream.chunks] == [32, 36]
    assert stream.next == 40
    assert stream.sums == {"inc": (30, 15.0), "(transfer)": (10, 5.0)}
    assert stream.transfers == {("tcp://127.0.0.1:4001", "tcp://127.0.0.1:4000"): (10, 10 * 1024, 5.0)}
    stream.add(rows(0, 3))  # of another scheduler, or one that has begun anew
    assert [first for first, _ in stream.chunks] == [0]
    assert stream.sums["inc"] == (2, 1.0)


def test_boxes_of_the_stream_lead_to_tasks_and_say_what_raised() -> None:
    [(_, found)] = recorded(3).chunks
    assert found["link"][2] == "info/task/inc-2.html"
    assert found["color"][1] == colours.ERRED
    assert found["color"][2] == colours.of_prefix("inc")
    ticks = PLOTS["task-stream"].frames(some_facts())["ticks"]
    assert ticks == {"at": [0.5, 1.5], "text": ["0 · 1", "0 · 2"]}


@pytest.mark.parametrize("plot", ["graph", "groups"])
def test_a_graph_of_nothing_says_so(plot: str) -> None:
    none = {"names": [], "states": [], "keys": [], "prefixes": [], "ids": [], "edges": []}
    frames = PLOTS[plot].frames({"graph": none, "groups": {"groups": [], "edges": []}})
    assert frames["texts"]["text"] == ["There is nothing yet."]
    assert "There is nothing yet." not in PLOTS[plot].frames(some_facts())["texts"]["text"]


@pytest.mark.parametrize("plot", ["workers-memory-timeseries", "scheduler-system"])
def test_a_line_over_time_is_broken_where_nobody_has_looked(plot: str) -> None:
    times = [1000.0, 1001.0, 1061.0, 1062.0]
    history = [moment(snapshot(), time) for time in times]
    system = [{"time": time, "cpu": 1.0, "memory": 2, "files": 3, "threads": 4} for time in times]
    lines = PLOTS[plot].frames({"history": history, "system": system})["lines"]
    for column in lines.values():
        assert [isnan(value) for value in column] == [False, False, True, False, False]
    assert lines["time"][3] == 1061e3


def test_a_profile_over_time_is_in_threads() -> None:
    boxes = PLOTS["profile-times"].frames(some_facts())["boxes"]
    assert boxes["label"] == ["inc", "sum"]
    assert boxes["top"] == pytest.approx([0.06, 0.1])
    flame = PLOTS["profile"].frames(some_facts())
    assert flame["boxes"]["label"] == ["all", "f", "g"]
    assert flame["boxes"]["right"] == pytest.approx([1.0, 1.0, 0.6])
