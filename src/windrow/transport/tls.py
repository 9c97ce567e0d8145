"""TLS: tcp links inside of an encrypted connection, for which both sides show a certificate.

What lives here: which certificates a connection uses, how TLS begins on either side, and its failures in words. What
this file must never know: what a message means; how a certificate is made (`windrow.tls`).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from windrow import config, security
from windrow.addressing import join_address
from windrow.errors import ConnectionRefused, WrongCertificate
from windrow.tls import Security
from windrow.transport import tcp
from windrow.transport.base import OnLink
from windrow.transport.door import Arrival

if TYPE_CHECKING:
    from windrow.transport.tcp import TcpLink, TcpListener

__all__ = ["accept", "connect", "dial", "listen"]

IS_SAFE = TAKES_CERTIFICATES = True

_PLAIN = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"}
_EXPIRED = 10
"""OpenSSL's number for it."""


async def connect(
    location: str, *, secret: bytes | None, timeout_s: float, certificates: Security | None = None, role: str = "client"
) -> TcpLink:
    """Connect to ``host:port`` with a role's certificate; by default that which is known for the address."""
    context = _certificates(join_address("tls", location), certificates).context(role, server=False)
    return await tcp.connect(location, secret=secret, timeout_s=timeout_s, context=context)


async def listen(
    location: str,
    on_link: OnLink,
    *,
    secret: bytes | None,
    certificates: Security | None = None,
    role: str = "scheduler",
) -> TcpListener:
    """Listen on ``host:port`` with a role's certificate."""
    if certificates is None:
        raise ValueError(f"tls://{location} needs certificates to listen: pass security=Security.temporary()")
    return await tcp.listen(location, on_link, secret=secret, context=certificates.context(role, server=True))


def _certificates(address: str, given: Security | None) -> Security:
    """Return what is given, else what goes with the address, else what is configured."""
    if given is not None and given.encrypts:
        return given
    found = security.certificates_for(address) or Security()
    if not found.encrypts and given is not None and given.tls_ca_file is not None:
        return given  # which says itself what else it needs
    if not found.encrypts:
        raise WrongCertificate(
            f"no certificates for {address} are known to this user: pass security=Security(tls_ca_file=…), take its "
            "scheduler file, or run as the user who started it"
        )
    return found


# ---------------------------------------------------------------- how TLS begins


async def dial(
    make: Callable[[], TcpLink], host: str, port: int, address: str, context: ssl.SSLContext
) -> asyncio.Transport:
    """Connect, and begin TLS.

    Raises
    ------
    WrongCertificate, ConnectionRefused
        There can be no TLS between these two; it makes no sense to try again.
    """
    loop = asyncio.get_running_loop()
    limit_s = config.seconds("windrow.handshake-timeout")
    try:
        transport, _ = await loop.create_connection(make, host, port, ssl=context, ssl_handshake_timeout=limit_s)
    except ssl.SSLCertVerificationError as error:
        raise WrongCertificate(f"the certificate of {address} {_fault(error)}. Nothing was sent to it") from error
    except ssl.SSLEOFError as error:
        raise ConnectionResetError(f"{address} ended the connection while TLS began") from error
    except ssl.SSLError as error:
        if error.reason in _PLAIN:
            plain = address.replace("tls://", "tcp://", 1)
            raise ConnectionRefused(f"what listens on {address} does not speak TLS: use {plain}") from error
        raise WrongCertificate(f"{address} and this process cannot agree on TLS: {_words(error)}") from error
    return transport


async def accept(make: Callable[[], TcpLink], arrival: Arrival, context: ssl.SSLContext) -> None:
    """Begin TLS with one who has come.

    Raises
    ------
    OSError
        There is none with that one; the message says why.
    """
    loop = asyncio.get_running_loop()
    limit_s = config.seconds("windrow.handshake-timeout")
    try:
        await loop.connect_accepted_socket(make, arrival.sock, ssl=context, ssl_handshake_timeout=limit_s)
    except ssl.SSLCertVerificationError as error:
        raise WrongCertificate(f"tls://{arrival.remote}: its certificate {_fault(error)}") from error
    except ssl.SSLError as error:
        raise ConnectionRefused(f"tls://{arrival.remote}: no TLS with it: {_words(error)}") from error
    except (ConnectionError, TimeoutError) as error:
        why = str(error) or "it went away; perhaps it does not trust the certificate of this process"
        raise ConnectionRefused(f"tls://{arrival.remote} did not complete the TLS handshake: {why}") from error


def _fault(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code == _EXPIRED:
        return "has expired: make a new one"
    return f"is not signed by the authority that this process trusts (tls_ca_file): {error.verify_message}"


def _words(error: ssl.SSLError) -> str:
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if "did not return a certificate" in reason:
        return "it showed no certificate"
    if "alert" in reason and ("unknown ca" in reason or "certificate" in reason):
        return f"it does not take the certificate of this process ({reason})"
    return reason
