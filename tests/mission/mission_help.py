"""How the tests of the mission wait, run programs, and what their tasks do."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import psutil

from windrow import LocalCluster

LIMIT_S = 20.0


def until(happens: Callable[[], object], what: str = "") -> None:
    """Wait for a condition that nothing announces."""
    end = time.monotonic() + LIMIT_S
    while not happens():
        assert time.monotonic() < end, f"not within {LIMIT_S:g} s: {what or happens}"
        time.sleep(0.01)


def run_program(source: str, *arguments: str, **env: str) -> tuple[str, str]:
    """Run a program to its good end; return what it wrote to stdout and stderr."""
    done = subprocess.run(
        [sys.executable, *arguments, "-c", source],
        capture_output=True,
        text=True,
        timeout=3 * LIMIT_S,
        env={**os.environ, **env},
        check=False,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout, done.stderr


def family() -> set[int]:
    """Return the process ids of this process's living descendants."""
    children = psutil.Process().children(recursive=True)
    return {child.pid for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE}


def workers_of(cluster: LocalCluster) -> list[dict[str, object]]:
    """Return what is known of the workers."""
    return list(cluster.scheduler_info["workers"].values())
