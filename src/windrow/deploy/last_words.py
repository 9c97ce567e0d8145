"""The end of what a worker wrote to stderr, and what the interpreter said there of a crash.

What lives here: `Tail`, which keeps the last lines, and `tell_apart`. What this file must never know: processes.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Sequence

from msgspec import Struct

__all__ = ["LastWords", "Tail", "tell_apart"]

LINES_KEPT = 160
"""A stack of a hundred frames must not push out what was written before it."""
LINE_BYTES = 2048
"""So much of the end of a line is kept."""
LINES_SHOWN = 20
FRAMES_SHOWN = 50

_FATAL = ("Fatal Python error:", "Windows fatal exception:")
_AT_FAULT = r"(Current thread|Stack)\b.*\(most recent call first\):"
_OTHER_THREAD = r"Thread 0x.*\(most recent call first\):"
_FRAME = r"  (File \"|Binary file \"|<|\.\.\.)"
_ASIDE = r"\s*$|Python runtime state: |Extension modules: |  (Garbage-collecting|\(truncated|Cannot show)"
_OURS = os.path.join("windrow", "worker", "executor.py")
"""From here on outwards the stack is that of a worker's thread."""


class Tail:
    """The last lines of a stream.

    Examples
    --------
    >>> tail = Tail()
    >>> tail.feed(b"one\\ntw")
    >>> tail.feed(b"o\\n\\nthree")
    >>> tail.lines()
    ['one', 'two', '', 'three']
    """

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=LINES_KEPT)
        self._partial = b""

    def feed(self, data: bytes) -> None:
        """Take what was written next."""
        *lines, partial = (self._partial + data).split(b"\n")
        self._partial = partial[-LINE_BYTES:]
        self._lines.extend(line[-LINE_BYTES:] for line in lines)

    def lines(self) -> list[str]:
        """Return them; the last may have no end yet."""
        kept = [*self._lines, *([self._partial] if self._partial else [])]
        return [line.decode(errors="replace").rstrip("\r") for line in kept]


class LastWords(Struct, frozen=True):
    """The last lines, told apart."""

    lines: tuple[str, ...] = ()
    fatal: str = ""
    """``Fatal Python error: Segmentation fault``"""
    stack: tuple[str, ...] = ()
    """The frames of the thread at fault, the innermost first, as far as the worker's own."""


def tell_apart(lines: Sequence[str], crashed: bool) -> LastWords:
    """Return a stream's last lines, and apart from them what the interpreter said if the process has ``crashed``.

    Examples
    --------
    >>> words = ["so far", "Fatal Python error: Aborted", "", "Stack (most recent call first):", '  File "a.py"']
    >>> tell_apart(words, crashed=True)
    LastWords(lines=('so far',), fatal='Fatal Python error: Aborted', stack=('  File "a.py"',))
    """
    starts = [number for number, line in enumerate(lines) if line.startswith(_FATAL)] if crashed else []
    if not starts:
        return LastWords(_last(lines))
    start = starts[-1]
    frames: list[str] = []
    others: list[str] = []
    at_fault = False
    for line in lines[start + 1 :]:
        if re.match(_AT_FAULT, line):
            at_fault = True
        elif re.match(_OTHER_THREAD, line):
            at_fault = False
        elif re.match(_FRAME, line):
            if at_fault:
                frames.append(line)
        elif not re.match(_ASIDE, line):
            others.append(line)
    return LastWords(_last([*lines[:start], *others]), lines[start], tuple(_until_ours(frames)[:FRAMES_SHOWN]))


def _last(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple([line for line in lines if line.strip()][-LINES_SHOWN:])


def _until_ours(frames: list[str]) -> list[str]:
    """Leave out the worker's own frames, outside of the task's, which are none if it is a C function."""
    ours = next((number for number, frame in enumerate(frames) if _OURS in frame), None)
    if ours is None:
        return frames
    return frames[:ours] + [frame for frame in frames[ours:] if frame.startswith('  Binary file "')]
