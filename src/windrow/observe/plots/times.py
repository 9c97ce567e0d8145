"""Plots over time: what all workers, and the scheduler's process, took while somebody has looked.

What lives here: pure functions from `Moment`s to columns. What this file must never know: who keeps them.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from windrow.observe import figures
from windrow.observe.plots.plot import Facts, Frames

__all__ = ["LINES", "MOMENTS_MAX", "Moment", "cluster_over_time", "moment", "system_over_time"]

MOMENTS_MAX = 900
"""So many seconds are remembered."""


class Moment(Struct, frozen=True):
    """What all workers took at one time."""

    time: float
    """Seconds since the epoch."""
    cpu: float
    """Processors' worth of time."""
    memory: int
    stored: int
    spilled: int
    processing: int
    tasks: int
    received: float
    """Bytes a second, from other workers."""
    sent: float


LINES = Moment.__struct_fields__[1:]


def moment(snapshot: Any, now: float) -> Moment:
    """Return what is remembered of a snapshot."""
    rows = figures.worker_rows(snapshot)
    return Moment(
        now,
        sum(row["cpu"] or 0.0 for row in rows),
        sum(row["memory"] for row in rows),
        snapshot.overview["bytes"],
        sum(row["spilled"] for row in rows),
        sum(row["processing"] for row in rows),
        snapshot.overview["tasks"],
        sum(snapshot.received.values()),
        sum(snapshot.sent.values()),
    )


def cluster_over_time(facts: Facts) -> Frames:
    """Return the moments as lines; times in milliseconds, as browsers have them."""
    moments: list[Moment] = facts["history"]
    lines: dict[str, list[Any]] = {"time": [each.time * 1e3 for each in moments]}
    for name in LINES:
        lines[name] = [getattr(each, name) for each in moments]
    return {"lines": lines}


def system_over_time(facts: Facts) -> Frames:
    """Return what the scheduler's process took."""
    samples: list[dict[str, float]] = facts["system"]
    names = ("cpu", "memory", "files", "threads")
    return {
        "lines": {"time": [each["time"] * 1e3 for each in samples], **{n: [each[n] for each in samples] for n in names}}
    }
