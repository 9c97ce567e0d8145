"""Plots of tasks by prefix: how far they are, and what their results take.

What lives here: pure functions from a snapshot to columns. What this file must never know: how they are drawn.
"""

from __future__ import annotations

from windrow.observe import colours, figures
from windrow.observe.figures import bytes_text
from windrow.observe.plots.plot import Columns, Facts, Frames, add_box, boxes
from windrow.observe.plots.workers import shortened

__all__ = ["compute_time", "memory_by_key", "progress"]

PREFIXES_MAX = 24
"""So many prefixes have a bar, the largest."""
NAME_LENGTH = 22
OLD_S = 3.0
"""Counts that are older say so."""

PROCESSING = "#8b96a5"

PROGRESS_LEGEND = (
    ("#4477aa", "in memory"),
    ("#4477aa66", "released"),
    (PROCESSING, "processing"),
    ("hatch", "queued"),
    ("#cc3311", "erred"),
)

SEGMENTS = (
    ("released", 0.4, " "),
    ("memory", 1.0, " "),
    ("erred", 1.0, " "),
    ("processing", 1.0, " "),
    ("queued", 0.25, "/"),
    ("waiting", 0.1, " "),
)
"""The states in the order of a bar, from the left: how solid, and how hatched."""


def progress(facts: Facts) -> Frames:
    """Return how many tasks of each prefix are in which state, as shares of a bar."""
    prefixes = facts["snapshot"].overview["prefixes"]
    largest = sorted(prefixes.items(), key=lambda kind: (-sum(kind[1].values()), kind[0]))[:PREFIXES_MAX]
    columns, ticks = boxes(), _no_ticks()
    texts: Columns = {"x": [], "y": [], "text": []}
    for place, (prefix, by_state) in enumerate(largest):
        total = sum(by_state.values())
        y = (-place - 0.36, -place + 0.36)
        color, at = colours.of_prefix(prefix), 0.0
        detail = ", ".join(f"{by_state[state]:,} {state}" for state in figures.STATES if by_state.get(state))
        for state, alpha, hatch in SEGMENTS:
            if count := by_state.get(state, 0):
                fill = {"erred": colours.STATES["erred"], "processing": PROCESSING}.get(state, color)
                label = f"{prefix}: {count:,} {state}"
                add_box(columns, (at, at + count / total), y, fill, label, detail, alpha=alpha, hatch=hatch)
                at += count / total
        done = sum(by_state.get(state, 0) for state in ("released", "memory", "erred"))
        _add_tick(ticks, -place, shortened(prefix, NAME_LENGTH))
        for name, value in zip(texts, (1.01, -place, f"{done:,} / {total:,}"), strict=True):
            texts[name].append(value)
    if (age := _age(facts)) and largest:
        for name, value in zip(texts, (0.0, -len(largest), age), strict=True):
            texts[name].append(value)
    return {"boxes": columns, "ticks": ticks, "texts": texts}


def _age(facts: Facts) -> str:
    """Return how old the counts are, where that matters: of millions of tasks they take some time."""
    overview = facts["snapshot"].overview
    age_s = 0.0 if overview["counted"] is None else overview["now"] - overview["counted"]
    return f"as they were {age_s:.0f} s ago" if age_s >= OLD_S else ""


def memory_by_key(facts: Facts) -> Frames:
    """Return what the results of each prefix take in memory."""
    sizes = facts["snapshot"].overview["prefix_bytes"]
    largest = sorted(sizes.items(), key=lambda kind: (-kind[1], kind[0]))[:PREFIXES_MAX]
    columns, ticks = boxes(), _no_ticks()
    for place, (prefix, size) in enumerate(largest):
        y = (-place - 0.4, -place + 0.4)
        add_box(columns, (0, size), y, colours.of_prefix(prefix), prefix, bytes_text(size))
        _add_tick(ticks, -place, shortened(prefix, NAME_LENGTH))
    return {"boxes": columns, "ticks": ticks}


def compute_time(facts: Facts) -> Frames:
    """Return how long threads were taken by the tasks of each function, ever."""
    functions = facts["tallies"]["functions"]
    largest = sorted(functions.items(), key=lambda kind: (-kind[1]["seconds"], kind[0]))[:PREFIXES_MAX]
    columns, ticks = boxes(), _no_ticks()
    for place, (name, totals) in enumerate(largest):
        seconds, count = totals["seconds"], totals["count"]
        each = f", {seconds / count:.3g} s each" if count else ""
        y = (-place - 0.4, -place + 0.4)
        add_box(columns, (0, seconds), y, colours.of_prefix(name), name, f"{seconds:.3g} s: {count:,} tasks{each}")
        _add_tick(ticks, -place, shortened(name, NAME_LENGTH))
    return {"boxes": columns, "ticks": ticks}


def _no_ticks() -> Columns:
    return {"at": [], "text": []}


def _add_tick(ticks: Columns, at: float, text: str) -> None:
    ticks["at"].append(at)
    ticks["text"].append(text)
