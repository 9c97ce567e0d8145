"""What programs ask ``distributed`` about itself, its system and its process.

What lives here: constants, clocks, the title of a process. What this file must never know: clusters.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
from importlib import metadata
from time import monotonic, process_time, thread_time, time

import windrow
from windrow.system import cpu_count
from windrow.system import memory_limit_bytes as memory_limit

__all__ = [
    "CPU_COUNT",
    "LINUX",
    "MACOS",
    "MEMORY_LIMIT",
    "PYPY",
    "WINDOWS",
    "cpu_count",
    "enable_proctitle_on_children",
    "enable_proctitle_on_current",
    "memory_limit",
    "monotonic",
    "process_time",
    "setproctitle",
    "setproctitle_exec",
    "thread_time",
    "time",
]

__version__ = metadata.version("dask")
"""Programs compare this with the release that has what they need; Dask and its scheduler are released together."""

__git_revision__ = f"windrow-{windrow.__version__}"

LINUX = sys.platform.startswith("linux")
MACOS = sys.platform == "darwin"
WINDOWS = sys.platform.startswith("win")
PYPY = platform.python_implementation() == "PyPy"

CPU_COUNT = cpu_count()
MEMORY_LIMIT = memory_limit()

_TITLED = "WINDROW_PROCESS_TITLE"


def setproctitle(title: str) -> None:
    """Have tools such as ``ps`` show a title for this process, where the package ``setproctitle`` is installed.

    Examples
    --------
    >>> setproctitle("dask worker")  # doctest: +SKIP
    """
    if not os.environ.get(_TITLED):
        return
    try:
        library = importlib.import_module("setproctitle")
    except ImportError:  # a title is a nicety
        return
    library.setproctitle(title)


def setproctitle_exec() -> None:
    """Do nothing: kept for programs that call it.

    Examples
    --------
    >>> setproctitle_exec()
    """


def enable_proctitle_on_current() -> None:
    """Let `setproctitle` have its effect here.

    Examples
    --------
    >>> enable_proctitle_on_current()  # doctest: +SKIP
    """
    enable_proctitle_on_children()


def enable_proctitle_on_children() -> None:
    """Let `setproctitle` have its effect in child processes.

    Examples
    --------
    >>> enable_proctitle_on_children()  # doctest: +SKIP
    """
    os.environ[_TITLED] = "1"
