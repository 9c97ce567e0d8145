"""Plots of workers: what each stores, runs and uses, as bars; as histograms where there are too many for bars.

What lives here: pure functions from a snapshot to columns. What this file must never know: how they are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from windrow.observe import colours, figures
from windrow.observe.figures import bytes_text
from windrow.observe.plots.plot import Facts, Frames, add_box, boxes

__all__ = [
    "NETWORK_LEGEND",
    "cluster_memory",
    "cpu",
    "memory",
    "network",
    "occupancy",
    "processing",
    "received",
    "worker_link",
]

BARS_MAX = 100
"""Of so many workers each has a bar of its own."""
BINS = 24
LABELS_MAX = 24
"""So many names stand at an axis."""
HIGH = 0.7
"""The share of its limit above which a worker's memory is high."""

BLUE, ORANGE, RED, GREEN = "#4477aa", "#ee7733", "#cc3311", "#228833"
FREE = "#8b96a5"

MEMORY_LEGEND = (
    (BLUE, "results"),
    (f"{BLUE}80", "other memory of the process"),
    (ORANGE, f"above {HIGH:.0%} of the limit"),
    (RED, "paused"),
    (f"{FREE}b0", "on disk"),
    (f"{FREE}30", "free, up to the limit"),
)


def worker_link(address: str) -> str:
    """Return where the page of a worker is.

    Examples
    --------
    >>> worker_link("tcp://127.0.0.1:80")
    'info/worker/tcp%3A%2F%2F127.0.0.1%3A80.html'
    """
    return f"info/worker/{quote(address, safe='')}.html"


def memory(facts: Facts) -> Frames:
    """Return what workers' memory is used for, of each against its limit."""
    rows = figures.worker_rows(facts["snapshot"])
    if len(rows) > BARS_MAX:
        return _histogram([row["memory"] for row in rows], bytes_text, BLUE)
    columns = boxes()
    for row, y in _lanes(rows):
        used, managed = row["memory"], min(row["managed"], row["memory"])
        limit, link = row["memory_limit"], worker_link(row["address"])
        full = RED if row["status"] == "paused" else ORANGE if limit and used > HIGH * limit else BLUE
        of = bytes_text(limit) if limit else "no limit"
        detail = f"{bytes_text(used)} of {of}: {bytes_text(row['managed'])} results"
        detail += f", {bytes_text(row['spilled'])} on disk" if row["spilled"] else ""
        label = f"worker {row['name']}"
        if limit > used:
            add_box(columns, (used, limit), y, FREE, label, detail, link, alpha=0.18)
        add_box(columns, (0, managed), y, full, label, detail, link)
        add_box(columns, (managed, used), y, full, label, detail, link, alpha=0.5)
        if row["spilled"]:
            add_box(columns, (used, used + row["spilled"]), y, FREE, label, detail, link, alpha=0.7, hatch="/")
    return {"boxes": columns, "ticks": _names(rows)}


def cluster_memory(facts: Facts) -> Frames:
    """Return the same of all workers together."""
    rows = figures.worker_rows(facts["snapshot"])
    used, managed, spilled = (sum(row[name] for row in rows) for name in ("memory", "managed", "spilled"))
    managed, limit = min(managed, used), sum(row["memory_limit"] for row in rows)
    columns = boxes()
    y = (-0.4, 0.4)
    of = f" of {bytes_text(limit)}" if limit else ""
    total = f"{bytes_text(used)}{of} on {len(rows)} workers"
    if limit > used:
        add_box(columns, (used, limit), y, FREE, "free", f"{bytes_text(limit - used)} up to the limits", alpha=0.18)
    add_box(columns, (0, managed), y, BLUE, "results", f"{bytes_text(managed)}; all: {total}")
    add_box(columns, (managed, used), y, BLUE, "other", f"{bytes_text(used - managed)}; all: {total}", alpha=0.5)
    if spilled:
        x = (used, used + spilled)
        add_box(columns, x, y, FREE, "on disk", bytes_text(spilled), alpha=0.7, hatch="/")
    return {"boxes": columns, "ticks": {"at": [0], "text": [bytes_text(used)]}}


def processing(facts: Facts) -> Frames:
    """Return how many tasks each worker has, to be run or running."""
    return _bars(
        figures.worker_rows(facts["snapshot"]),
        lambda row: row["processing"],
        lambda n: f"{n:.0f}",
        lambda row: f"{row['processing']} tasks on {row['nthreads']} threads",
        lambda row: GREEN if row["processing"] >= row["nthreads"] else colours.STATES["queued"],
    )


