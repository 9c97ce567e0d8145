"""A cluster as a terminal shows it: its workers, and its tasks by prefix.

What lives here: `picture` and the order of its rows. What this file must never know: where the figures come from, keys,
and when it is drawn anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from windrow.causes import count_of
from windrow.observe.figures import STATES, bytes_text

__all__ = ["ORDERS", "picture"]

ROWS = 20
BAR_WIDTH = 12

Row = Mapping[str, Any]

ORDERS: dict[str, Callable[[Row], Any]] = {
    "name": lambda row: 0,  # they come in the order of their names
    "cpu": lambda row: -(row["cpu"] or 0.0),
    "memory": lambda row: -row["memory"],
    "tasks": lambda row: -row["processing"],
    "stored": lambda row: -row["stored_bytes"],
}
"""What workers may be sorted by: the largest first, but names."""

_STYLES = {"memory": "green", "erred": "red", "processing": "cyan"}


def picture(drawn: Mapping[str, Any], order: str = "name", rows: int = ROWS, hint: str = "") -> RenderableType:
    """Return what is drawn of a cluster.

    Parameters
    ----------
    drawn
        What ``/json/status.json`` has (`figures.status`).
    order
        What workers are sorted by: one of `ORDERS`.
    rows
        So many workers are shown at the most, and so many prefixes.
    hint
        A last line.
    """
    parts: list[RenderableType] = [_head(drawn), _workers(drawn, order, rows), _tasks(drawn, rows)]
    return Group(*parts, Text(hint, style="dim")) if hint else Group(*parts)


def _head(drawn: Mapping[str, Any]) -> Text:
    totals = drawn["totals"]
    text = Text(f"{drawn['address']}", style="bold")
    text.append(
        f"  {count_of(totals['workers'], 'worker')}, {count_of(totals['cores'], 'thread')}, "
        f"{totals['cpu']:.1f} processors busy\n",
        style="not bold",
    )
    text.append(f"{count_of(totals['tasks'], 'task')}, {bytes_text(totals['bytes'])} of results", style="not bold")
    if totals["unrunnable"]:
        text.append(f", {totals['unrunnable']:,} that no worker may run", style="bold red")
    memory = _of(totals["memory_used"], totals["memory_limit"])
    text.append(f"; {count_of(totals['clients'], 'client')}; memory {memory}", style="not bold")
    return text


def _of(count: float, limit: float) -> str:
    return f"{bytes_text(count)} of {bytes_text(limit)}" if limit else bytes_text(count)


def _workers(drawn: Mapping[str, Any], order: str, rows: int) -> Table:
    table = _table("worker", "threads", "CPU", "memory", "processing", "results", "")
    shown = sorted(drawn["workers"], key=ORDERS[order])
    for row in shown[:rows]:
        full = row["memory"] / row["memory_limit"] if row["memory_limit"] else 0.0
        table.add_row(
            _name(row["name"]),
            str(row["nthreads"]),
            "?" if row["cpu"] is None else f"{row['cpu']:.0%}",
            Text(
                _of(row["memory"], row["memory_limit"]), style="red" if full > 0.8 else "yellow" if full > 0.6 else ""
            ),
            f"{row['processing']:,}",
            f"{row['stored']:,}, {bytes_text(row['stored_bytes'])}",
            Text("" if row["status"] == "running" else row["status"], style="yellow"),
        )
    _say_rest(table, drawn["totals"]["workers"] - min(len(shown), rows))
    return table


def _tasks(drawn: Mapping[str, Any], rows: int) -> Table:
    states = [state for state in STATES if state != "released"]
    table = _table("tasks", *states, "done")
    for row in drawn["tasks"][:rows]:
        total = sum(row[state] for state in STATES)
        done = row["memory"] + row["erred"] + row["released"]
        counts = [Text(f"{row[state]:,}" if row[state] else "", style=_STYLES.get(state, "")) for state in states]
        bar = ProgressBar(total=total, completed=done, width=BAR_WIDTH, finished_style="green")
        table.add_row(_name(row["prefix"]), *counts, bar)
    if drawn["counted_ago"] is None:
        table.add_row(Text("they are being counted", style="dim"))
    _say_rest(table, len(drawn["tasks"]) - rows)
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1))
    table.add_column(first, min_width=8, max_width=40)  # where room is short, it gives way first
    for name in others:
        table.add_column(name, justify="left" if name in ("", "done") else "right", no_wrap=True)
    return table


def _name(name: str) -> Text:
    return Text(name, no_wrap=True, overflow="ellipsis")


def _say_rest(table: Table, count: int) -> None:
    if count > 0:
        table.add_row(Text(f"and {count:,} more", style="dim", no_wrap=True))
