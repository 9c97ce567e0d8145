"""Functions that the tests of this directory run as tasks; light, as every worker imports it."""

from __future__ import annotations

import os
import time


def inc(x: int) -> int:
    return x + 1


def wait_for(path: str) -> None:
    end = time.monotonic() + 30
    while not os.path.exists(path) and time.monotonic() < end:
        time.sleep(0.005)


def pid() -> int:
    return os.getpid()
