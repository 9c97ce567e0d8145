"""Plots of what was recorded: the task stream, the time by what threads did, and who sent what to whom.

What lives here: `Stream`, what is kept of what was recorded, and pure functions from it to columns. What this file must
never know: who asks for rows, and how boxes are drawn.

Rows become boxes once, when they come; documents are sent those that they have not yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from windrow.drawing import colours
from windrow.drawing import stream as drawing
from windrow.drawing.boxes import in_bytes, in_seconds
from windrow.keys import from_plain, label
from windrow.observe.plots.plot import Columns, Facts, Frames, add_box, boxes
from windrow.observe.plots.workers import shortened

__all__ = ["STREAM_LEGEND", "Stream", "bandwidth", "task_stream", "time_per_action"]

ROWS_KEPT = 20_000
PAIRS_MAX = 2_500
"""So many pairs of workers are kept count of."""
MAP_MAX = 40
"""The map has so many workers on a side."""
LABELS_MAX = 32

STREAM_LEGEND = (
    ("prefix", "computing, in the colour of the prefix"),
    (colours.ACTIVITIES["transfer"], "transfer"),
    (colours.ACTIVITIES["disk"], "disk"),
    (colours.ACTIVITIES["deserialize"], "deserializing"),
    (colours.ERRED, "raised"),
)

SCALE = ("#d3dbe8", "#a9bedb", "#7fa1cd", "#5b86bb", "#3d6a9f", "#254b7a")
"""Less to more."""


class Stream:
    """What is kept of what was recorded while somebody has looked.

    Parameters
    ----------
    rows_kept
        So many rows are kept, about.

    Examples
    --------
    >>> stream = Stream()
    >>> stream.next, stream.chunks
    (None, deque([]))
    """

    def __init__(self, rows_kept: int = ROWS_KEPT) -> None:
        self.rows_kept = rows_kept
        self.next: int | None = None
        """The number of the row to ask for next; None at first."""
        self.chunks: deque[tuple[int, Columns]] = deque()
        """The number of the first row of each, and its boxes."""
        self.lanes = drawing.Lanes()
        self.named: dict[str, str] = {}
        """What all workers are or were called, by address."""
        self.sums: dict[str, tuple[int, float]] = {}
        self.transfers: dict[tuple[str, str], tuple[int, int, float]] = {}
        self.noted = 0
        self.left_out = 0

    def call(self, workers: Mapping[str, Mapping[str, Any]]) -> None:
        """Note what the present workers are called, for when they have gone."""
        self.named |= {address: str(worker["name"]) for address, worker in workers.items()}

    def add(self, rows: Mapping[str, Any]) -> None:
        """Take an answer of the scheduler's; where it has begun anew, so does this."""
        if self.next is not None and rows["end"] < self.next:
            self.__init__(self.rows_kept)  # type: ignore[misc]
        self.next = rows["next"]
        self.noted, self.left_out = rows["noted"], rows["left_out"]
        if not rows["keys"]:
            return
        found: Columns = drawing.boxes_of(rows, self.lanes)
        keys = [label(from_plain(key)) for key in rows["keys"]]
        found["link"] = [f"info/task/{quote(key, safe='')}.html" for key in keys]
        found["hatch"] = [" "] * len(keys)
        self.chunks.append((rows["since"], found))
        kept = sum(len(columns["left"]) for _, columns in self.chunks)
        while kept - len(self.chunks[0][1]["left"]) >= self.rows_kept:
            kept -= len(self.chunks.popleft()[1]["left"])
        for name, (count, seconds) in drawing.sums(rows).items():
            before = self.sums.get(name, (0, 0.0))
            self.sums[name] = (before[0] + count, before[1] + seconds)
        for pair, (count, nbytes, seconds) in drawing.transfers(rows).items():
            if pair in self.transfers or len(self.transfers) < PAIRS_MAX:
                known = self.transfers.get(pair, (0, 0, 0.0))
                self.transfers[pair] = (known[0] + count, known[1] + nbytes, known[2] + seconds)


def task_stream(facts: Facts) -> Frames:
    """Return all boxes that are kept, by chunks, and the lanes that they are in."""
    stream: Stream = facts["stream"][0]
    names = _names(facts)
    lanes = [_lane(text, names) for text in stream.lanes.names()]
    step = -(-len(lanes) // LABELS_MAX) or 1
    chosen = range(0, len(lanes), step)
    return {
        "stream": {"first": [first for first, _ in stream.chunks], "boxes": [found for _, found in stream.chunks]},
        "ticks": {"at": [at + 0.5 for at in chosen], "text": [lanes[at] for at in chosen]},
    }


def _names(facts: Facts) -> dict[str, str]:
    """Return what workers are called, by address; of those that have gone it says so."""
    present = facts["snapshot"].identity["workers"]
    named: dict[str, str] = facts["stream"][0].named
    gone = {address: f"{name}, gone" for address, name in named.items() if address not in present}
    return gone | {address: str(worker["name"]) for address, worker in present.items()}


def _lane(text: str, names: Mapping[str, str]) -> str:
    """Return what a lane is called, by the worker's name: "3 · 1" is the first thread of worker 3."""
    address, _, thread = text.partition(" ")
    return f"{shortened(names.get(address, address))} · {thread.removeprefix('thread ')}"


def time_per_action(facts: Facts) -> Frames:
    """Return how long threads did what, of the rows that were noted."""
    stream: Stream = facts["stream"][0]
    totals: dict[str, tuple[int, float]] = {}
    for name, (count, seconds) in stream.sums.items():
        action = name.strip("()") if name.startswith("(") else "compute"
        before = totals.get(action, (0, 0.0))
        totals[action] = (before[0] + count, before[1] + seconds)
    columns: Columns = boxes()
    ticks: Columns = {"at": [], "text": []}
    for place, (action, (count, seconds)) in enumerate(sorted(totals.items(), key=lambda item: -item[1][1])):
        y = (-place - 0.4, -place + 0.4)
        kind = "disk" if action.startswith("disk") else action
        color = colours.ACTIVITIES.get(kind, "#4477aa")
        add_box(columns, (0, seconds), y, color, action, f"{in_seconds(seconds)}, {count:,} times")
        ticks["at"].append(-place)
        ticks["text"].append(action)
    return {"boxes": columns, "ticks": ticks}


def bandwidth(facts: Facts) -> Frames:
    """Return how fast values came from which worker (down) to which (to the right)."""
    stream: Stream = facts["stream"][0]
    names = _names(facts)
    parties = sorted({name for pair in stream.transfers for name in pair}, key=lambda name: names.get(name, name))
    places = {name: place for place, name in enumerate(parties[:MAP_MAX])}
    columns: Columns = boxes()
    rates = {
        pair: nbytes / seconds
        for pair, (_, nbytes, seconds) in stream.transfers.items()
        if seconds > 0 and pair[0] in places and pair[1] in places
    }
    top = max(rates.values(), default=1.0)
    for (source, target), rate in rates.items():
        count, nbytes, _ = stream.transfers[source, target]
        x, y = places[target], -places[source]
        color = SCALE[min(len(SCALE) - 1, int(rate / top * len(SCALE)))]
        title = f"{names.get(source, source)} to {names.get(target, target)}"
        detail = f"{in_bytes(int(rate))}/s: {in_bytes(nbytes)} in {count:,} transfers"
        add_box(columns, (x - 0.47, x + 0.47), (y - 0.47, y + 0.47), color, title, detail)
    ticks: Columns = {"at": [-place for place in places.values()], "text": [shortened(names.get(n, n)) for n in places]}
    return {"boxes": columns, "ticks": ticks}
