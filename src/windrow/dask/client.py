"""What ``distributed.client`` has beside the client.

What lives here: the default client, as libraries look it up and change it. What this file must never know: how clients
work.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from windrow.client import current, dask_default
from windrow.client.client import Client

__all__ = ["temp_default_client"]


def _get_global_client() -> Client | None:
    """Return the default client; None where there is none."""
    try:
        return current.default_client()
    except ValueError:
        return None


@contextmanager
def temp_default_client(c: Client) -> Iterator[None]:
    """Make this the default client within a ``with`` block.

    Examples
    --------
    >>> with temp_default_client(client):  # doctest: +SKIP
    ...     dask.compute(x)
    """
    with dask_default.as_current(c):
        yield
