"""The client at hand as what Dask computes on.

What lives here: the entries of Dask's configuration that a default client, or a ``with client.as_current()``, sets and
puts back. What this file must never know: graphs.

Dask asks its configuration for a ``scheduler``; a callable there is called with a graph and keys, and what it is bound
to is asked for ``persist``. Ours finds the client when it is called, as `get_client` does. A value that the user sets
afterwards is left alone.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from windrow.client import current
from windrow.client.in_task import get_client
from windrow.context import BY_TASKS, AtHand, Get
from windrow.when_imported import when_imported

if TYPE_CHECKING:
    from windrow.client.client import Client

_ABSENT: Any = object()

_former: dict[str, Any] = {}
"""What was configured before a client became the default, by name; `_ABSENT` for nothing."""

_ours: dict[str, Any] = {}
"""What we have configured, by name."""

_blocks: list[Client] = []
"""The clients of ``with client.as_current()`` blocks that are open, in any thread."""

_lock = threading.RLock()


class Front(AtHand):
    """The client at hand, by the time that Dask asks; all but ``get`` is the client's own."""

    def get(self, dsk: Any, keys: Any, **kwargs: Any) -> Any:
        """Compute keys of a graph on it, or as Dask would without any client where there is none here."""
        try:
            client = get_client()
        except ValueError:
            return _without_clients(dsk, keys, kwargs)
        if not client.asynchronous:
            return client.get(dsk, keys, **kwargs)
        if threading.get_ident() == client.session.thread_id:
            raise RuntimeError(
                "Dask cannot wait for a result on the event loop of its client: write 'await client.compute(...)'"
            )
        return client.get(dsk, keys, **{**kwargs, "asynchronous": False})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            client = get_client()
        except ValueError as error:
            raise AttributeError(str(error)) from None
        return getattr(client, name)


def _without_clients(dsk: Any, keys: Any, kwargs: dict[str, Any]) -> Any:
    """For a thread outside of all blocks, and when the last client was lost without being closed."""
    from dask import threaded
    from dask.base import get_scheduler

    former = _former.get("scheduler", _ABSENT)
    get = None if former is _ABSENT or not former else get_scheduler(scheduler=former)
    return (get or threaded.get)(dsk, keys, **kwargs)


_GET = Get(Front())


@contextmanager
def as_current(client: Client) -> Iterator[None]:
    """Make this the current client within a ``with`` block, also for Dask."""
    _blocks.append(client)
    try:
        update()
        with current.as_current(client):
            yield
    finally:
        _blocks.remove(client)
        update()


def update() -> None:
    """Have Dask use the client at hand, or put back what was there if there can be none."""
    config = sys.modules.get("dask.config")
    if config is not None:
        _update(config)
    elif _blocks or current.defaults():
        when_imported("dask.config", _update)


def _update(config: Any) -> None:
    with _lock:
        defaults = current.defaults()
        if defaults or _blocks:
            _set(config, "scheduler", _GET, unless_there=not defaults)
        elif "scheduler" in _ours:
            _put_back(config, "scheduler")
        if not defaults:
            for name in filter(_ours.__contains__, BY_TASKS):
                _put_back(config, name)
        else:
            for name in BY_TASKS:
                if name not in _ours:
                    _set(config, name, "tasks", unless_there=True)


def _set(config: Any, name: str, value: Any, unless_there: bool = False) -> None:
    there = config.get(name, _ABSENT)
    if name not in _ours:
        if unless_there and there is not _ABSENT and there is not None:
            return
        _former[name] = there
    elif there is not _ours[name]:  # the user's own, set since
        return
    _ours[name] = value
    config.set({name: value})


def _put_back(config: Any, name: str) -> None:
    mine, former = _ours.pop(name), _former.pop(name)
    if config.get(name, _ABSENT) is not mine:
        return
    if former is not _ABSENT:
        config.set({name: former})
        return
    parts = name.split(".")
    inner = config.config
    for part in parts[:-1]:
        inner = inner[part]
    del inner[parts[-1]]
