"""What the process of a worker was given by its nanny, for the worker that is made in it.

What lives here: `Inherited`, and the one that waits to be taken. What this file must never know: how it came here.

It does not pass through the constructor's arguments, so that a subclass of `Worker` may have whatever signature it
likes.
"""

from __future__ import annotations

from msgspec import Struct


class Inherited(Struct):
    """What a nanny gives to its worker."""

    nanny: str = ""
    """The nanny's id."""
    directory: str = ""
    """Where the worker's own directory is to be; the nanny removes what the worker leaves there."""
    echoes: bool = True
    """Whether what tasks `print` appears on the process's terminal too, beside at the clients."""
    recorder: memoryview | None = None
    """Cells for the flight recorder."""


_waiting: list[Inherited] = []


def leave(inherited: Inherited) -> None:
    """Leave this to the next worker that is made here.

    Examples
    --------
    >>> leave(Inherited("Nanny-1"))
    >>> take().nanny, take().nanny
    ('Nanny-1', '')
    """
    _waiting.append(inherited)


def take() -> Inherited:
    """Take what was left, or nothing of note."""
    return _waiting.pop() if _waiting else Inherited()
