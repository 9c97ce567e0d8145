"""Keywords that programs written for Dask pass to parties: unknown ones, and those that have no meaning here.

What lives here: how such a keyword is refused or remarked upon. What this file must never know: which keywords a party
has.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

__all__ = ["named_only", "parameters", "refuse_unknown", "remark"]


F = TypeVar("F", bound=Callable[..., None])


def named_only(constructor: F) -> F:
    """Leave ``**kwargs`` out of a constructor's signature: it takes them to refuse them in better words.

    Examples
    --------
    >>> @named_only
    ... def __init__(self, name, **kwargs): ...
    >>> inspect.signature(__init__)
    <Signature (self, name)>
    """
    signature = inspect.signature(constructor)
    named = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    constructor.__signature__ = signature.replace(parameters=named)  # type: ignore[attr-defined]
    return constructor


def parameters(cls: type) -> list[str]:
    """Return the names of a constructor's parameters.

    Examples
    --------
    >>> class Party:
    ...     def __init__(self, name, *, host=None, **kwargs): ...
    >>> parameters(Party)
    ['name', 'host']
    """
    code = vars(cls)["__init__"].__code__
    return list(code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount])


def refuse_unknown(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise a TypeError that names each unknown keyword, and the known one that is nearest to it.

    Examples
    --------
    >>> refuse_unknown("Worker", ["nthread"], ["name", "nthreads"])
    Traceback (most recent call last):
    TypeError: Worker has no argument 'nthread' (did you mean 'nthreads'?); its arguments are name, nthreads
    """
    names = sorted(known)
    unknown = [name for name in given if name not in names]
    if not unknown:
        return
    import difflib

    hints = []
    for name in unknown:
        near = difflib.get_close_matches(name, names, n=1)
        hints.append(f"{name!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
    raise TypeError(f"{what} has no argument {', '.join(hints)}; its arguments are {', '.join(names)}")


def remark(what: str, given: Mapping[str, object], reasons: Mapping[str, str]) -> None:
    """Warn of each keyword that asks for something, and has no meaning here; ``reasons`` says why.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as seen:
    ...     remark("Worker", {"reconnect": True}, {"reconnect": "workers always come back"})
    >>> print(seen[0].message)
    Worker(reconnect=True) has no effect: workers always come back
    """
    for name, value in given.items():
        if name in reasons and value not in (None, False, {}, (), [], "", "/"):
            warnings.warn(f"{what}({name}={value!r}) has no effect: {reasons[name]}", UserWarning, stacklevel=3)