def cpu(facts: Facts) -> Frames:
    """Return the processor time that each takes, in percent of one processor."""
    return _bars(
        figures.worker_rows(facts["snapshot"]),
        lambda row: row["cpu"] or 0.0,
        lambda share: f"{share:.0%}",
        lambda row: "not measured yet" if row["cpu"] is None else f"{row['cpu']:.0%} of {row['nthreads']}00%",
        lambda row: BLUE,
    )


def occupancy(facts: Facts) -> Frames:
    """Return how long the tasks of each are expected to take."""
    return _bars(
        figures.worker_rows(facts["snapshot"]),
        lambda row: row["occupancy"],
        lambda seconds: f"{seconds:.2g} s",
        lambda row: f"{row['occupancy']:.3g} s of work for {row['nthreads']} threads",
        lambda row: BLUE,
    )


def received(facts: Facts) -> Frames:
    """Return the bytes a second that each receives from others."""
    rates = facts["snapshot"].received
    return _bars(
        figures.worker_rows(facts["snapshot"]),
        lambda row: rates.get(row["address"], 0.0),
        lambda rate: f"{bytes_text(rate)}/s",
        lambda row: f"{bytes_text(rates.get(row['address'], 0.0))} a second",
        lambda row: BLUE,
    )


def network(facts: Facts) -> Frames:
    """Return the bytes a second that each receives from others (above), and sends them (below)."""
    rows = figures.worker_rows(facts["snapshot"])
    received, sent = facts["snapshot"].received, facts["snapshot"].sent
    if len(rows) > BARS_MAX:
        return _histogram([received.get(row["address"], 0.0) for row in rows], lambda n: f"{bytes_text(n)}/s", BLUE)
    columns = boxes()
    for row, (low, high) in _lanes(rows):
        rates = received.get(row["address"], 0.0), sent.get(row["address"], 0.0)
        detail = f"{bytes_text(rates[0])} received a second, {bytes_text(rates[1])} sent"
        middle, label, link = (low + high) / 2, f"worker {row['name']}", worker_link(row["address"])
        add_box(columns, (0, rates[0]), (middle, high), BLUE, label, detail, link)
        add_box(columns, (0, rates[1]), (low, middle), GREEN, label, detail, link)
    return {"boxes": columns, "ticks": _names(rows)}


NETWORK_LEGEND = ((BLUE, "received"), (GREEN, "sent"))


def _bars(
    rows: Sequence[dict[str, Any]],
    value: Callable[[dict[str, Any]], float],
    text: Callable[[float], str],
    detail: Callable[[dict[str, Any]], str],
    color: Callable[[dict[str, Any]], str],
) -> Frames:
    if len(rows) > BARS_MAX:
        return _histogram([value(row) for row in rows], text, BLUE)
    columns = boxes()
    for row, y in _lanes(rows):
        label = f"worker {row['name']}"
        add_box(columns, (0, value(row)), y, color(row), label, detail(row), worker_link(row["address"]))
    return {"boxes": columns, "ticks": _names(rows)}


def _lanes(rows: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], tuple[float, float]]]:
    """Return each row and its lane, from the top down."""
    return [(row, (-place - 0.4, -place + 0.4)) for place, row in enumerate(rows)]


def _names(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    step = -(-len(rows) // LABELS_MAX) or 1
    chosen = range(0, len(rows), step)
    return {"at": [-place for place in chosen], "text": [shortened(rows[place]["name"]) for place in chosen]}


def shortened(text: str, length: int = 16) -> str:
    """Return a text with its middle left out if it is long.

    Examples
    --------
    >>> shortened("tcp://127.0.0.1:44567"), shortened("7")
    ('tcp://1….1:44567', '7')
    """
    half = (length - 1) // 2
    return text if len(text) <= length else f"{text[:half]}…{text[half + 1 - length :]}"


def _histogram(values: Sequence[float], text: Callable[[float], str], color: str) -> Frames:
    """Return how many workers have values in each of some ranges."""
    top = max(values, default=0.0) or 1.0
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, int(value / top * BINS))] += 1
    columns = boxes()
    for place, count in enumerate(counts):
        x = (top * place / BINS, top * (place + 1) / BINS)
        if count:
            add_box(columns, x, (0, count), color, f"{count} workers", f"{text(x[0])} to {text(x[1])}")
    at = sorted({0, max(counts) // 2, max(counts)})
    return {"boxes": columns, "ticks": {"at": at, "text": [f"{count} workers" if count else "" for count in at]}}
