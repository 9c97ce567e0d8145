"""Plots over time: what all workers, and the scheduler's process, took while somebody has looked.

What lives here: pure functions from `Moment`s to columns. What this file must never know: who keeps them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import nan
from typing import Any

from msgspec import Struct

from windrow.observe import figures
from windrow.observe.plots.plot import Facts, Frames

__all__ = [
    *("LINES", "MOMENTS_MAX", "Beat", "Moment", "beat", "cluster_over_time", "moment", "pulse_over_time"),
    "system_over_time",
]

MOMENTS_MAX = 900
"""So many seconds are remembered."""

TICK_S = 0.1
"""What the clock of a loop is set to, whose turns are counted."""

APART_S = 8.0
"""Samples that are further apart are not joined by a line: nobody has looked in between."""


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
    return _lines([each.time for each in moments], {name: [getattr(each, name) for each in moments] for name in LINES})


def system_over_time(facts: Facts) -> Frames:
    """Return what the scheduler's process took."""
    samples: list[dict[str, float]] = facts["system"]
    names = ("cpu", "memory", "files", "threads")
    return _lines([each["time"] for each in samples], {name: [each[name] for each in samples] for name in names})


class Beat(Struct, frozen=True):
    """What the scheduler had counted of itself by some time."""

    time: float
    ticks: float
    """Turns of its loop's clock, which is set to a tenth of a second."""
    longest_s: float
    """The longest of the last minute or two."""
    collected_s: float
    recalled: float
    """Tasks that workers were asked to give back for others."""


def beat(tallies: Mapping[str, Any], now: float) -> Beat:
    """Return what is remembered of an answer of the scheduler's."""
    pulse = tallies["pulse"]
    return Beat(now, pulse["ticks"], pulse["tick_max_s"], pulse["gc_s"], tallies["recalled"][0])


def pulse_over_time(facts: Facts) -> Frames:
    """Return how late the scheduler's loop was, what its garbage took, and how many tasks changed places, a second."""
    beats: list[Beat] = facts["pulse"]
    pairs = [(one, next) for one, next in pairwise(beats) if next.time > one.time]
    columns = {
        "late": [_late_s(one, next) for one, next in pairs],
        "longest": [next.longest_s for _, next in pairs],
        "gc": [_growth(one, next, "collected_s") for one, next in pairs],
        "recalled": [_growth(one, next, "recalled") for one, next in pairs],
    }
    return _lines([next.time for _, next in pairs], columns)


def _late_s(one: Beat, next: Beat) -> float:
    ticks = next.ticks - one.ticks
    return max(0.0, (next.time - one.time) / ticks - TICK_S) if ticks > 0 else nan


def _growth(one: Beat, next: Beat, name: str) -> float:
    return max(0.0, float(getattr(next, name) - getattr(one, name))) / (next.time - one.time)


def _lines(times: list[float], columns: dict[str, list[Any]]) -> Frames:
    """Return columns as lines that are broken, by a row of no numbers, where nobody has looked."""
    gaps = {place for place, (one, next) in enumerate(pairwise(times), 1) if next - one > APART_S}

    def broken(column: Sequence[Any]) -> Iterator[Any]:
        for place, value in enumerate(column):
            if place in gaps:
                yield nan
            yield value

    lines = {"time": [time * 1e3 for time in broken(times)]}
    lines.update((name, [*broken(column)]) for name, column in columns.items())
    return {"lines": lines}
