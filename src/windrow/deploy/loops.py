"""Which event loop a cluster is to use, of what was given as ``loop``.

What lives here: `own_loop` and `thread_of`. What this file must never know: clusters.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import Any, cast

from windrow import config
from windrow.runtime import LoopThread

__all__ = ["own_loop", "thread_of"]


def own_loop(loop: Any) -> asyncio.AbstractEventLoop | None:
    """Return the event loop of what was given as ``loop``, if anything was."""
    loop = getattr(loop, "asyncio_loop", loop)  # as Tornado's loops have it
    return cast("asyncio.AbstractEventLoop | None", getattr(loop, "loop", loop))


def thread_of(loop: Any, name: str) -> tuple[LoopThread, bool]:
    """Return the thread whose loop a synchronous cluster is to use, and whether it is the cluster's own to stop."""
    if loop is None:
        return LoopThread(name), True
    if isinstance(loop, LoopThread):
        if not loop.is_running:
            raise ValueError(f"loop={loop!r} is stopped; leave loop out, and the cluster has one of its own")
        return loop, False
    given = own_loop(loop)
    if not isinstance(given, asyncio.AbstractEventLoop):
        raise TypeError(f"loop must be a LoopThread or an event loop that runs in another thread, not {loop!r}")
    if not given.is_running():
        raise ValueError(f"loop={loop!r} does not run; leave loop out, and the cluster has one of its own")
    found: concurrent.futures.Future[int] = concurrent.futures.Future()
    given.call_soon_threadsafe(lambda: found.set_result(threading.get_ident()))
    try:
        if asyncio.get_running_loop() is given:
            raise ValueError("loop= is the loop that runs in this thread, which must not block: use asynchronous=True")
    except RuntimeError:  # no loop runs here
        pass
    return LoopThread.around(given, found.result(config.seconds("distributed.comm.timeouts.connect"))), False
