"""Pickling, as ``distributed.protocol.pickle`` offers it.

What lives here: `dumps` and `loads`. What this file must never know: how windrow itself sends values.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["HIGHEST_PROTOCOL", "dumps", "loads"]

HIGHEST_PROTOCOL = pickle.HIGHEST_PROTOCOL


def dumps(
    x: object,
    *,
    buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None,
    protocol: int = HIGHEST_PROTOCOL,
) -> bytes:
    """Pickle an object; with cloudpickle where pickle cannot, or would refer to the main module.

    Examples
    --------
    >>> loads(dumps({"x": 1}))
    {'x': 1}
    """
    held: list[pickle.PickleBuffer] = []
    take = held.append if buffer_callback is not None else None
    try:
        data = pickle.dumps(x, protocol, buffer_callback=take)
        by_value = b"__main__" in data
    except Exception:  # any class's own reduction may raise anything; cloudpickle decides
        by_value = True
    if by_value:
        import cloudpickle

        held.clear()
        data = cloudpickle.dumps(x, protocol, buffer_callback=take)
    if buffer_callback is not None:
        for buffer in held:
            buffer_callback(buffer)
    return data


def loads(x: bytes, *, buffers: Iterable[Any] = ()) -> Any:
    """Return the object of a pickle.

    Examples
    --------
    >>> loads(dumps([1, 2]))
    [1, 2]
    """
    return pickle.loads(x, buffers=buffers)
