"""Connecting, again and again until somebody answers.

What lives here: how long, how often, and what is said when nobody does. What this file must never know: how one attempt
is made.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from windrow.errors import ConnectionRefused, WrongCertificate
from windrow.transport.base import Link, Unanswered

__all__ = ["until_answered"]

L = TypeVar("L", bound=Link)

_BACKOFF_S = (0.01, 1.0)
_CUTS_MAX = 3
"""A listener that ends so many connections in a row, as soon as TLS stands, does not want this process."""


async def until_answered(
    attempt: Callable[[float, list[None]], Awaitable[L]],
    address: str,
    timeout_s: float,
    is_encrypted: bool = False,
) -> L:
    """Try to connect until somebody answers.

    Parameters
    ----------
    attempt
        Does it once, in so many seconds; notes in the list that somebody took the connection.
    address
        For the error that there may be.
    timeout_s
        When to give up.
    is_encrypted
        Whether a connection may be cut because the other side does not take this one's certificate.
    """
    deadline = time.monotonic() + timeout_s
    pause_s, pause_max_s = _BACKOFF_S
    last = "no answer"
    reached: list[None] = []
    cuts = 0
    while True:
        reached.clear()
        left_s = max(0.0, deadline - time.monotonic())
        try:
            async with asyncio.timeout(left_s):
                return await attempt(left_s, reached)
        except ConnectionRefused:
            raise
        except OSError as error:  # TimeoutError is one too
            is_over = type(error) is TimeoutError and not str(error)  # that of the line above has no words
            last = str(error) or last
            cuts += bool(is_encrypted and reached and isinstance(error, ConnectionResetError))
            if cuts >= _CUTS_MAX:
                raise WrongCertificate(
                    f"{address} ends each connection as soon as TLS stands: it does not take the certificate of this "
                    "process, and its log says why"
                ) from error
            left_s = deadline - time.monotonic()
            if left_s <= 0 or is_over:
                kind = Unanswered if reached else TimeoutError
                raise kind(
                    f"no connection to {address} within {timeout_s:g} s ({last}). Check that the "
                    "scheduler or worker runs, that host and port are right, and that no firewall is in between"
                ) from error
        await asyncio.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, pause_max_s)
