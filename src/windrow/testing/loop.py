"""An event loop of virtual time: code that awaits runs on a `Clock`, and hours pass at once.

What lives here: `VirtualLoop`, which has what coroutines need: callbacks, timers, futures, tasks. What this file must
never know: sockets (it has none), threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple

from windrow.testing.network import Clock

__all__ = ["VirtualLoop"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class VirtualLoop(asyncio.AbstractEventLoop):
    """A loop whose time is that of a clock; it goes on only while somebody runs it.

    Parameters
    ----------
    clock
        What else happens in that time, happens in between.

    Examples
    --------
    >>> loop = VirtualLoop(Clock())
    >>> loop.run(asyncio.sleep(3600, "an hour later"), limit_s=4000.0)
    'an hour later'
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.failures: list[dict[str, Any]] = []
        """What callbacks and tasks have raised, and nobody took."""
        self._running = False
        self._closed = False

    def __repr__(self) -> str:
        return f"<VirtualLoop now_s={self.clock.now_s:.6f}>"

    def run(self, coroutine: Coroutine[Any, Any, T], limit_s: float) -> T:
        """Run a coroutine to its end, and return its value; TimeoutError if it takes longer."""
        task = asyncio.Task(coroutine, loop=self)
        self.run_until(task.done, limit_s)
        return task.result()

    def run_until(self, happened: Callable[[], object], limit_s: float) -> None:
        """Let time pass until something has happened.

        Raises
        ------
        TimeoutError
            It does not happen within so many seconds of virtual time, or there is nothing left that could happen.
        """
        end_s = self.clock.now_s + limit_s
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        self._running = True
        try:
            while not happened():
                if self.clock.now_s > end_s or not self.clock.step():
                    raise TimeoutError(f"it has not happened within {limit_s:g} s")
        finally:
            self._running = False
            asyncio._set_running_loop(before)
        assert not self.failures, self.failures

    # -- what asyncio asks of a loop

    def time(self) -> float:
        return self.clock.now_s

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self.clock.after(0.0, lambda: self._run(handle))
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self.clock.at(when, lambda: self._run(handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Leave it on the clock, where nothing happens at its time."""

    @staticmethod
    def _run(handle: asyncio.Handle) -> None:
        if not handle.cancelled():
            handle._run()
