"""How the tests of this directory wait, and what they have workers run."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

LIMIT_S = 15.0
POLL_S = 0.01


async def until(happens: Callable[[], object], what: str = "", limit_s: float = LIMIT_S) -> None:
    """Wait for a condition that nothing announces, and let the loop go on."""
    end = time.monotonic() + limit_s
    while not happens():
        assert time.monotonic() < end, f"not within {limit_s:g} s: {what or happens}"
        await asyncio.sleep(POLL_S)


def wait_for_file(path: str, limit_s: float = LIMIT_S) -> str:
    """Be a task until a file is there."""
    end = time.monotonic() + limit_s
    Path(f"{path}.up").touch()
    while not os.path.exists(path):
        assert time.monotonic() < end, f"{path} is not there"
        time.sleep(POLL_S)
    return path


def inc(x: int) -> int:
    return x + 1


def big(n: int) -> bytes:
    return bytes(100_000) + bytes([n % 256])
