"""What changes in a document, sent as one patch a turn, and turns further apart while others need the processors.

What lives here: the connection to a browser that gathers changes, and `Turns`, which says when the next turn may be.
What this file must never know: what has changed.

Bokeh sends a patch for each column source that changes, and looks at all models of the document for each patch: for a
page with eight plots that was half of what an update took.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from windrow.observe.spare import Spare

if TYPE_CHECKING:
    from bokeh.server.tornado import BokehTornado

__all__ = ["Turns", "gathering"]

SLOWEST = 5
"""So many times as far apart turns are at most."""
BUDGET = 0.01
"""Of a processor: so much all pages may take while there is none."""


class Turns:
    """How far apart the updates of all pages are: further, where they would take more than their budget.

    Parameters
    ----------
    spare
        Whether there is a processor to spare.
    usual_s
        How far apart turns are while there is.

    Examples
    --------
    >>> turns = Turns(Spare(), 1.0)
    >>> turns.update(now_s=0.0, spent_s=0.0), turns.update(now_s=2.0, spent_s=0.04)
    (1.0, 2.0)
    """

    def __init__(self, spare: Spare, usual_s: float) -> None:
        self.period_s = self._usual_s = usual_s
        self._spare = spare
        self._last = (0.0, 0.0)
        self._is_first = True

    def is_due(self, since_s: float) -> bool:
        """Say whether a document is to be updated that was so long ago; asked for each as often as is usual."""
        self.update(time.monotonic(), time.process_time())
        return since_s >= self.period_s - self._usual_s / 2

    def update(self, now_s: float, spent_s: float) -> float:
        """Take in what time this process has taken of a processor until now; return the period."""
        passed_s, taken_s = now_s - self._last[0], spent_s - self._last[1]
        if self._is_first or passed_s >= self.period_s:
            if self._is_first or self._spare.look():
                self.period_s = self._usual_s
            else:
                wanted_s = self.period_s * taken_s / passed_s / BUDGET
                self.period_s = min(SLOWEST * self._usual_s, max(self._usual_s, wanted_s))
            self._last, self._is_first = (now_s, spent_s), False
        return self.period_s


def gathering() -> type[BokehTornado]:
    """Return a server whose connections gather changes; to be called once Bokeh is loaded."""
    from bokeh.server.connection import ServerConnection
    from bokeh.server.tornado import BokehTornado

    class Connection(ServerConnection):
        def __init__(self, *parts: Any) -> None:
            super().__init__(*parts)
            self._events: list[Any] = []

        def send_patch_document(self, event: Any) -> Awaitable[None]:
            # What is returned is awaited when the turn is over, once for each event: the first sends all.
            self._events.append(event)
            return self._send_all()

        async def _send_all(self) -> None:
            events, self._events = self._events, []
            if events:
                await self._socket.send_message(self.protocol.create("PATCH-DOC", events))

    class Host(BokehTornado):
        def new_connection(
            self, protocol: Any, socket: Any, application_context: Any, session: Any
        ) -> ServerConnection:
            connection = Connection(protocol, socket, application_context, session)
            self._clients.add(connection)
            return connection

    return Host
