"""Workers that die, to see what a program makes of it.

What lives here: `KillWorker`. What this file must never know: who notices.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from typing import Any, Literal

from windrow import config
from windrow.plugins.base import WorkerPlugin

__all__ = ["KillWorker"]


class KillWorker(WorkerPlugin):
    """Ends each worker after a random time.

    Parameters
    ----------
    delay
        The longest that one lives.
    mode
        ``"sys.exit"``: the process exits; ``"graceful"``: the worker leaves in good order, and its nanny starts the
        next; ``"segfault"``: as a defect in native code would end it.

    Examples
    --------
    >>> client.register_plugin(KillWorker("10 s"))  # doctest: +SKIP
    """

    def __init__(
        self, delay: str | float = "100 s", mode: Literal["sys.exit", "graceful", "segfault"] = "sys.exit"
    ) -> None:
        if mode not in ("sys.exit", "graceful", "segfault"):
            raise ValueError(f"mode must be 'sys.exit', 'graceful' or 'segfault', not {mode!r}")
        self.delay = config.parse_timedelta(delay)
        self.mode = mode

    async def setup(self, worker: Any) -> None:
        """Set the time."""
        end = {"sys.exit": _exit, "graceful": _leave, "segfault": _crash}[self.mode]
        asyncio.get_running_loop().call_later(random.random() * self.delay, end, worker)


def _exit(worker: Any) -> None:
    sys.exit(1)


def _leave(worker: Any) -> None:
    worker.background(worker.close(reason="a KillWorker plugin has closed it", nanny=False))


def _crash(worker: Any) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)
