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
import warnings
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

_aside: list[Any] = []
"""What programs had configured where such blocks began."""

_lock = threading.RLock()

FALLBACK = "admin.async-client-fallback"
"""The setting of Dask that names what computes where an asynchronous client cannot be waited for."""


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
            return _on_the_loop(dsk, keys, kwargs)
        return client.get(dsk, keys, **{**kwargs, "asynchronous": False})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            client = get_client()
        except ValueError as error:
            raise AttributeError(str(error)) from None
        return getattr(client, name)


def _on_the_loop(dsk: Any, keys: Any, kwargs: dict[str, Any]) -> Any:
    """For a call that would wait on the event loop which it waits for: by what the setting says, or not at all."""
    from dask import config
    from dask.base import get_scheduler

    fallback = config.get(FALLBACK, None)
    if not fallback:
        raise RuntimeError(
            "Dask cannot wait for a result on the event loop of its asynchronous client: write 'await "
            f"client.compute(...)', or have it computed in this process by dask.config.set({{{FALLBACK!r}: 'sync'}})"
        )
    warnings.warn(
        f"Computed in this process, by Dask's scheduler {fallback!r}, as {FALLBACK!r} says: Dask cannot wait on the "
        "event loop of its asynchronous client",
        UserWarning,
        stacklevel=2,
    )
    return get_scheduler(scheduler=fallback)(dsk, keys, **kwargs)


def _without_clients(dsk: Any, keys: Any, kwargs: dict[str, Any]) -> Any:
    """For a thread outside of all blocks, and when the last client was lost without being closed."""
    from dask import threaded
    from dask.base import get_scheduler

    former = _aside[-1] if _aside else _former.get("scheduler", _ABSENT)
    get = None if former is _ABSENT or not former else get_scheduler(scheduler=former)
    return (get or threaded.get)(dsk, keys, **kwargs)


_GET = Get(Front())


@contextmanager
def as_current(client: Client) -> Iterator[None]:
    """Make this the current client within a ``with`` block, also for Dask, whatever was configured around it."""
    _blocks.append(client)
    mine = _ABSENT
    try:
        update()
        mine = _put_aside()
        with current.as_current(client):
            yield
    finally:
        _blocks.remove(client)
        _bring_back(mine)
        update()


def _put_aside() -> Any:
    """Take the place of what the program has configured, and return it; `_ABSENT` where there is nothing of its own."""
    config = sys.modules.get("dask.config")
    with _lock:
        there = None if config is None else config.get("scheduler", None)
        if config is None or there is None or there is _GET:
            return _ABSENT
        _aside.append(there)
        config.set(scheduler=_GET)
        return there


def _bring_back(value: Any) -> None:
    config = sys.modules.get("dask.config")
    if value is _ABSENT or config is None:
        return
    with _lock:
        _aside.remove(value)
        if config.get("scheduler", None) is _GET:  # else the program has configured it within the block
            config.set(scheduler=value)


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
