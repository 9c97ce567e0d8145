"""``/eventstream``: what happens in the scheduler, as it happens, over a websocket.

What lives here: the websocket, and how much of it may wait for one listener. What this file must never know: what the
events are.
"""

from __future__ import annotations

import json
import time
from asyncio import Future
from typing import Any

from tornado.web import RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from windrow.observe.app import Answer

__all__ = ["ROUTES", "Events"]

BACKLOG = 2_000
"""Who has so many events still to take in is let go."""


class Events(Answer, WebSocketHandler):
    """One listener; it is told each event as JSON with a ``name``, and answered "pong" to "ping"."""

    waiting = 0
    """How many events the network has not taken yet."""

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Become a websocket; who asks for none is told that this is one."""
        if self.request.headers.get("Upgrade", "").lower() == "websocket":
            await super().get(*args, **kwargs)
        else:
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.write("This is a websocket: it tells what happens in the scheduler, an event a message, as JSON.\n")

    def open(self, *args: str) -> None:
        """Begin to tell."""
        self.site.listeners += 1
        self.site.source.listen(self.tell)

    def on_close(self) -> None:
        """Tell no more."""
        if self.site.source.unlisten(self.tell):
            self.site.listeners -= 1

    def on_message(self, message: str | bytes) -> None:
        """Answer "ping", in plain text or as JSON with that name."""
        if message == "ping" or _name_of(message) == "ping":
            self.tell({"name": "pong", "time": time.time()})

    def tell(self, event: dict[str, Any]) -> None:
        """Tell an event, unless too many wait to be taken in."""
        if self.waiting > BACKLOG:
            self.close(1008, "you do not take in what you are told")
            return
        try:
            written = self.write_message(json.dumps(event, default=str))
        except WebSocketClosedError:  # it has gone, and `on_close` comes
            return
        self.waiting += 1
        written.add_done_callback(self._on_written)

    def _on_written(self, written: Future[None]) -> None:
        self.waiting -= 1
        written.exception()  # that it has gone meanwhile is no news


def _name_of(message: str | bytes) -> object:
    try:
        said = json.loads(message)
    except ValueError:
        return None
    return said.get("name") if isinstance(said, dict) else None


ROUTES: dict[str, type[RequestHandler]] = {"/eventstream": Events}
