"""Floor 2: how batches of messages get from one party to another. `connect`, `listen`, and the links between.

What lives here: the two entrances, by scheme. What this package must never know: what a message means, who the parties
are.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from windrow.addressing import split_address
from windrow.schemes import backend, register
from windrow.transport.base import Backend, Link, Listener, OnLink

if TYPE_CHECKING:
    from windrow.tls import Security

__all__ = ["Link", "Listener", "connect", "listen", "register"]


async def connect(
    address: str,
    *,
    secret: bytes | None,
    timeout_s: float = 30.0,
    patience_s: float = 0.0,
    certificates: Security | None = None,
    role: str = "client",
) -> Link:
    """Return a link to a listener; assign its ``on_lost`` and ``on_batch`` then.

    Parameters
    ----------
    address
        ``tcp://host:port``, ``tls://host:port``, ``inproc://name``, ``local://name``, or one with the scheme of a
        package (`windrow.schemes`).
    secret
        The cluster's secret; None is enough for inproc only.
    timeout_s
        A listener that is not there yet is tried again until then, in seconds.
    patience_s
        If the connection breaks, the link goes on over another, which is tried for so long (`transport.lasting`); the
        listener must know of such links. What connects inside a process cannot break.
    certificates, role
        For tls: whose certificates, and of which role; by default those that are known to belong to the address.

    Raises
    ------
    RuntimeError
        ``certificates`` require encryption, and tcp has none.
    ValueError
        The scheme is unknown, or its package broken, or a tcp address is given without a secret.
    WrongSecret, WrongVersion, WrongCertificate, ConnectionRefused
        The other side answered and refuses, or is no windrow listener; not tried again.
    TimeoutError, OSError
        There was no answer.

    Examples
    --------
    >>> import asyncio
    >>> async def main():
    ...     arrived = asyncio.get_running_loop().create_future()
    ...     def accept(link):
    ...         link.on_batch = arrived.set_result
    ...     listener = await listen("tcp://127.0.0.1:0", accept, secret=b"s" * 32)
    ...     link = await connect(listener.address, secret=b"s" * 32)
    ...     link.send([Close("hello")])
    ...     print(await arrived)
    ...     listener.close()
    >>> from windrow.wire.messages import Close
    >>> asyncio.run(main())
    [Close(reason='hello')]
    """
    scheme, location = split_address(address)
    found: Backend = backend(scheme)
    dial = partial(found.connect, location, secret=secret, **_options(scheme, address, certificates, role))
    link = await dial(timeout_s=timeout_s)
    if patience_s <= 0 or scheme == "inproc":
        return link
    from windrow.transport.lasting import Dialler

    return Dialler(link, lambda timeout_s: dial(timeout_s=timeout_s), patience_s)


async def listen(
    address: str,
    on_link: OnLink,
    *,
    secret: bytes | None,
    certificates: Security | None = None,
    role: str = "scheduler",
) -> Listener:
    """Accept connections; each becomes a link for ``on_link``, which assigns its handlers.

    Parameters
    ----------
    address
        ``tcp://host:port``, ``tls://host:port`` (port 0: any that is free), ``inproc://name``, ``local://name``, or one
        with the scheme of a package.
    on_link
        Called on the loop with each link whose other side has proved that it holds the secret.
    secret
        The cluster's secret. A tcp or tls listener without one is refused.
    certificates, role
        For tls: whose certificates, and of which role.

    Examples
    --------
    >>> import asyncio
    >>> asyncio.run(listen("inproc://example", print, secret=None)).address
    'inproc://example'
    """
    scheme, location = split_address(address)
    found: Backend = backend(scheme)
    return await found.listen(location, on_link, secret=secret, **_options(scheme, address, certificates, role))


def _options(scheme: str, address: str, certificates: Security | None, role: str) -> dict[str, Any]:
    """Return what a scheme that encrypts is told besides; refuse one that does not where that is required."""
    found = backend(scheme)
    if getattr(found, "TAKES_CERTIFICATES", False):
        return {"certificates": certificates, "role": role}
    if certificates is not None and certificates.require_encryption and not getattr(found, "IS_SAFE", False):
        raise RuntimeError(f"encryption is required ({certificates!r}), and {address} has none: use tls://")
    return {}
