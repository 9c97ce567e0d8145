"""Tables: workers, tasks that have raised, events, log records.

What lives here: pure functions from facts to rows. What this file must never know: how a table looks.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from windrow.observe import figures
from windrow.observe.plots.plot import Columns, Facts, Frames
from windrow.observe.plots.workers import worker_link

__all__ = [
    *("EVENT_COLUMNS", "EXCEPTION_COLUMNS", "LOG_COLUMNS", "WORKER_COLUMNS"),
    *("events", "exceptions", "logs", "workers"),
]

ROWS_MAX = 1_000
TEXT_MAX = 300
"""So many characters of an event are shown."""

WORKER_COLUMNS = (
    ("name", "Name", "text"),
    ("address", "Address", "text"),
    ("status", "Status", "text"),
    ("nthreads", "Threads", "number"),
    ("cpu", "CPU", "percent"),
    ("memory", "Memory", "bytes"),
    ("memory_limit", "Limit", "bytes"),
    ("share", "Used", "bar"),
    ("managed", "Managed", "bytes"),
    ("unmanaged_old", "Unmanaged, old", "bytes"),
    ("unmanaged_new", "Unmanaged, recent", "bytes"),
    ("spilled", "Spilled", "bytes"),
    ("processing", "Tasks", "number"),
    ("executing", "Running", "number"),
    ("stored", "Results", "number"),
    ("occupancy", "Expected", "seconds"),
    ("last_seen", "Last seen", "seconds"),
)

SUMMED = (
    *("nthreads", "memory", "memory_limit", "managed", "unmanaged_old", "unmanaged_new", "spilled"),
    *("processing", "executing", "stored", "occupancy"),
)
"""Of these the first row has the sum."""

EXCEPTION_COLUMNS = (("task", "Task", "text"), ("function", "Function", "text"), ("error", "Traceback", "long"))
EVENT_COLUMNS = (("time", "Time", "clock"), ("topic", "Topic", "text"), ("event", "Event", "words"))
LOG_COLUMNS = (("level", "Level", "text"), ("text", "Record", "long"))


def workers(facts: Facts) -> Frames:
    """Return a row a worker, and before them one for all."""
    found = figures.worker_rows(facts["snapshot"])
    for row in found:
        unmanaged = max(0, row["memory"] - row["managed"])
        row["unmanaged_new"] = max(0, unmanaged - row["unmanaged_old"])
        row["share"] = row["memory"] / row["memory_limit"] if row["memory_limit"] else None
        row["last_seen"] = round(max(0.0, facts["now"] - row["last_seen"]), 1)
        row["link"] = worker_link(row["address"])
    rows = [_total(found), *found[:ROWS_MAX]] if found else []
    return {"rows": {name: [row[name] for row in rows] for name in [*_names(WORKER_COLUMNS), "link"]}}


def _total(rows: list[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {name: sum(row[name] for row in rows) for name in SUMMED}
    total["share"] = total["memory"] / total["memory_limit"] if total["memory_limit"] else None
    total["cpu"] = sum(row["cpu"] or 0.0 for row in rows)
    return {**total, "name": f"all {len(rows)}", "address": "", "status": "", "last_seen": None, "link": ""}


def exceptions(facts: Facts) -> Frames:
    """Return some of the tasks that have raised, with their tracebacks."""
    erred = facts["snapshot"].overview["erred"]
    return {
        "rows": {
            "task": [key for key, _, _ in erred],
            "function": [function for _, function, _ in erred],
            "error": [text for _, _, text in erred],
            "link": [f"info/task/{quote(key, safe='')}.html" for key, _, _ in erred],
        }
    }


def events(facts: Facts) -> Frames:
    """Return the last events, the newest first."""
    found = facts["events"][::-1]
    return {
        "rows": {
            "time": [time for time, _, _ in found],
            "topic": [", ".join(topics) for _, _, topics in found],
            "event": [
                text if len(text := _words(event)) <= TEXT_MAX else f"{text[:TEXT_MAX]}…" for _, event, _ in found
            ],
            "link": ["" for _ in found],
        }
    }


def _words(event: Any) -> str:
    if isinstance(event, dict):
        return ", ".join(f"{name}: {value}" for name, value in event.items())
    return str(event)


def logs(facts: Facts) -> Frames:
    """Return the scheduler's last log records, the newest first."""
    records = facts["logs"]
    columns: Columns = {"level": [level for level, _ in records], "text": [text for _, text in records]}
    return {"rows": {**columns, "link": ["" for _ in records]}}


def _names(columns: tuple[tuple[str, str, str], ...]) -> list[str]:
    return [name for name, _, _ in columns]
