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

__all__ = ["BY_TASKS", "AtHand", "Get", "Place", "client", "enter", "place"]


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
    def owner(self) -> object:
        """What may own things here, for no longer than it is there (it takes weak references); None: nothing does."""

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


BY_TASKS = ("array.rechunk.method", "dataframe.shuffle.method")
"""Settings of Dask that choose how data moves between partitions: here always by tasks, which is no default of its
own where a client is the default."""


class Get:
    """The ``get`` of the client at hand, by the time that Dask calls it.

    Parameters
    ----------
    owner
        Whose ``get`` it calls.

    Programs compare what Dask computes on with ``client.get``, and ask what it is bound to whether that is a client.
    """

    __name__ = "get"

    def __init__(self, owner: Any) -> None:
        self.__self__ = owner

    def __call__(self, dsk: Any, keys: Any, **kwargs: Any) -> Any:
        return self.__self__.get(dsk, keys, **kwargs)

    def __eq__(self, other: object) -> bool:
        if other is self or getattr(other, "__name__", "") != "get":
            return other is self
        try:
            return getattr(other, "__self__", None) is client()
        except ValueError:  # there is none
            return False

    __hash__ = object.__hash__


class AtHand:
    """The client at hand, as what Dask computes on inside of tasks."""

    @property
    def __class__(self) -> Any:  # programs ask isinstance(get.__self__, Client)
        return _front().Client

    @__class__.setter
    def __class__(self, kind: Any) -> None:
        raise AttributeError("the class of this object is the client's, and stays so")

    def get(self, dsk: Any, keys: Any, **kwargs: Any) -> Any:
        """Compute keys of a graph; see ``Client.get``."""
        return client().get(dsk, keys, **kwargs)

    def persist(self, collections: Any, **kwargs: Any) -> Any:
        """Keep collections on the cluster; see ``Client.persist``."""
        return client().persist(collections, **kwargs)


def client() -> Any:
    """Return the client at hand: the worker's inside a task, else the current one; ValueError when there is none."""
    return _front().get_client()


def _front() -> Any:
    return sys.modules["windrow"]  # what is above this floor is found by its public name
