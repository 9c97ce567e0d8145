"""How the tests of this directory wait, look at processes, and run programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

import psutil
from process_tasks import LIMIT_S, POLL_S

# ---------------------------------------------------------------- waiting


def until(happens: Callable[[], object], what: str = "", limit_s: float = LIMIT_S) -> None:
    """Wait for a condition that nothing announces."""
    end = time.monotonic() + limit_s
    while not happens():
        assert time.monotonic() < end, f"not within {limit_s:g} s: {what or happens}"
        time.sleep(POLL_S)


def until_file(path: Path, limit_s: float = LIMIT_S) -> str:
    """Wait for a file that appears whole, and return its text."""
    until(path.exists, f"{path} is there", limit_s)
    return path.read_text()


def is_gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def until_gone(pids: Collection[int], limit_s: float = 2.0) -> None:
    """Wait for processes to end; those that do not are ended here, so that a failure harms no other test."""
    assert pids, "there were processes"
    try:
        until(lambda: all(map(is_gone, pids)), f"{pids} are gone", limit_s)
    except AssertionError:
        for pid in pids:
            if not is_gone(pid):
                os.kill(pid, signal.SIGKILL)
        raise


def family(pid: int | None = None) -> dict[int, str]:
    """Return the living descendants of a process: command lines by pid."""
    found = {}
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = " ".join(process.cmdline())
        except psutil.NoSuchProcess:
            continue  # ended while we looked
    return found


# ---------------------------------------------------------------- programs


def environment(**more: str) -> dict[str, str]:
    """Return the environment for a program as a user starts it; it finds `process_tasks`."""
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    # PYTHONUNBUFFERED would hide what is lost in a buffer; empty, it is as good as not set.
    return {**os.environ, "PYTHONPATH": path.strip(os.pathsep), "PYTHONUNBUFFERED": "", **more}


def run_python(*arguments: str, text: str = "", cwd: Path | None = None, **env: str) -> tuple[str, str]:
    """Run Python to its good end; return what it wrote to stdout and stderr."""
    done = subprocess.run(
        [sys.executable, *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        cwd=cwd,
        env=environment(**env),
        check=False,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout, done.stderr
