"""The process that answers on a dashboard's sockets, seen from the one that starts it.

What lives here: `HttpProcess`, one life of it, in a thread that waits for its end. What this file must never know: when
it is to start, what it shows.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from windrow import offspring

__all__ = ["HttpProcess"]

MODULE = "windrow.observe.__main__"
LAST_LINES = 20
LINE_BYTES = 4096


class HttpProcess:
    """One process, from its start to its end.

    Parameters
    ----------
    sockets
        Descriptors of listening sockets, which it inherits.
    options
        What it reads from its standard input: plain data, secrets too.
    on_end
        Called at its end, in a thread, once.

    Attributes
    ----------
    pid : int or None
        None until it is started.
    seconds : float
        How long it has lived, once it has ended.
    account : str
        How it ended, and its last words; "" where it ended by itself and in good order.

    Examples
    --------
    >>> HttpProcess([sock.fileno()], {}, print)  # doctest: +SKIP
    """

    def __init__(self, sockets: Sequence[int], options: Mapping[str, Any], on_end: Callable[[], None]) -> None:
        self.pid: int | None = None
        self.seconds = 0.0
        self.account = ""
        self._sockets = tuple(sockets)
        self._options = dict(options)
        self._on_end = on_end
        self._lock = threading.Lock()  # between the start, in the thread, and `kill`
        self._unwanted = False
        self._popen: subprocess.Popen[bytes] | None = None
        # One thread for all its life: the kernel ends the process with the thread that has started it.
        threading.Thread(target=self._live, name="dashboard", daemon=True).start()

    def __repr__(self) -> str:
        return f"<HttpProcess pid={self.pid}>"

    def kill(self) -> None:
        """End it at once; from any thread."""
        with self._lock:
            self._unwanted = True
            if self._popen is not None and self._popen.returncode is None:
                self._popen.kill()

    def _live(self) -> None:
        started_s = time.monotonic()
        try:
            self.account = self._run()
        except (OSError, ValueError) as error:  # the system starts no process, or the sockets are closed meanwhile
            self.account = "" if self._unwanted else f"could not be started: {error}"
        self.seconds = time.monotonic() - started_s
        self._on_end()

    def _run(self) -> str:
        with self._lock:
            if self._unwanted:
                return ""
            popen = self._popen = subprocess.Popen(
                offspring.command(MODULE),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=self._sockets,
                start_new_session=True,  # Ctrl-C in the terminal is not for it
            )
        self.pid = popen.pid
        assert popen.stdin is not None
        assert popen.stderr is not None
        options = {**self._options, "sockets": self._sockets, "parent_pid": os.getpid()}
        last: deque[bytes] = deque(maxlen=LAST_LINES)
        with popen.stderr, popen.stdin:
            try:
                popen.stdin.write(json.dumps(options).encode() + b"\n")
                popen.stdin.flush()
            except BrokenPipeError:  # it is dead already; its last words tell why
                pass
            while line := popen.stderr.readline(LINE_BYTES):
                last.append(line)
            code = popen.wait()
        return "" if code == 0 else _account(code, last)


def _account(code: int, last: Sequence[bytes]) -> str:
    if code < 0:
        try:
            end = f"was killed by {signal.Signals(-code).name}"
        except ValueError:  # a real-time signal has no name
            end = f"was killed by signal {-code}"
    else:
        end = f"exited with code {code}"
    words = " | ".join(text for line in last if (text := line.decode(errors="replace").rstrip()))
    return f"{end}; its last words: {words}" if words else end
