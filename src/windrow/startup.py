"""What every process of a cluster does before anything else: before a worker loads a function, or a class of its own.

What lives here: the list of such calls, each by name, and how they are made. What this file must never know: what they
do.

A process of windrow's own is told the list by the one that starts it; what is above this floor is found by its name.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable

__all__ = ["add", "calls", "drop", "run"]

_calls: list[str] = []


def add(call: str) -> None:
    """Have every process that is started from here on call ``"package.module:function"``; again is harmless.

    Examples
    --------
    >>> add("gc:collect")
    >>> calls()
    ['gc:collect']
    >>> drop("gc:collect")
    """
    if call not in _calls:
        _calls.append(call)


def drop(call: str) -> None:
    """Take one back.

    Examples
    --------
    >>> drop("gc:collect")
    """
    if call in _calls:
        _calls.remove(call)


def calls() -> list[str]:
    """Return the list, as a process that is started now is to be told it.

    Examples
    --------
    >>> calls()
    []
    """
    return list(_calls)


def run(given: Iterable[str]) -> None:
    """Make the calls, as a process that was told them.

    Examples
    --------
    >>> run(["gc:collect"])
    """
    for call in given:
        module, _, function = call.partition(":")
        getattr(importlib.import_module(module), function)()
