"""Which workers can open the shared memory of this process: those on its host, as its user.

What lives here: `Near`, the books, and `reached`, the steps that fill them. What this file must never know: values.

Whether a worker can is tried with an empty segment, once a worker: what it says for one is so for all. Where none can,
it is not asked again for a while.
"""

from __future__ import annotations

import time
import weakref

from windrow import segments
from windrow.client import calls
from windrow.client.session import Session
from windrow.client.waiting import Steps
from windrow.wire import messages as m
from windrow.wire import sharing

__all__ = ["Near", "near", "reached"]

AGAIN_S = 30.0
"""How long it is not asked again where no worker could."""


class Near:
    """What one client knows of workers and its memory."""

    __slots__ = ("asked_s", "workers")

    def __init__(self) -> None:
        self.workers: set[str] = set()
        """The addresses of those that can open it."""
        self.asked_s = -AGAIN_S

    @property
    def is_worth_asking(self) -> bool:
        """Whether there may be some of which nothing is known."""
        return bool(self.workers) or time.monotonic() - self.asked_s >= AGAIN_S


_of: weakref.WeakKeyDictionary[Session, Near] = weakref.WeakKeyDictionary()


def near(session: Session) -> Near:
    """Return what a client knows."""
    found = _of.get(session)
    if found is None:
        found = _of[session] = Near()
    return found


def reached(session: Session) -> Steps[Near]:
    """Ask all workers."""
    known = near(session)
    known.asked_s = time.monotonic()
    probe = sharing.packed([memoryview(b"")]) if segments.is_enabled() else None
    if probe is not None:
        reply = yield from calls.ask(session, m.Reach(probe))
        answers = zip(reply.value, reply.blobs, strict=True)
        known.workers = {address for address, blob in answers if blob is not None}
    return known
