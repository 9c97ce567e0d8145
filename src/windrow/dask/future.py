"""Futures as programs for ``dask.distributed`` treat them: with attributes of their own.

What lives here: `OpenFuture`. What this file must never know: clients.
"""

from __future__ import annotations

from windrow.client.future import Future

__all__ = ["OpenFuture"]


class OpenFuture(Future):
    """A future that takes any attribute, which stays in this process; it costs a dictionary more than a plain one.

    Examples
    --------
    >>> future = OpenFuture.unbound("inc-1")
    >>> future.tag = "first"
    >>> future.tag
    'first'
    """
