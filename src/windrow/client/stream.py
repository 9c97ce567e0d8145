"""The task stream as a client has it: its rows, put together from many answers, and the records that users see.

What lives here: steps that ask, `Rows`, `records`, and the context manager `get_task_stream`. What this file must never
know: how rows are noted and kept, and how they are drawn.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from windrow import config
from windrow.client import calls
from windrow.client.in_task import get_client
from windrow.client.session import Session
from windrow.client.waiting import Steps
from windrow.drawing import figures
from windrow.drawing import stream as boxes
from windrow.keys import from_plain
from windrow.wire import messages as m
from windrow.wire.activity import ACTIONS, COMPUTE, ERRED

if TYPE_CHECKING:
    from windrow.client.client import Client

__all__ = ["HELD_S", "Rows", "begin", "end", "figure", "get_task_stream", "records", "rows", "when"]

Rows = dict[str, Any]
"""Columns, as in ``scheduler.recording.rows``."""

HELD_S = 3600.0
"""So long after ``Client.get_task_stream`` tasks are still noted for the next one."""

LEASE_S = 10 * 365 * 86400.0
"""For who says when it is over; it is over when the client leaves, too."""

COLUMNS = ("keys", "functions", "words", "workers", "kinds", "threads", "starts", "seconds", "nbytes")


# ---------------------------------------------------------------- steps


def rows(session: Session, since: int, keep_s: float = HELD_S, lease: str = "") -> Steps[Rows]:
    """All rows from a number on, that are still kept."""
    found: Rows = {name: [] for name in COLUMNS}
    while True:
        answer = yield from calls.ask_value(session, m.TaskStream(since, 5000, True, keep_s, lease))
        for name in COLUMNS:
            found[name] += answer[name]
        since = answer["next"]
        if since >= answer["end"]:
            found["keys"] = [from_plain(key) for key in found["keys"]]
            found.update(addresses=answer["addresses"], now=answer["now"], first=answer["first"])
            return found


def begin(session: Session, lease: str) -> Steps[tuple[int, float]]:
    """Have every task noted; the number of the first row that is to come, and the time."""
    answer = yield from calls.ask_value(session, m.TaskStream(0, 0, True, LEASE_S, lease))
    return answer["end"], answer["now"]


def end(session: Session, since: int, lease: str) -> Steps[Rows]:
    """All rows since `begin`, which is over with that."""
    found = yield from rows(session, since, LEASE_S, lease)
    yield from calls.ask_value(session, m.TaskStream(0, 0, True, 0.0, lease))
    return found


# ---------------------------------------------------------------- records


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


def figure(found: Rows) -> Any:
    """Return the figure of rows, by Bokeh."""
    lanes = boxes.Lanes(found)
    columns = boxes.boxes_of(found, lanes)
    return figures.stream(columns, lanes.names())


# ---------------------------------------------------------------- a block of code


class get_task_stream:  # lower case: it is used like a function
    """Collect what threads do within a ``with`` block, for whichever client.

    Parameters
    ----------
    client
        Whose cluster; by default that of the current client.
    plot
        Whether to draw it: True, or ``"save"``, which writes a file too. It takes Bokeh.
    filename
        Of that file.

    Attributes
    ----------
    data : list of dict
        A record for each attempt; see ``Client.get_task_stream``. Empty until the block ends.
    figure : bokeh.plotting.figure
        With ``plot``: the figure.

    Examples
    --------
    >>> with get_task_stream() as stream:  # doctest: +SKIP
    ...     client.submit(abs, -1).result()
    >>> stream.data[0]["typename"]  # doctest: +SKIP
    'int'
    """

    def __init__(
        self, client: Client | None = None, plot: bool | str = False, filename: str = "task-stream.html"
    ) -> None:
        checked_plot(plot)
        self._plot = plot
        self._filename = filename
        self._client: Any = client or get_client()
        self._lease = f"stream-{os.urandom(8).hex()}"
        self._since = 0
        self.data: list[dict[str, Any]] = []
        self.figure: Any = None

    def __enter__(self) -> get_task_stream:
        self._since, _ = self._run(False, begin(self._client.session, self._lease))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._take(self._run(False, end(self._client.session, self._since, self._lease)))

    async def __aenter__(self) -> get_task_stream:
        self._since, _ = await self._run(True, begin(self._client.session, self._lease))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._take(await self._run(True, end(self._client.session, self._since, self._lease)))

    def _run(self, is_async: bool, steps: Steps[Any]) -> Any:
        return self._client.run_block(steps, "get_task_stream", is_async)

    def _take(self, found: Rows) -> None:
        self.data += records(found)
        if self._plot:
            self.figure = figure(found)
            if self._plot == "save":
                figures.save(self.figure, self._filename, "Task Stream")


def checked_plot(plot: object) -> None:
    """Refuse what is no choice of ``plot``, and one that takes a Bokeh that is not there."""
    if plot not in (False, True, "save"):
        raise ValueError(f"plot must be False, True or 'save', not {plot!r}")
    if plot and not figures.is_there():
        raise ImportError(figures.NEEDS_BOKEH, name="bokeh")
