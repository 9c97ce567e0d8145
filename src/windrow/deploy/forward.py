"""What workers write to stderr, passed on to this program's stderr from a thread of its own.

What lives here: `Forwarder`, and the one that all nannies of this process share. What this file must never know: who
wrote what it passes on, or event loops beyond waiting on one.

Nobody may ever wait for whoever reads this program's stderr: a pipe that is full would hold up the scheduler. So what
is passed on waits in a queue of bounded size, and what finds it full is left out, with a note in its place.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

LIMIT_BYTES = 2**20
LINGER_S = 0.5
"""How long the thread waits for more before it ends."""
POLL_S = 0.005


class Forwarder:
    """A queue of things to write or log, in order, and a thread that does so while there are any.

    Parameters
    ----------
    limit_bytes
        How much may wait.

    Examples
    --------
    >>> forwarder = Forwarder()
    >>> forwarder.write(b"")
    >>> asyncio.run(forwarder.drained(timeout_s=5.0))
    True
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a fork must: it has none of its parent's threads, one of which may have held the lock."""
        self._changed = threading.Condition(threading.Lock())
        self._waiting: deque[tuple[int, Callable[[], object]]] = deque()
        self._waiting_bytes = 0
        self._left_out_bytes = 0
        self._busy = False
        self._thread: threading.Thread | None = None

    @property
    def pending(self) -> bool:
        """Whether anything is still to be written."""
        return bool(self._busy or self._waiting or self._left_out_bytes)

    def write(self, data: bytes) -> None:
        """Have this written to `sys.stderr`; returns at once."""
        self._add(len(data), partial(_write, data))

    def log(self, logger: logging.Logger, level: int, text: str, party: str = "") -> None:
        """Have this logged after what was to be written before it; returns at once.

        What handles a log record may write to stderr too, and then waits for its reader. ``party`` is the id of whom it
        is about (`windrow.logs`).
        """
        self._add(len(text), partial(logger.log, level, "%s", text, extra={"party": party}))

    async def drained(self, timeout_s: float) -> bool:
        """Wait until nothing is pending, or for so long; return whether nothing is."""
        end_s = time.monotonic() + timeout_s
        while self.pending and time.monotonic() < end_s:
            await asyncio.sleep(POLL_S)
        return not self.pending

    def _add(self, nbytes: int, action: Callable[[], object]) -> None:
        with self._changed:
            if self._waiting_bytes + nbytes > self.limit_bytes:
                self._left_out_bytes += nbytes
                return
            if self._left_out_bytes:
                self._waiting.append((0, self._note()))
            self._waiting.append((nbytes, action))
            self._waiting_bytes += nbytes
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._serve, name="stderr of workers", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:  # no room for a thread just now; the next call tries again
                    self._thread = None
            else:
                self._changed.notify()

    def _note(self) -> Callable[[], object]:
        """Return what writes a note in the place of what was left out; with the lock held."""
        text = f"\n[windrow: {self._left_out_bytes} bytes of workers' stderr are left out here: they came too fast]\n"
        self._left_out_bytes = 0
        return partial(_write, text.encode())

    def _serve(self) -> None:
        while (action := self._next()) is not None:
            try:
                action()
            except Exception:  # it is closed, or what the user has put there fails
                continue  # and this is where one would have said so

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            self._busy = False
            if not self._waiting and not self._left_out_bytes:
                self._changed.wait(LINGER_S)
            if self._waiting:
                nbytes, action = self._waiting.popleft()
                self._waiting_bytes -= nbytes
            elif self._left_out_bytes:
                action = self._note()
            else:
                self._thread = None
                return None
            self._busy = True
            return action


def _write(data: bytes) -> None:
    stream = sys.stderr
    if stream is not sys.__stderr__:
        stream.write(data.decode(errors="replace"))
        stream.flush()
    elif stream is not None:
        # Past its buffer, whose lock a thread that waits in a write would hold: at the program's end the interpreter
        # wants that lock, and aborts when it does not get it.
        _write_all(stream.fileno(), data)


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(fd, left) :]
        except BlockingIOError:  # somebody has made it non-blocking
            select.select([], [fd], [])


stderr = Forwarder()
"""What all nannies of this process write through."""
os.register_at_fork(after_in_child=stderr.forget)
