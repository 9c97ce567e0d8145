"""Functions that the tests of this directory run as tasks; light, as every worker imports it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

LIMIT_S = 15.0
POLL_S = 0.002


class Oops(Exception):
    """An error with facts, of a class that lives in a module."""

    def __init__(self, number: int, *, why: str = "because") -> None:
        super().__init__(number)
        self.number = number
        self.why = why


class Sealed:
    """Holds what cannot be pickled."""

    def __init__(self) -> None:
        self.door = {"handle": sys._getframe()}


class SealedError(Exception):
    """An exception that cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.frame = sys._getframe()


def inc(x: int, by: int = 1) -> int:
    return x + by


def identity(x: Any) -> Any:
    return x


def fail(x: int, *rest: object) -> None:
    _deeper(x)


def _deeper(x: int) -> None:
    raise Oops(x, why="deeper down")


def fail_with_cause(text: str) -> None:
    try:
        {}["key"]
    except KeyError as error:
        raise ValueError(text) from error


def fail_until(path: str, times: int) -> int:
    """Raise so many times; return how often it has been called."""
    with open(path, "a") as file:
        file.write(".")
    calls = os.path.getsize(path)
    if calls <= times:
        raise Oops(calls)
    return calls


def pid(*anything: object) -> int:
    return os.getpid()


def note(path: str, line: object) -> object:
    """Add a line to a file, in one write."""
    with open(path, "a") as file:
        file.write(f"{line}\n")
    return line


def until_there(path: str, *anything: object) -> int:
    """Wait for a file, as a task that takes long does; return this process's id."""
    end = time.monotonic() + LIMIT_S
    while not os.path.exists(path):
        if time.monotonic() > end:
            raise TimeoutError(f"{path} is not there")
        time.sleep(POLL_S)
    return os.getpid()


def announce_and_wait(started: str, go: str) -> int:
    """Say that this has begun, by its process's id in a file, and wait for another file."""
    announce(started)
    return until_there(go)


def announce(path: str) -> None:
    """Put this process's id into a file, whole or not at all."""
    draft = Path(f"{path}.{os.getpid()}")
    draft.write_text(str(os.getpid()))
    draft.replace(path)


def spin(started: str) -> None:
    """Hold the interpreter's lock in C code for longer than any test."""
    announce(started)
    sum(range(10**13))


def tiny(x: int) -> int:
    """About a tenth of a millisecond."""
    end = time.perf_counter() + 1e-4
    while time.perf_counter() < end:
        pass
    return x + 1


def die(how: str) -> None:
    """End this process."""
    import ctypes
    import signal

    print("famous last words", file=sys.stderr, flush=True)
    if how == "fat":
        fat = os.urandom(4096) * 70_000  # 280 MB
        os._exit(len(fat) and 4)
    elif how == "exit":
        os._exit(3)
    elif how == "segv":
        ctypes.string_at(0)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def die_once(path: str, x: int) -> int:
    """End this process the first time; then return."""
    if not os.path.exists(path):
        announce(path)
        os._exit(1)
    return x


def start_sleeper(started: str) -> None:
    """Start a process that goes on for longer than any test, and wait for it."""
    import subprocess

    sleeper = "import sys; sys.path[:] = {}; import process_tasks as tasks; tasks.announce_and_wait({!r}, 'never')"
    subprocess.run([sys.executable, "-c", sleeper.format(sys.path, started)], check=True)


def wait_for_file(path: str) -> bool:
    while not os.path.exists(path):
        time.sleep(POLL_S)
    return True


def some_bytes(n: int, gate: object) -> bytes:
    return bytes(8_000)


def blob_list(count: int, seed: int) -> list[bytes]:
    """Return so many MB, all of which are copied when they are pickled."""
    return [bytes([seed + n]) * 1_000_000 for n in range(count)]
