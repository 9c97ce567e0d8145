"""Plots of profiles: what functions tasks spend their time in, as a flame graph, and how many samples there are when.

What lives here: `Profiled`, the answers of all workers together, and pure functions from it to columns. What this file
must never know: how stacks are sampled, and how boxes are drawn.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from windrow import sampling
from windrow.drawing import colours, flame
from windrow.observe.plots.plot import Columns, Facts, Frames, add_box, boxes

__all__ = ["Profiled", "flame_graph", "over_time", "profiled", "server_flame_graph"]

BINS = 240
KINDS_MAX = 12
"""So many kinds of tasks have a colour of their own over time."""


class Profiled(Struct, frozen=True):
    """A profile of several parties."""

    tree: sampling.Tree
    times: list[tuple[float, dict[str, int]]]
    """Seconds since the epoch, and samples by kind of task."""
    interval_s: float


def profiled(answers: Iterable[Any]) -> Profiled:
    """Return what workers have answered, together: of each [tree, [[time, counts]], interval].

    Examples
    --------
    >>> one = [[2, [["f", "a.py", 1, [2, []]]]], [[10.0, {"inc": 2}]], 0.01]
    >>> both = profiled([one, one])
    >>> both.tree, both.times
    ([4, {('f', 'a.py', 1): [4, {}]}], [(10.0, {'inc': 2}), (10.0, {'inc': 2})])
    """
    total, times, interval_s = sampling.new_tree(), [], 0.01
    for plain, counts, interval in answers:
        sampling.merge(total, sampling.from_plain(plain))
        times += [(float(time), dict(found)) for time, found in counts]
        interval_s = interval
    return Profiled(total, times, interval_s)


def flame_graph(facts: Facts) -> Frames:
    """Return a box for each function, below those that call it."""
    return _flame(facts["profile"])


def server_flame_graph(facts: Facts) -> Frames:
    """Return the same of workers' event loops."""
    return _flame(facts["profile-server"])


def _flame(found: Profiled) -> Frames:
    columns: Columns = flame.boxes_of(sampling.described(found.tree), found.interval_s)
    count = len(columns["left"])
    columns["hatch"], columns["link"] = [" "] * count, [""] * count
    wide = [place for place in range(count) if columns["right"][place] - columns["left"][place] > 0.04]
    texts: Columns = {
        "x": [columns["left"][place] + 0.003 for place in wide],
        "y": [(columns["bottom"][place] + columns["top"][place]) / 2 for place in wide],
        "text": [_fitting(columns, place) for place in wide],
    }
    return {"boxes": columns, "ticks": {"at": [], "text": []}, "texts": texts}


def _fitting(columns: Columns, place: int) -> str:
    text: str = columns["label"][place]
    room = int((columns["right"][place] - columns["left"][place]) * 140)
    return text if len(text) <= room else f"{text[: room - 1]}…"


def over_time(facts: Facts) -> Frames:
    """Return how much time tasks of each kind took, by the time, one on the other."""
    found: Profiled = facts["profile"]
    columns: Columns = boxes()
    if not found.times:
        return {"boxes": columns, "ticks": {"at": [], "text": []}}
    begin, end = min(time for time, _ in found.times), max(time for time, _ in found.times)
    width = max(1.0, (end - begin) / BINS)
    bins: dict[int, dict[str, int]] = {}
    totals: dict[str, int] = {}
    for time, counts in found.times:
        here = bins.setdefault(int((time - begin) / width), {})
        for kind, count in counts.items():
            here[kind] = here.get(kind, 0) + count
            totals[kind] = totals.get(kind, 0) + count
    named = set(sorted(totals, key=lambda kind: -totals[kind])[:KINDS_MAX])
    top = 0.0
    for place, here in sorted(bins.items()):
        x, at = ((begin + place * width) * 1e3, (begin + (place + 1) * width) * 1e3), 0.0
        for kind, count in sorted(here.items(), key=lambda item: (item[0] not in named, item[0])):
            busy = count * found.interval_s / width
            color = colours.of_prefix(kind) if kind in named else "#8b96a5"
            add_box(columns, x, (at, at + busy), color, kind, f"{busy:.2f} threads on average")
            at += busy
        top = max(top, at)
    marks = [0.0, top / 2, top] if top else []
    return {"boxes": columns, "ticks": {"at": marks, "text": [f"{mark:.1f}" for mark in marks]}}
