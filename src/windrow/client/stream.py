"""The task stream as a client has it: its rows, put together from many answers, and the records that users see.

What lives here: steps that ask, and the context manager `get_task_stream`. What this file must never
know: how rows are noted and kept, and how they are drawn.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from windrow.client import calls
from windrow.client.in_task import get_client
from windrow.client.session import Session
from windrow.client.waiting import Steps
from windrow.drawing import figures
from windrow.drawing import stream as boxes
from windrow.drawing.records import COLUMNS, HELD_S, Rows, chosen, gather, records, when
from windrow.wire import requests as r

if TYPE_CHECKING:
    from windrow.client.client import Client

__all__ = ["HELD_S", "Rows", "begin", "chosen", "end", "figure", "get_task_stream", "records", "rows", "when"]

LEASE_S = 10 * 365 * 86400.0
"""For who says when it is over; it is over when the client leaves, too."""


# ---------------------------------------------------------------- steps


def rows(session: Session, since: int, keep_s: float = HELD_S, lease: str = "") -> Steps[Rows]:
    """All rows from a number on, that are still kept."""
    found: Rows = {name: [] for name in COLUMNS}
    while True:
        answer = yield from calls.ask_value(session, r.TaskStream(since, 5000, True, keep_s, lease))
        since = answer["next"]
        if gather(found, answer):
            return found


def begin(session: Session, lease: str) -> Steps[tuple[int, float]]:
    """Have every task noted; the number of the first row that is to come, and the time."""
    answer = yield from calls.ask_value(session, r.TaskStream(0, 0, True, LEASE_S, lease))
    return answer["end"], answer["now"]


def end(session: Session, since: int, lease: str) -> Steps[Rows]:
    """All rows since `begin`, which is over with that."""
    found = yield from rows(session, since, LEASE_S, lease)
    yield from calls.ask_value(session, r.TaskStream(0, 0, True, 0.0, lease))
    return found


# ---------------------------------------------------------------- a figure


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
