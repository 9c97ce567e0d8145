"""Answers to peers that ask for values: so many at a time, and one while the worker is paused.

What lives here: `Outgoing`. What this file must never know: how a value is found or packed.

An answer is under way until the network has taken it: what was read from disk for it takes up memory until then. Who
does not take what is under way is answered nothing more meanwhile, and does not keep others from their answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from windrow.transport import Link
from windrow.wire import payload
from windrow.wire.blobs import Blob
from windrow.wire.messages import Reply
from windrow.wire.requests import GetData
from windrow.worker.core import WorkerCore
from windrow.worker.squeezing import Facts

Then: TypeAlias = Callable[[list[Blob | None], Facts], None]
"""Takes the values, and what is to be said of those that are compressed."""

Serve: TypeAlias = Callable[[GetData, Then], None]
"""Collects what is asked for, and gives it to a function, on the loop."""


EACH = 4
"""So many answers to one peer are under way at a time: as many as there are threads that collect values."""


class Outgoing:
    """Questions for values, and the answers that are under way; on the worker's loop only.

    Parameters
    ----------
    serve
        Collects the values.
    core
        Says whether the worker is paused.
    limit
        How many answers may be under way at a time.
    """

    def __init__(self, serve: Serve, core: WorkerCore, limit: int) -> None:
        self.limit = limit
        self.active = 0
        self.sent = 0
        self.sent_bytes = 0
        """What has left, ever."""
        self._serve = serve
        self._core = core
        self._waiting: deque[tuple[Link, int, GetData]] = deque()
        self._collecting: dict[Link, int] = {}
        self._draining: dict[Link, int] = {}

    def __repr__(self) -> str:
        return f"<Outgoing active={self.active} waiting={len(self._waiting)}>"

    def ask(self, link: Link, call: int, question: GetData) -> None:
        """Answer a question when it is its turn."""
        self._waiting.append((link, call, question))
        self._go_on()

    def _go_on(self) -> None:
        while self._waiting and self.active < (1 if self._core.paused else self.limit):
            place = next((at for at, one in enumerate(self._waiting) if self._may_be_answered(one[0])), None)
            if place is None:
                return
            link, call, question = self._waiting[place]
            del self._waiting[place]
            self.active += 1
            self._collecting[link] = self._collecting.get(link, 0) + 1
            self._serve(question, partial(self._answer, link, call))

    def _may_be_answered(self, link: Link) -> bool:
        if link.is_congested:
            link.on_drained = lambda: self._drained(link)
            return False
        return self._collecting.get(link, 0) < EACH

    def _answer(self, link: Link, call: int, blobs: list[Blob | None], facts: Facts) -> None:
        left = self._collecting.pop(link) - 1
        if left:
            self._collecting[link] = left
        there = [blob for blob in blobs if blob is not None]
        self.sent += len(there)
        self.sent_bytes += sum(map(payload.nbytes, there))
        link.send([Reply(call, facts or None, blobs=blobs)])
        if link.is_congested:
            self._draining[link] = self._draining.get(link, 0) + 1
            link.on_drained = lambda: self._drained(link)
        else:
            self._end(1)

    def _drained(self, link: Link) -> None:
        self._end(self._draining.pop(link, 0))

    def lost(self, link: Link) -> None:
        """A connection has ended: nobody waits for its answers."""
        self._waiting = deque([question for question in self._waiting if question[0] is not link])
        self._drained(link)

    def _end(self, count: int) -> None:
        self.active -= count
        self._go_on()
