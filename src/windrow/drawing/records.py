"""What threads did, as users are told it: a record for each attempt, made of the scheduler's columns.

What lives here: `Rows`, and the way from them to records. What this file must never know: who asks, and how rows are
noted and kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from windrow import config
from windrow.keys import from_plain
from windrow.wire.activity import ACTIONS, COMPUTE, ERRED

__all__ = ["COLUMNS", "HELD_S", "Rows", "chosen", "gather", "records", "when"]

Rows = dict[str, Any]
"""Columns, as in ``scheduler.recording.rows``."""

HELD_S = 3600.0
"""So long after a question about the past tasks are still noted for the next one."""

COLUMNS = ("keys", "functions", "words", "workers", "kinds", "threads", "starts", "seconds", "nbytes")


def gather(found: Rows, answer: Mapping[str, Any]) -> bool:
    """Add an answer of the scheduler to what was found; say whether it was the last one."""
    for name in COLUMNS:
        found[name] += answer[name]
    if answer["next"] < answer["end"]:
        return False
    found["keys"] = [from_plain(key) for key in found["keys"]]
    found.update(addresses=answer["addresses"], now=answer["now"], first=answer["first"])
    return True


def records(found: Rows) -> list[dict[str, Any]]:
    """Return a record for each attempt, in the order in which they ended, as users know them.

    What was fetched, read or loaded for an attempt stands among its ``startstops``.

    Examples
    --------
    >>> [record] = records({
    ...     "addresses": ["tcp://a"], "keys": ["sum-1"] * 2, "functions": ["sum"] * 2, "words": ["tcp://b", "int"],
    ...     "workers": [0, 0], "kinds": [2, 0], "threads": [0, 7], "starts": [1.0, 2.0], "seconds": [0.5, 0.5],
    ...     "nbytes": [800, 28],
    ... })
    >>> record["key"], record["typename"], [each["action"] for each in record["startstops"]]
    ('sum-1', 'int', ['transfer', 'compute'])
    """
    made: list[dict[str, Any]] = []
    before: dict[tuple[Any, int], list[dict[str, Any]]] = {}
    for key, word, worker, kind, thread, start, seconds, nbytes in zip(
        *(found[name] for name in COLUMNS if name != "functions"), strict=True
    ):
        span: dict[str, Any] = {"action": ACTIONS[kind], "start": start, "stop": start + seconds}
        if kind not in (COMPUTE, ERRED):
            if ACTIONS[kind] == "transfer":
                span["source"] = word
            before.setdefault((key, worker), []).append({**span, "nbytes": nbytes})
            continue
        made.append(
            {
                "key": key,
                "worker": found["addresses"][worker],
                "thread": thread,
                "status": "OK" if kind == COMPUTE else "error",
                "nbytes": nbytes,
                "type": word,
                "typename": word,
                "startstops": (*before.pop((key, worker), ()), span),
            }
        )
    return made


def chosen(found: Rows, start: Any, stop: Any, count: int | None) -> Rows:
    """Return the rows of what ended after ``start``, began before ``stop``, or the last ``count`` of the attempts."""
    since_s, until_s = when(start, found["now"]), when(stop, found["now"])
    places: Iterable[int] = [
        place
        for place, (begun, seconds) in enumerate(zip(found["starts"], found["seconds"], strict=True))
        if (since_s is None or begun + seconds >= since_s) and (until_s is None or begun <= until_s)
    ]
    if count is not None:
        attempts = [place for place in places if found["kinds"][place] in (COMPUTE, ERRED)]
        first = attempts[-count] if 0 < count <= len(attempts) else 0 if count else len(found["kinds"])
        places = [place for place in places if place >= first]
    return {**found, **{name: [found[name][place] for place in places] for name in COLUMNS}}


def when(moment: Any, now_s: float) -> float | None:
    """Return a moment in seconds since the epoch: a number is that, a text is how long ago.

    Examples
    --------
    >>> when("10 s", 100.0), when(7, 100.0), when(None, 100.0)
    (90.0, 7.0, None)
    """
    if moment is None:
        return None
    if isinstance(moment, str):
        return now_s - config.parse_timedelta(moment)
    try:
        return float(moment)
    except TypeError:
        raise TypeError(
            "start and stop are seconds since the epoch, or texts that say how long ago ('10 s'); "
            f"this is a {type(moment).__name__}"
        ) from None
