"""Encrypted connections for other libraries' test suites.

What lives here: certificates of a test, and `gen_cluster` with them. What this file must never know: how certificates
are made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from windrow.testing.helpers import gen_cluster
from windrow.tls import Security

__all__ = ["gen_tls_cluster", "tls_only_security"]


def tls_only_security() -> Security:
    """Return new certificates for all parties of a test, whose connections are then encrypted.

    Examples
    --------
    >>> tls_only_security().require_encryption
    True
    """
    return Security.temporary()


def gen_tls_cluster(**kwargs: Any) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Return what `gen_cluster` does, with encrypted connections.

    Examples
    --------
    >>> @gen_tls_cluster(client=True)
    ... async def test_address(c, s, a, b):
    ...     assert s.address.startswith("tls://")
    >>> test_address()
    """
    return gen_cluster(**{"security": tls_only_security(), **kwargs})
