"""A mapping of the user's own that keeps a worker's values (``data=``), and what stands for them in the store.

What lives here: `Keeping`, `Kept`, `new_mapping`. What this file must never know: tasks, who asks for a value.

Everything that a user's mapping does may take its time, so it never happens under the worker's lock or on its loop:
tasks' threads put values in and take them out, and those that nobody needs any more are deleted by the worker's writing
thread.
"""

from __future__ import annotations

import inspect
import itertools
import threading
from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from typing import Any

from windrow.keys import Key
from windrow.plugins.scratch import Scratch
from windrow.wire import payload
from windrow.wire.blobs import Blob
from windrow.worker.store import Elsewhere

__all__ = ["Keeping", "Kept", "new_mapping"]


def new_mapping(data: Any, scratch: Scratch) -> MutableMapping[Key, Any]:
    """Return the mapping that ``data=`` of a worker stands for.

    Parameters
    ----------
    data
        A mapping; or what makes one when it is called, with the worker's directory if it has a parameter
        ``worker_local_directory``; or a pair of that and a dictionary of keyword arguments.
    scratch
        The worker's directory, made if it is asked for.

    Raises
    ------
    TypeError
        It is none of these.
    ValueError
        The mapping is not empty.

    Examples
    --------
    >>> new_mapping(dict, Scratch("/nowhere"))
    {}
    """
    mapping = data
    kwargs: dict[str, Any] = {}
    if isinstance(data, tuple) and len(data) == 2 and callable(data[0]) and isinstance(data[1], Mapping):
        mapping, kwargs = data[0], dict(data[1])
    if callable(mapping) and not isinstance(mapping, MutableMapping):
        if _takes_directory(mapping) and "worker_local_directory" not in kwargs:
            kwargs["worker_local_directory"] = scratch.path
        mapping = mapping(**kwargs)
    if not isinstance(mapping, MutableMapping):
        raise TypeError(
            f"data={data!r} of a worker is no mapping: give a MutableMapping, what makes one when it is called, or a "
            "pair of that and its keyword arguments"
        )
    if mapping:
        raise ValueError(f"data= of a worker must be empty at the start, and holds {len(mapping)} values")
    return mapping


def _takes_directory(function: Callable[..., Any]) -> bool:
    try:
        return "worker_local_directory" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # builtins without a signature
        return False


class Keeping:
    """A worker's values in a mapping of the user's own.

    Parameters
    ----------
    data
        As in `new_mapping`.
    scratch
        The worker's directory.
    later
        Has something done in another thread, soon.

    Examples
    --------
    >>> keeping = Keeping({}, Scratch("/nowhere"), lambda do: do())
    >>> kept = keeping.keep("x", 7, nbytes=28)
    >>> keeping.mapping, kept.load()
    ({'x': 7}, 7)
    >>> del kept
    >>> keeping.mapping
    {}
    """

    def __init__(self, data: Any, scratch: Scratch, later: Callable[[Callable[[], None]], None]) -> None:
        self.mapping = new_mapping(data, scratch)
        self._later = later
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._latest: dict[Key, int] = {}

    def __repr__(self) -> str:
        return f"<Keeping of {len(self._latest)} values in a {type(self.mapping).__name__}>"

    def keep(self, key: Key, value: object, nbytes: int) -> Kept:
        """Put a value in; it stays as long as what is returned."""
        number = next(self._numbers)
        with self._lock:
            self.mapping[key] = value
            self._latest[key] = number
        return Kept(self, key, number, nbytes)

    def load(self, key: Key) -> object:
        """Return a value."""
        with self._lock:
            return self.mapping[key]

    def let_go(self, key: Key, number: int) -> None:
        """A value is not needed any more. Called at the end of its marker, so it takes no lock."""
        self._later(partial(self._delete, key, number))

    def _delete(self, key: Key, number: int) -> None:
        with self._lock:
            if self._latest.get(key) == number:  # else it was made again meanwhile
                del self._latest[key]
                self.mapping.pop(key, None)


class Kept(Elsewhere):
    """Stands for a value in a user's mapping; made by `Keeping.keep`."""

    __slots__ = ("_keeping", "_key", "_number")

    stays = True

    def __init__(self, keeping: Keeping, key: Key, number: int, nbytes: int) -> None:
        super().__init__(nbytes)
        self._keeping = keeping
        self._key = key
        self._number = number

    def __repr__(self) -> str:
        return f"<Kept {self._key!r}>"

    def __del__(self) -> None:
        self._keeping.let_go(self._key, self._number)

    def load(self) -> object:
        """Return the value, as the mapping gives it."""
        return self._keeping.load(self._key)

    def pack(self) -> Blob:
        """Return the value as it travels."""
        return payload.dumps(self.load(), f"the result of task {self._key!r}", borrow=True)
