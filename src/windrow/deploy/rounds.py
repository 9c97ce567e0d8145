"""Something that is done every now and then on an event loop.

What lives here: `Rounds`. What this file must never know: what is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Rounds"]


class Rounds:
    """A coroutine function that is called every now and then on a loop, the first time at once.

    Parameters
    ----------
    callback
        What is called; it may take longer than the time to the next call.
    interval_s
        The time from call to call.
    """

    def __init__(self, callback: Callable[[], Coroutine[Any, Any, None]], interval_s: float) -> None:
        self.callback = callback
        self.interval_s = interval_s
        self._next: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Rounds every {self.interval_s:g} s, {'running' if self.is_running() else 'stopped'}>"

    @property
    def callback_time(self) -> float:
        """The time from call to call in milliseconds."""
        return self.interval_s * 1e3

    def is_running(self) -> bool:
        """Whether there is a next call."""
        return self._next is not None

    def start(self) -> None:
        """Begin (on the loop)."""
        if self._next is None:
            self._call()

    def stop(self) -> None:
        """End (on the loop); a call that is under way goes on."""
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def cancel(self) -> None:
        """End, and cancel what is under way."""
        self.stop()
        for task in self._tasks:
            task.cancel()

    def _call(self) -> None:
        self._next = asyncio.get_running_loop().call_later(self.interval_s, self._call)
        task = asyncio.get_running_loop().create_task(self.callback())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
