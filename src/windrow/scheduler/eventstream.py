"""What happens in the scheduler, passed on to those who look on: only while somebody does, and not without limit.

What lives here: `EventStream`. What this file must never know: how anything is decided, and what is shown.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from windrow.scheduler.news import Asked, Came, Left, Restarted
from windrow.scheduler.plugins import SchedulerPlugins
from windrow.transport import Link
from windrow.wire.messages import Happened

__all__ = ["EventStream"]

EVENTS_MAX = 500
"""So many events a second are told; of more, that there were so many more."""


class EventStream:
    """The events of one scheduler, for observers.

    Parameters
    ----------
    plugins
        Who is told of news.
    """

    def __init__(self, plugins: SchedulerPlugins) -> None:
        self._plugins = plugins
        self._listeners: dict[Link, None] = {}
        self._told: list[dict[str, Any]] = []
        self._flush: asyncio.TimerHandle | asyncio.Handle | None = None
        self._second_s = 0.0
        self._count = 0
        self._dropped = 0

    def __repr__(self) -> str:
        return f"<EventStream listeners={len(self._listeners)}>"

    def listen(self, link: Link, on: bool) -> None:
        """Have somebody hear what happens from now on, or no more."""
        if on:
            self._listeners[link] = None
        else:
            self._listeners.pop(link, None)
        self._plugins.listen(self._take if self._listeners else None)

    def forget(self, link: Link) -> None:
        """Somebody is gone."""
        if link in self._listeners:
            self.listen(link, on=False)

    def _take(self, event: Any) -> None:
        describe = _DESCRIBE.get(type(event))
        if describe is None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() - self._second_s >= 1.0:
            self._second_s, self._count = loop.time(), 0
        if self._count >= EVENTS_MAX:
            self._dropped += 1
            if self._flush is None:
                self._flush = loop.call_at(self._second_s + 1.0, self._send)
            return
        self._count += 1
        self._told.append({"time": time.time(), **describe(event)})
        if self._flush is None:
            self._flush = loop.call_soon(self._send)

    def _send(self) -> None:
        told, self._told, self._flush = self._told, [], None
        if self._dropped:
            told.append({"time": time.time(), "name": "dropped", "count": self._dropped})
            self._dropped = 0
        for link in self._listeners:
            if not link.is_congested:  # who takes in nothing is told nothing: its buffers would grow without an end
                link.send([Happened(told)])


_DESCRIBE: dict[type, Callable[[Any], dict[str, Any]]] = {
    Came: lambda event: {"name": f"add_{event.kind}", event.kind: event.id},
    Left: lambda event: {"name": f"remove_{event.kind}", event.kind: event.id},
    Asked: lambda event: {"name": "update_graph", "client": event.client, "tasks": len(event.message.keys)},
    Restarted: lambda event: {"name": "restart"},
}
"""How events look; none takes longer for more tasks."""
