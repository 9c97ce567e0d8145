"""What a worker's process has of the one that starts it: environment, configuration, and what it is to make.

What lives here: the environment, the settings, and how a class and its arguments travel. What this file must never
know: when a process is started.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import Any

from windrow import config

__all__ = ["environment", "is_plain", "order", "path", "settings", "text_of"]

logger = logging.getLogger("windrow.nanny")

HASH_SEED = "6640"
"""Strings hash alike on all workers."""


def environment(own: Mapping[str, str], setting: Any = config.get) -> dict[str, str]:
    """Return a worker's environment variables: what is configured, beneath what is set here, beneath its ``own``.

    Parameters
    ----------
    own
        Those that were given for it.
    setting
        Looks a setting up.

    Examples
    --------
    >>> environment({"A": "1"})["A"]
    '1'
    """
    configured: dict[str, object] = {}
    for key in ("distributed.nanny.pre-spawn-environ", "distributed.nanny.environ"):
        found = setting(key)
        if isinstance(found, Mapping):
            configured.update(found)
    lowest = {name: str(value) for name, value in configured.items() if value is not None}
    if lowest.get("PYTHONHASHSEED", "0") in {"0", "random"}:
        lowest["PYTHONHASHSEED"] = HASH_SEED
    here = dict(os.environ)
    if here.get("PYTHONHASHSEED") in {"", "random"}:
        del here["PYTHONHASHSEED"]
    return {**lowest, **here, **own}


def path() -> list[str]:
    """Return where the worker is to import from.

    Examples
    --------
    >>> "" in path()
    False
    """
    return [entry or os.getcwd() for entry in sys.path]


def settings(given: Mapping[str, Any] | None, env: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the settings that a worker is to have beyond what it reads itself: trees, a later one above the earlier.

    What this program has set itself (``dask.config.set``), then the variables of the worker's own environment, then
    ``given``.

    Examples
    --------
    >>> settings({"distributed.worker.memory.pause": False}, {})[-1]
    {'distributed': {'worker': {'memory': {'pause': False}}}}
    """
    found: list[dict[str, Any]] = []
    dask_config = sys.modules.get("dask.config")
    if dask_config is not None:
        here = _beyond(dask_config.config, dask_config.merge(*dask_config.defaults))
        here.pop("scheduler", None)  # what Dask computes on: tasks find the client at hand, wherever they run
        if here:
            found += [here, dask_config.collect_env(env)]
    if given:
        found.append(config.nested(given))
    return [tree for tree in found if tree]


def _beyond(tree: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a tree that differs from the defaults."""
    own: dict[str, Any] = {}
    for key, value in tree.items():
        default = defaults.get(key)
        if isinstance(value, Mapping) and isinstance(default, Mapping):
            if below := _beyond(value, default):
                own[key] = below
        elif not (key in defaults and is_plain(value) and value == default):
            own[key] = value
    return own


def order(make: type | str | None, kwargs: dict[str, Any], trees: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a process is told of the worker that it is to make: plain as far as it is, else pickled.

    Raises
    ------
    TypeError
        An argument cannot be pickled; the message names it.

    Examples
    --------
    >>> order(None, {"nthreads": 2}, [])
    {'class': None, 'kwargs': {'nthreads': 2}, 'config': [], 'pickled': ''}
    """
    plain = {"class": make, "kwargs": kwargs, "config": trees}
    if is_plain(plain):
        return {**plain, "pickled": ""}
    import cloudpickle

    from windrow.wire import payload

    trees = [{key: value for key, value in tree.items() if _travels(key, value)} for tree in trees]
    try:
        blob = cloudpickle.dumps((make, kwargs, trees))
    except Exception as error:  # any class may fail in any way; payload's error names the part that cannot travel
        payload.dumps((make, kwargs), "the arguments of a worker")
        raise TypeError(f"the arguments of a worker cannot be sent to its process: {error}") from error
    return {"class": None, "kwargs": {}, "config": [], "pickled": blob.hex()}


def _travels(key: str, value: object) -> bool:
    import cloudpickle

    try:
        cloudpickle.dumps(value)
    except Exception as error:  # as above; a worker does without a setting that is of no use elsewhere
        logger.warning("the setting %r stays out of worker processes: it cannot be pickled (%s)", key, error)
        return False
    return True


def is_plain(value: object) -> bool:
    """Whether JSON brings this back as it was.

    Examples
    --------
    >>> is_plain({"a": [1, None]}), is_plain((1, 2))
    (True, False)
    """
    if isinstance(value, dict):
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


def text_of(variables: Mapping[str, Any] | None) -> dict[str, str]:
    """Return environment variables as texts.

    Raises
    ------
    TypeError
        It is no mapping of names.

    Examples
    --------
    >>> text_of({"THREADS": 4})
    {'THREADS': '4'}
    """
    if variables is None:
        return {}
    if not isinstance(variables, Mapping) or not all(isinstance(name, str) for name in variables):
        raise TypeError(f"env must be a dict of environment variables, not {variables!r}")
    return {name: str(value) for name, value in variables.items()}
