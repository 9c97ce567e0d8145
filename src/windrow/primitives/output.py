"""What tasks have printed and logged: kept by key at the scheduler, for whoever asks.

What lives here: the scheduler's service, the request to it, and the form of what it answers. What this file must never
know: how workers come to know what a task says.

It is bounded twice: of each task the last lines are kept, and of all tasks those that spoke last. What had to go is
counted. It stays for a while after its task is forgotten, and whether the worker lives that ran it is no matter.
"""

from __future__ import annotations

import time as clock
from collections import deque
from itertools import islice
from typing import Any, ClassVar, NamedTuple

from msgspec import Struct

from windrow.keys import Key, from_plain
from windrow.primitives.service import Desk, Question, Service
from windrow.wire.blobs import Blob
from windrow.wire.messages import Output as Said

__all__ = ["GetOutput", "Line", "Outputs", "in_words"]

LINE_BYTES = 100
"""What a line takes beside its text,"""
KEY_BYTES = 400
"""and what a key takes beside its lines."""

LOOKED_AT = 8
"""So many of the tasks that have been silent for longest are looked at, whether they are to be forgotten."""


class Line(NamedTuple):
    """Something that a task has said."""

    time: float
    """In seconds since the epoch."""
    source: str
    """"stdout", "stderr", or the level of a log record, such as "WARNING"."""
    text: str
    """Without the line's end; several lines where they were said at once."""
    worker: str
    """The address of the worker where it ran."""


def in_words(lines: list[Line], dropped: int = 0) -> str:
    """Return what a task has said as text, a line each, with the local time, the worker and the source before it.

    Examples
    --------
    >>> print(in_words([Line(0.25, "stdout", "hello", "tcp://127.0.0.1:4000")], dropped=2))
    (2 lines before these are not kept: see windrow.output.task-bytes)
    19...:00.250 tcp://127.0.0.1:4000 stdout: hello
    """
    said = [f"({dropped} lines before these are not kept: see windrow.output.task-bytes)"] if dropped else []
    for line in lines:
        moment = clock.strftime("%Y-%m-%d %H:%M:%S", clock.localtime(line.time))
        before = f"{moment}.{int(line.time % 1 * 1000):03} {line.worker} {line.source}: "
        said += [before + text for text in line.text.split("\n")]
    return "\n".join(said)


class GetOutput(Struct, tag="get", array_like=True):
    """Answer: for each key ``[dropped, [[time, source, text, worker], …]]``, oldest first."""

    keys: list[Any]


class Kept:
    """What is kept of one task."""

    __slots__ = ("dropped", "last_s", "lines", "size")

    def __init__(self) -> None:
        self.lines: deque[Line] = deque()
        self.size = KEY_BYTES
        self.dropped = 0
        self.last_s = 0.0

    def drop_first(self) -> int:
        """Drop the oldest; return by how much less it is."""
        line = self.lines.popleft()
        size = len(line.text) + LINE_BYTES
        self.size -= size
        self.dropped += 1 + line.text.count("\n")
        return size


class Outputs(Service):
    """Keeps what tasks have said."""

    name = "output"
    requests: ClassVar[Any] = GetOutput

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.tasks: dict[Key, Kept] = {}
        """By key; who has spoken last comes last."""
        self.size = 0

    def add(self, worker: str, said: Said) -> None:
        """Keep what tasks have said on a worker."""
        config, now_s = self.desk.config, self.desk.now_s
        for key, rows, dropped in zip(said.keys, said.said, said.dropped, strict=True):
            kept = self.tasks.pop(key, None)
            if kept is None:
                kept = Kept()
                self.size += KEY_BYTES
            self.tasks[key] = kept
            kept.last_s = now_s
            kept.dropped += dropped
            before = kept.size
            for time, source, text in rows:
                kept.lines.append(Line(time, source, text, worker))
                kept.size += len(text) + LINE_BYTES
            self.size += kept.size - before
            while kept.size > config.task_output_bytes and len(kept.lines) > 1:
                self.size -= kept.drop_first()
        self._make_room(config.output_bytes)
        self._forget(now_s - config.output_s)

    def _make_room(self, limit: int) -> None:
        """Drop what was said longest ago; a task whose last line is gone goes only if that is not enough."""
        while self.size > limit and self.tasks:
            key, kept = next(iter(self.tasks.items()))
            if kept.lines:
                self.size -= kept.drop_first()
            else:
                self._drop(key)

    def _forget(self, until_s: float) -> None:
        """Drop that of tasks that are no more, and have been silent for long."""
        silent = [
            key
            for key, kept in islice(self.tasks.items(), LOOKED_AT)
            if kept.last_s < until_s and not self.desk.has_task(key)
        ]
        for key in silent:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        self.size -= self.tasks.pop(key).size

    def ask(self, question: Question, request: GetOutput, blobs: list[Blob]) -> None:
        """Answer at once."""
        self._forget(self.desk.now_s - self.desk.config.output_s)
        found = [self.tasks.get(from_plain(key)) for key in request.keys]
        question.answer([[0, []] if kept is None else [kept.dropped, list(kept.lines)] for kept in found])

    def restarted(self) -> None:
        """All tasks are forgotten, and so is what they said."""
        self.tasks.clear()
        self.size = 0

    def check(self) -> None:
        """What is counted is what there is, within its bounds."""
        config = self.desk.config
        assert self.size == sum(kept.size for kept in self.tasks.values()), "output is not counted rightly"
        assert self.size <= config.output_bytes, "more output than is to be kept"
        for key, kept in self.tasks.items():
            texts = sum(len(line.text) + LINE_BYTES for line in kept.lines)
            assert kept.size == KEY_BYTES + texts, f"output of {key!r} is not counted rightly"
            assert kept.size <= config.task_output_bytes or len(kept.lines) <= 1, f"too much output of {key!r}"
