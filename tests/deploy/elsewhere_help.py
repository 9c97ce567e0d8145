"""How tests of parties elsewhere wait, and look at processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

import psutil

LIMIT_S = 20.0


def until(happens: Callable[[], object], what: str, limit_s: float = LIMIT_S) -> None:
    """Wait for a condition that nothing announces."""
    end = time.monotonic() + limit_s
    while not happens():
        assert time.monotonic() < end, f"not within {limit_s:g} s: {what}"
        time.sleep(0.01)


def descendants(pid: int | None = None) -> list[psutil.Process]:
    """Return the living processes that descend from one."""
    return [process for process in psutil.Process(pid).children(recursive=True) if is_there(process)]


def is_there(process: psutil.Process) -> bool:
    """Whether a process has not ended."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def until_gone(processes: Collection[psutil.Process], limit_s: float = 5.0) -> None:
    """Wait for processes to end; those that do not are ended here, so that a failure harms no other test."""
    assert processes, "there were processes"
    try:
        until(lambda: not any(map(is_there, processes)), f"{processes} are gone", limit_s)
    finally:
        for process in filter(is_there, processes):
            process.kill()


def exposed(process: psutil.Process) -> str:
    """Return what other users, or programs of this one, can read of a process: its command line, its environment."""
    return " ".join([*process.cmdline(), *(f"{name}={value}" for name, value in process.environ().items())])
