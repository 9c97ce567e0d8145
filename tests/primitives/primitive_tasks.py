"""How these tests wait, and programs that they run in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIMIT_S = 20.0


def until(happens: Callable[[], object], what: str = "") -> None:
    """Wait for a condition that nothing announces."""
    end = time.monotonic() + LIMIT_S
    while not happens():
        assert time.monotonic() < end, f"not within {LIMIT_S:g} s: {what or happens}"
        time.sleep(0.005)


def in_thread(function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
    """Call a function in a thread; what is returned waits for its result."""
    result: list[Any] = []

    def run() -> None:
        try:
            result.append((True, function(*args)))
        except BaseException as error:
            result.append((False, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def join() -> Any:
        thread.join(LIMIT_S)
        assert result, f"{function} does not return"
        [(good, value)] = result
        if not good:
            raise value
        return value

    return join


class Program:
    """A program in a process of its own, a client of the given scheduler: it prints lines, and is told to go on."""

    def __init__(self, address: str, source: str) -> None:
        head = f"from windrow import *\nimport sys, os, time\nclient = Client({address!r})\n"
        self.process = subprocess.Popen(
            [sys.executable, "-c", head + source],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go_on(self, line: str = "") -> None:
        """Let its ``input()`` return."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """As ``kill -9``."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it, whatever it does."""
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def count_up(path: Path) -> None:
    """Add one to the number in a file, badly: two at a time lose one."""
    number = int(path.read_text())
    time.sleep(0.001)
    path.write_text(str(number + 1))
