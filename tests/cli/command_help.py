"""Commands as users run them, in processes of their own; their output is read while they run."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from typing import Any

LIMIT_S = 30.0
CLOSE_S = 10.0


class Command:
    """``windrow …``, running."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "windrow.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment},
        )
        self.output = ""
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def line(self, words: str) -> str:
        """Wait for a line with these words, and return it."""
        for line in self.output.splitlines():
            if words in line:
                return line
        end_s = time.monotonic() + LIMIT_S
        while True:
            line = self._lines.get(timeout=max(0.01, end_s - time.monotonic()))
            assert line is not None, f"it ended, and has not said {words!r}:\n{self.output}"
            self.output += line
            if words in line:
                return line.rstrip("\n")

    def signal(self, number: int) -> None:
        """Send a signal to this process alone."""
        self.process.send_signal(number)

    def end(self, number: int | None = None) -> int:
        """Send a signal, if one is given; return the exit code when the process has ended."""
        if number is not None:
            self.signal(number)
        code = self.process.wait(LIMIT_S)
        while (line := self._lines.get(timeout=LIMIT_S)) is not None:
            self.output += line
        self._lines.put(None)
        return code

    def kill(self) -> None:
        """See that it is gone."""
        if self.process.poll() is None:
            self.signal(signal.SIGKILL)
        self.process.wait(LIMIT_S)


class Terminals:
    """What a user has started, at so many terminals."""

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def __call__(self, *arguments: str, **environment: str) -> Command:
        command = Command(*arguments, **environment)
        self.commands.append(command)
        return command

    def scheduler(self, *arguments: str, **environment: str) -> tuple[Command, str]:
        """Start a scheduler on any port, without a dashboard; return it and its address."""
        command = self("scheduler", "--port", "0", "--no-dashboard", *arguments, **environment)
        return command, command.line("Scheduler at ").split()[-1]

    def worker(self, *arguments: str, **environment: str) -> Command:
        """Start a worker of one thread, and wait until it has joined."""
        command = self("worker", "--nthreads", "1", "--no-dashboard", *arguments, **environment)
        command.line("of the scheduler at ")
        return command

    def close(self) -> None:
        """End all, the latest first; a scheduler that lives on has forgotten its workers then."""
        for command in reversed(self.commands):
            if command.process.poll() is None:
                command.signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    command.process.wait(CLOSE_S)
            command.kill()


def worker_facts(client: Any) -> dict[str, Any]:
    """Return what the scheduler says of its workers, by name."""
    return {worker["name"]: worker for worker in client.scheduler_info()["workers"].values()}


def wait_until(condition: Any, what: str) -> None:
    """Wait until something holds."""
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end_s, what
        time.sleep(0.01)
