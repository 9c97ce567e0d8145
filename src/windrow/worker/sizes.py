"""How large a value is, in bytes: exact for the commonplace, `dask.sizeof` for the rest.

What lives here: `size_of`. What this file must never know: what the size decides. dask takes 0.1 s to import, so it is
imported when the first value comes that needs it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_FIXED: dict[type, int] = {type(None): 16, bool: 28, int: 28, float: 24, complex: 32}
_FLAT = (str, bytes, bytearray)


def size_of(value: Any) -> int:
    """Return the size of a value in bytes; a guess where its class hides it.

    Examples
    --------
    >>> size_of(3.0), size_of(b"x" * 1000) > 1000
    (24, True)
    """
    kind = type(value)
    fixed = _FIXED.get(kind)
    if fixed is not None:
        return fixed
    if kind in _FLAT:
        return sys.getsizeof(value)
    if kind is tuple and len(value) < 8:
        return 56 + sum(size_of(item) for item in value)
    try:
        nbytes = getattr(value, "nbytes", None)
        if type(nbytes) is int:
            return nbytes
        sizeof = getattr(sys.modules.get("dask.sizeof"), "sizeof", None) or _import_sizeof()
        return int(sizeof(value))
    except Exception:  # a user's class may raise anything; the size only steers, so a guess is good enough
        return sys.getsizeof(object())


def _import_sizeof() -> Callable[[Any], int]:
    """Import it on a stack of its own.

    A module that keeps the exception of an optional import that failed keeps the frames below that import, and what
    they hold: here it would be the first value whose size was asked for.
    """
    with ThreadPoolExecutor(1) as thread:
        module = thread.submit(importlib.import_module, "dask.sizeof").result()
    sizeof: Callable[[Any], int] = module.sizeof
    return sizeof
