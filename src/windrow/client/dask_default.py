"""The default client as what Dask computes on.

What lives here: the entries of Dask's configuration that a default client sets and puts back. What this file must never
know: graphs.

Dask asks its configuration for a ``scheduler``; a callable there is called with a graph and keys, and what it is bound
to is asked for ``persist``. A value that the user sets afterwards is left alone.
"""

from __future__ import annotations

import sys
import weakref
from types import MethodType
from typing import TYPE_CHECKING, Any

from windrow.client import current
from windrow.when_imported import when_imported

if TYPE_CHECKING:
    from windrow.client.client import Client

SHUFFLE = "dataframe.shuffle.method"
"""Through files is Dask's own default, which is no good between machines."""

_ABSENT: Any = object()

_former: dict[str, Any] = {}
"""What was configured before a client became the default, by name; `_ABSENT` for nothing."""

_ours: dict[str, Any] = {}
"""What we have configured, by name."""


def update() -> None:
    """Make the newest default client what Dask uses, or put back what was there if none is left."""
    config = sys.modules.get("dask.config")
    if config is not None:
        _update(config)
    elif current.defaults():
        when_imported("dask.config", _update)


def _update(config: Any) -> None:
    clients = current.defaults()
    if clients:
        _set(config, "scheduler", bound_get(clients[-1]))
        if SHUFFLE not in _ours:
            _set(config, SHUFFLE, "tasks", unless_there=True)
    else:
        for name in list(_ours):
            _put_back(config, name)


def bound_get(client: Client) -> Any:
    """``client.get``, bound to a weak reference: the configuration keeps no client alive."""
    return MethodType(_get, weakref.proxy(client))


def _get(client: Client, *args: Any, **kwargs: Any) -> Any:
    return client.get(*args, **kwargs)


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
