"""Functions that the tests of this directory run as tasks; light, as every worker imports it."""

from __future__ import annotations

import os


def inc(x: int) -> int:
    return x + 1


def pid() -> int:
    return os.getpid()
