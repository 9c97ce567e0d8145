"""Whether somebody listens at an address, and the secret that goes with one.

What lives here: `is_there` and `secret_for`. What this file must never know: what is said to who listens.
"""

from __future__ import annotations

import asyncio

from windrow import schemes, security
from windrow.addressing import split_address, split_host_port
from windrow.errors import WrongSecret
from windrow.transport.handshake import GREETING_BYTES, KNOCK, MAGIC

__all__ = ["is_there", "secret_for"]

LIMIT_S = 1.0

GREETING_S = 0.3
"""A listener of windrow's has said something after so long; who has not is left alone."""


async def is_there(address: str, limit_s: float = LIMIT_S) -> bool:
    """Whether somebody takes connections there; False of what has no ports.

    Examples
    --------
    >>> asyncio.run(is_there("tcp://127.0.0.1:13"))
    False
    """
    scheme, location = split_address(address)
    if not schemes.has_ports(scheme):
        return False
    host, port = split_host_port(location)
    try:
        async with asyncio.timeout(limit_s):
            reader, writer = await asyncio.open_connection(host or "127.0.0.1", port)
    except OSError:  # TimeoutError is one too
        return False
    try:
        await _knock(reader, writer, scheme)
    except (OSError, asyncio.IncompleteReadError):  # it is there, and that is all that was asked
        return True
    finally:
        writer.close()
    return True


async def _knock(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, scheme: str) -> None:
    """Tell a listener of windrow's that nobody wants in, so that it does not log an attempt."""
    if scheme != "tls":  # where who connects speaks first
        async with asyncio.timeout(GREETING_S):
            if not (await reader.readexactly(GREETING_BYTES)).startswith(MAGIC):
                return
    writer.write(KNOCK)
    await writer.drain()


async def secret_for(address: str) -> bytes:
    """Return the secret for an address, as `security.secret_for`; who finds none hears whether anybody is there.

    Raises
    ------
    WrongSecret
        Somebody is, and this user knows no secret.
    ConnectionError
        Nobody is.

    Examples
    --------
    >>> asyncio.run(secret_for("tcp://127.0.0.1:13"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ConnectionError: nobody answers at tcp://127.0.0.1:13, and nothing is published of a cluster there: start one \
(windrow scheduler), or check the address...
    """
    try:
        return security.secret_for(address)
    except WrongSecret:
        if not schemes.has_ports(split_address(address)[0]) or await is_there(address):
            raise
    running = ", ".join(security.published())
    raise ConnectionError(
        f"nobody answers at {address}, and nothing is published of a cluster there: start one (windrow scheduler), or "
        "check the address" + (f"; on this machine this user runs {running}" if running else "")
    )
