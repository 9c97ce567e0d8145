"""The one thread that runs a client's done-callbacks.

What lives here: its queue and its life. What this file must never know: futures and messages.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

log = logging.getLogger("windrow.client")


class CallbackThread:
    """Runs functions one after another; the thread is there from the first one on, until ``stop``.

    Examples
    --------
    >>> thread, done = CallbackThread("example"), threading.Event()
    >>> thread.start()
    >>> thread(done.set)
    >>> done.wait(5)
    True
    >>> thread.stop()
    """

    __slots__ = ("_name", "_queue", "_thread")

    def __init__(self, name: str) -> None:
        self._name = name
        # SimpleQueue may be put to from anywhere, the collector included.
        self._queue: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def __call__(self, call: Callable[[], object]) -> None:
        """Run this some time soon."""
        self._queue.put(call)

    def start(self) -> None:
        """See that the thread is there."""
        if self._thread is None:
            self._thread = threading.Thread(target=_run, args=(self._queue,), name=self._name, daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> None:
        """End the thread after what is queued already; wait for it a little, unless this is it."""
        thread = self._thread
        if thread is None:
            return
        self._queue.put(None)
        if thread is not threading.current_thread():
            thread.join(timeout_s)


def _run(queue: SimpleQueue[Callable[[], object] | None]) -> None:
    while (call := queue.get()) is not None:
        try:
            call()
        except Exception:
            log.exception("a done-callback raised; the callbacks after it are called all the same")
        del call
