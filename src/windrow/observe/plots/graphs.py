"""Plots of graphs: tasks, and groups of tasks, with what they take of each other.

What lives here: pure functions from what the scheduler says of its graph to nodes and edges. What this file must never
know: how they are drawn, and where nodes are put (`layout`).
"""

from __future__ import annotations

from functools import lru_cache
from math import log10, sqrt
from typing import Any
from urllib.parse import quote

from windrow.observe import colours
from windrow.observe.figures import bytes_text
from windrow.observe.plots.layout import layered
from windrow.observe.plots.plot import Columns, Facts, Frames
from windrow.observe.plots.workers import shortened

__all__ = ["GRAPH_LEGEND", "GROUP_COLUMNS", "graph", "group_rows", "groups"]

GRAPH_LEGEND = tuple((color, state) for state, color in colours.STATES.items())

GROUP_COLUMNS = (
    ("name", "Group", "text"),
    ("prefix", "Prefix", "text"),
    ("tasks", "Tasks", "number"),
    ("done", "Done", "done"),
    ("waiting", "Waiting", "number"),
    ("queued", "Queued", "number"),
    ("processing", "Processing", "number"),
    ("memory", "In memory", "number"),
    ("erred", "Erred", "number"),
    ("nbytes", "Bytes", "bytes"),
)

NAMED_MAX = 40
"""So many groups have their names beside them."""
NOTHING: Columns = {"x": [0.0], "y": [0.0], "text": ["There is nothing yet."]}
"""The texts of a figure without nodes."""
NODES = ("x", "y", "color", "shape", "size", "label", "detail", "link")


def graph(facts: Facts) -> Frames:
    """Return all tasks while they are few; else their groups."""
    found = facts["graph"]
    if found["ids"] is None:
        return _groups(found["groups"])
    count = len(found["ids"])
    xs, ys = _placed(tuple(found["ids"]), tuple(found["edges"]))
    states = [found["names"][number] for number in found["states"]]
    size = max(4.0, min(16.0, 220 / sqrt(count or 1)))
    nodes: Columns = {
        "x": list(xs),
        "y": list(ys),
        "color": [colours.STATES.get(state, "#888888") for state in states],
        "shape": ["diamond" if state == "erred" else "square" if state == "memory" else "circle" for state in states],
        "size": [size] * count,
        "label": found["keys"],
        "detail": [f"{kind}: {state}" for kind, state in zip(found["prefixes"], states, strict=True)],
        "link": [f"info/task/{quote(key, safe='')}.html" for key in found["keys"]],
    }
    texts: Columns = {"x": [], "y": [], "text": []} if count else dict(NOTHING)
    return {"nodes": nodes, "edges": _edges(xs, ys, found["edges"]), "texts": texts}


def groups(facts: Facts) -> Frames:
    """Return groups of tasks, and which take results of which."""
    return _groups(facts["groups"])


def _groups(found: dict[str, Any]) -> Frames:
    rows = found["groups"]
    xs, ys = _placed(tuple(row[0] for row in rows), tuple(found["edges"]))
    nodes: Columns = {name: [] for name in NODES}
    for place, (name, kind, counts, nbytes) in enumerate(rows):
        total = sum(counts.values())
        told = ", ".join(f"{count:,} {state}" for state, count in counts.items())
        detail = f"{total:,} tasks: {told}" + (f"; {bytes_text(nbytes)}" if nbytes else "")
        values = (xs[place], ys[place], _colour(counts, kind), "square", 10 + 5 * log10(total), name, detail, "")
        for column, value in zip(NODES, values, strict=True):
            nodes[column].append(value)
    named = range(len(rows)) if len(rows) <= NAMED_MAX else ()
    texts: Columns = {
        "x": [xs[place] for place in named],
        "y": [ys[place] for place in named],
        "text": [shortened(rows[place][1], 15) for place in named],
    }
    return {"nodes": nodes, "edges": _edges(xs, ys, found["edges"]), "texts": texts if rows else dict(NOTHING)}


def _colour(counts: dict[str, int], kind: str) -> str:
    for state in ("erred", "processing", "queued"):
        if counts.get(state):
            return colours.STATES[state]
    return colours.STATES["waiting"] if counts.get("waiting") else colours.of_prefix(kind)


def group_rows(facts: Facts) -> Frames:
    """Return a row a group, the largest first."""
    rows = sorted(facts["groups"]["groups"], key=lambda row: (-sum(row[2].values()), row[0]))
    columns: Columns = {
        "name": [row[0] for row in rows],
        "prefix": [row[1] for row in rows],
        "tasks": [sum(row[2].values()) for row in rows],
        "done": [_done(row[2]) for row in rows],
        "nbytes": [row[3] for row in rows],
        "link": ["" for _ in rows],
    }
    for state in ("waiting", "queued", "processing", "memory", "erred"):
        columns[state] = [row[2].get(state, 0) for row in rows]
    return {"rows": columns}


def _done(counts: dict[str, int]) -> float:
    return sum(counts.get(state, 0) for state in ("memory", "released", "erred")) / (sum(counts.values()) or 1)


@lru_cache(maxsize=4)
def _placed(names: tuple[Any, ...], edges: tuple[int, ...]) -> tuple[list[float], list[float]]:
    """Return where nodes are; of a graph whose tasks only change their states, they are known."""
    return layered(len(names), edges)


def _edges(xs: list[float], ys: list[float], edges: list[int]) -> Columns:
    pairs = list(zip(edges[::2], edges[1::2], strict=True))
    return {"xs": [[xs[a], xs[b]] for a, b in pairs], "ys": [[ys[a], ys[b]] for a, b in pairs]}
