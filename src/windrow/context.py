"""Where code runs: inside a task on a worker, or in a user's program.

What lives here: what a task may ask of the worker that runs it, and how code that does not care finds a client. What
this file must never know: workers and clients themselves.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from windrow.keys import Key

__all__ = ["Place", "client", "enter", "place"]


class Place(Protocol):
    """Where a task runs: the thread of a worker, or a coroutine on its loop."""

    @property
    def key(self) -> Key:
        """The key of the task that runs here."""

    @property
    def priority(self) -> float:
        """Its priority."""

    @property
    def worker(self) -> Any:
        """The worker."""

    @property
    def seceded(self) -> bool:
        """Whether the task has left the worker's threads."""

    def secede(self) -> None:
        """Leave the worker's threads, so that another task may start; again is harmless."""

    def step_aside(self) -> Callable[[bool], None] | None:
        """Leave the worker's threads to wait: as `secede`, but what runs here meanwhile does nothing.

        Return what ends that; None where there is nothing to end. It is called with whether to wait for a thread:
        if not, and none is free, the task goes on outside of them.
        """

    def rejoin(self) -> None:
        """Come back to the worker's threads, which may wait until one is free; again is harmless."""


_place: ContextVar[Place | None] = ContextVar("windrow-place", default=None)

enter = _place.set
"""Say where the code of this thread or coroutine runs from now on."""

place = _place.get
"""Return where this code runs; None outside of tasks."""


class AtHand:
    """The client at hand, as what Dask computes on inside of tasks."""

    def get(self, dsk: Any, keys: Any, **kwargs: Any) -> Any:
        """Compute keys of a graph; see ``Client.get``."""
        return client().get(dsk, keys, **kwargs)

    def persist(self, collections: Any, **kwargs: Any) -> Any:
        """Keep collections on the cluster; see ``Client.persist``."""
        return client().persist(collections, **kwargs)


def client() -> Any:
    """Return the client at hand: the worker's inside a task, else the current one; ValueError when there is none."""
    front: Any = sys.modules["windrow"]  # what is above this floor is found by its public name
    return front.get_client()
