"""Processes of windrow's own that end with whoever started them: how they are called, and what ties them.

What lives here: the command line of such a process, and the lifeline on its standard input. What this file must never
know: what they do.

The standard input begins with a line of options, so that nothing secret is on a command line or in the environment; the
rest of it is the lifeline: when it ends, so does the process.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

__all__ = ["command", "die_with", "take_lifeline", "watch_lifeline"]

PR_SET_PDEATHSIG = 1

_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_START = """\
import sys, typing
sys.path.insert(0, sys.argv.pop())
import windrow
del sys.path[0]
from importlib import import_module
import_module(sys.argv.pop()).main()
"""
# As ``python -m``, but without the current directory on the path, whose modules might stand before those of the
# standard library; and with this very windrow, however the user's program has found it.


def command(module: str) -> list[str]:
    """Return the command line that calls ``main`` of a module in a fresh interpreter.

    Examples
    --------
    >>> command("windrow.worker.__main__")[-2]
    'windrow.worker.__main__'
    """
    return [sys.executable, "-P", "-c", _START, module, _HOME]


def take_lifeline() -> int:
    """Move the lifeline away from descriptor 0, and return where it is: nobody else reads from it, no child has it.

    Examples
    --------
    >>> lifeline = take_lifeline()  # doctest: +SKIP
    """
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return lifeline


def watch_lifeline(lifeline: int, end: Callable[[], None], heard: Callable[[bytes], object] | None = None) -> None:
    """Wait for the end of the lifeline (in a thread), call ``end``, and end this process, whatever it is doing.

    What is said there until then is handed to ``heard``.

    Examples
    --------
    >>> watch_lifeline(take_lifeline(), lambda: None)  # doctest: +SKIP
    """
    while said := os.read(lifeline, 4096):
        if heard is not None:
            heard(said)
    end()
    os._exit(0)


def die_with(parent_pid: int) -> None:
    """Have the kernel end this process with the thread that started it, even while C code holds the interpreter.

    The lifeline ends at the same moment, and its thread may have something to do then; SIGKILL from the kernel
    would come before it. So the kernel sends SIGHUP, whose handler is the C function ``alarm``: called with the number
    of the signal, which is 1, it has SIGALRM end this process a second later, if the thread could not.

    Examples
    --------
    >>> die_with(os.getppid())  # doctest: +SKIP
    """
    if sys.platform != "linux":
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    libc.signal.restype = ctypes.c_void_p
    libc.signal(signal.SIGHUP, ctypes.cast(libc.alarm, ctypes.c_void_p))
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGHUP)
    if os.getppid() != parent_pid:  # it died before the call
        os._exit(0)
