"""Which client is meant when none is named.

What lives here: the newest live client that was made to be the default, and the one of this context. What this file
must never know: how clients work.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from windrow.client.client import Client

_defaults: list[weakref.ref[Client]] = []
_in_context: ContextVar[Client | None] = ContextVar("windrow-client", default=None)


def add_default(client: Client) -> None:
    """Make this the default client, until it is closed or collected, or another comes."""
    _defaults[:] = [ref for ref in _defaults if ref() is not None]
    _defaults.append(weakref.ref(client))


def defaults() -> list[Client]:
    """Return the live default clients, the newest last."""
    return [client for ref in _defaults if (client := ref()) is not None and client.status != "closed"]


def drop_default(client: Client) -> None:
    """This one is no default any more."""
    _defaults[:] = [ref for ref in _defaults if ref() is not None and ref() is not client]


@contextmanager
def as_current(client: Client) -> Iterator[None]:
    """Make this the current client of this thread or task, within a ``with`` block."""
    token = _in_context.set(client)
    try:
        yield
    finally:
        _in_context.reset(token)


def current(allow_global: bool = True) -> Client:
    """Return the client of this context, or the newest default one; ValueError when there is none."""
    client = _in_context.get()
    if client is not None and client.status != "closed":
        return client
    if allow_global:
        for ref in reversed(_defaults):
            client = ref()
            if client is not None and client.status != "closed":
                return client
    raise ValueError("no client is there to use: make one with Client(), or name one")


def default_client(c: Client | None = None) -> Client:
    """Return ``c``, else the current client; ValueError when there is none.

    Examples
    --------
    >>> default_client()
    Traceback (most recent call last):
        ...
    ValueError: no client is there to use: make one with Client(), or name one
    """
    return c if c is not None else current()
