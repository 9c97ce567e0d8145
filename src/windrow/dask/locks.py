"""Dask's own lock of a process, unpickled: one object for each lock.

What lives here: how `SerializableLock` is pickled while the drop-in is installed. What this file must never know: the
locks of the cluster.

Who combines locks sorts them by the addresses of the objects, so that all take them in one order. Each copy of such a
lock would lie somewhere else, two tasks of a process would take the same locks in opposite orders, and wait for each
other for ever. As one object they are taken in one order by all.
"""

from __future__ import annotations

import copyreg
import threading
from collections.abc import Hashable
from types import ModuleType
from typing import Any
from weakref import WeakValueDictionary

__all__ = ["leave", "share"]

_lock = threading.RLock()  # a collection of garbage inside of it may come back here
_copies: WeakValueDictionary[tuple[type, Hashable], Any] = WeakValueDictionary()


def share(utils: ModuleType) -> None:
    """Have locks of the module ``dask.utils`` travel by their token, to the one object that has it.

    Examples
    --------
    >>> import pickle, dask.utils
    >>> share(dask.utils)
    >>> lock = dask.utils.SerializableLock("file")
    >>> pickle.loads(pickle.dumps(lock)) is lock
    True
    >>> leave(dask.utils)
    """
    copyreg.pickle(utils.SerializableLock, _reduce)


def leave(utils: ModuleType) -> None:
    """Have them travel as Dask says.

    Examples
    --------
    >>> import dask.utils
    >>> leave(dask.utils)
    """
    copyreg.dispatch_table.pop(utils.SerializableLock, None)


def _reduce(lock: Any) -> tuple[Any, ...]:
    with _lock:
        _copies.setdefault((type(lock), lock.token), lock)
    return _copy, (type(lock), lock.token)


def _copy(kind: type, token: Hashable) -> Any:
    with _lock:
        found = _copies.get((kind, token))
        if found is None:
            found = _copies[kind, token] = kind(token)
        return found
