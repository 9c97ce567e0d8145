"""A worker's core alone, with its outboxes that must be emptied, and its books checked after every step.

Tasks are small numbers. `Lone.said` tells what the worker has said in a short form: ``done 1#2=value``, ``erred 1#1``,
``returned 1#1 2#1``, ``missing 1#1 for 2 tried a b``, ``holds 1 2``, ``ghosts 1``,
``copied 1#2``, ``not copied 1#2``, ``stopped 1#2``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from windrow.wire.messages import Copied, Done, Erred, Ghosts, Holds, Message, Missing, Returned, Run, Stopped, TaskId
from windrow.worker.core import WorkerCore
from windrow.worker.incoming import Limits
from windrow.worker.state import READY, RUNNING, WAITING, Attempt
from windrow.worker.store import Packed

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Message]).decode


def run(
    task: int,
    attempt: int = 1,
    *inputs: int,
    shipped: dict[int, bytes] | None = None,
    where: dict[int, list[str]] | None = None,
    priority: float = 0.0,
    sizes: dict[int, int] | None = None,
) -> Run:
    """A `Run` message."""
    ids: Any = inputs
    sources = {TaskId(id): ((sizes or {}).get(id, 0), holders) for id, holders in (where or {}).items()}
    return Run(TaskId(task), attempt, f"k{task}", 1, b"", priority, True, list(ids), shipped or {}, sources)  # type: ignore[arg-type]


class Lone:
    """A core without a worker around it."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.core = WorkerCore(limits)

    def hear(self, *messages: Any) -> None:
        """The scheduler's messages arrive in one batch."""
        self.core.receive(_decode(_encode(messages)))
        self._check()

    def start(self) -> Attempt | None:
        """A thread takes the next attempt."""
        attempt = self.core.next_attempt()
        self._check()
        return attempt

    def starts(self) -> list[int]:
        """Threads take all there is; return the task ids."""
        started = []
        while (attempt := self.start()) is not None:
            started.append(attempt.id)
        return started

    def finish(self, attempt: Attempt | None, value: object = "v") -> None:
        """A thread has a result."""
        assert attempt is not None
        self.core.finish(attempt, value, 0.1, 10)
        self._check()

    def run_all(self) -> list[int]:
        """One thread runs all there is, and what becomes ready by that; return the task ids."""
        ran: list[int] = []
        while (attempt := self.start()) is not None:
            ran.append(attempt.id)
            self.finish(attempt)
        return ran

    def fetched(self, task: int, blob: bytes | None) -> None:
        """A peer has answered."""
        self.core.fetched(TaskId(task), blob)
        self._check()

    def asks(self) -> dict[str, list[int]]:
        """Claim what is asked of peers."""
        asked = self.core.take_requests()
        self._check()
        assert len(dict(asked)) == len(asked), f"several questions to one peer: {asked}"
        return dict(asked)  # type: ignore[arg-type]

    def said(self) -> list[str]:
        """Claim what is said to the scheduler."""
        return [self._brief(message) for message in self.core.take_out()]

    def value(self, task: int) -> Any:
        """A value that is held, as it is or as it came."""
        value = self.core.data.get(task)
        return value.blob if isinstance(value, Packed) else value

    def is_empty(self) -> bool:
        """Whether nothing at all is kept."""
        core = self.core
        parts = (core.data, core.attempts, core.waiting_for, core.fetching, core.copying, core.ready, core.functions)
        return not any(parts)

    def _check(self) -> None:
        core = self.core
        for attempt in core.attempts.values():
            waits = [id for id in attempt.inputs if attempt in core.waiting_for.get(id, ())]
            assert attempt.missing == len(waits), f"{attempt} counts {attempt.missing} missing of {waits}"
            expected = WAITING if waits else (READY if attempt.queue is not None else RUNNING)
            assert attempt.state is expected, f"{attempt} is no longer {attempt.state}"
        for id, waiting in core.waiting_for.items():
            assert waiting, f"an empty list waits for {id}"
            assert id in core.fetching or id in core.attempts, f"nothing brings {id}, for which {waiting} wait"
        for id in core.copying:
            assert id in core.fetching, f"nothing brings {id}, which is to be copied"
            assert id not in core.data, f"{id} is here, and nobody was told"
        assert core.running >= 0
        core.incoming.check()

    def _brief(self, message: Any) -> str:
        if type(message) is Done:
            return f"done {message.task}#{message.attempt}"
        if type(message) is Erred:
            return f"erred {message.task}#{message.attempt}"
        if type(message) is Returned:
            pairs = zip(message.tasks, message.attempts, strict=True)
            return " ".join(["returned", *(f"{task}#{attempt}" for task, attempt in pairs)])
        if type(message) is Missing:
            tried = " ".join(["", "tried", *message.holders]) if message.holders else ""
            return f"missing {message.task}#{message.attempt} for {message.input}{tried}"
        if type(message) is Ghosts:
            return f"ghosts {message.count}"
        if type(message) is Stopped:
            return f"stopped {message.task}#{message.attempt}"
        if type(message) is Copied:
            return f"{'copied' if message.held else 'not copied'} {message.task}#{message.number}"
        if type(message) is Holds:
            return " ".join(["holds", *map(str, message.tasks)])
        return repr(message)
