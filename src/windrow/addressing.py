"""Addresses as text: ``scheme://location``, ``tcp://host:port``.

What lives here: taking addresses apart and putting them together, and which address of this machine to tell to others.
What this file must never know: which schemes exist, connections.
"""

from __future__ import annotations

from windrow import config

__all__ = [
    "default_scheme",
    "is_here",
    "is_loopback",
    "join_address",
    "join_host_port",
    "normalize",
    "own_ip",
    "split_address",
    "split_host_port",
]


def default_scheme() -> str:
    """Return the scheme of an address that has none, as configured (``distributed.comm.default-scheme``).

    Examples
    --------
    >>> default_scheme()
    'tcp'
    """
    return str(config.get("distributed.comm.default-scheme")).removesuffix("://").lower()


def split_address(address: str) -> tuple[str, str]:
    """Return scheme and location; an address without a scheme is a tcp address, unless configured otherwise.

    Raises
    ------
    TypeError, ValueError
        The address is no text, or has no location.

    Examples
    --------
    >>> split_address("tcp://127.0.0.1:8786"), split_address("127.0.0.1:8786")
    (('tcp', '127.0.0.1:8786'), ('tcp', '127.0.0.1:8786'))
    """
    if not isinstance(address, str):
        raise TypeError(f"an address is a str such as 'tcp://127.0.0.1:8786', not {type(address).__name__}")
    scheme, separator, location = address.partition("://")
    if not separator:
        scheme, location = default_scheme(), address
    if not scheme or not location:
        raise ValueError(f"{address!r} is no address; one looks like 'tcp://127.0.0.1:8786'")
    return scheme.lower(), location


def join_address(scheme: str, location: str) -> str:
    """Return the address of a scheme and a location.

    Examples
    --------
    >>> join_address("inproc", "scheduler-1")
    'inproc://scheduler-1'
    """
    return f"{scheme}://{location}"


def split_host_port(location: str, default_port: int | None = None) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``[ipv6]:port``; the host may be empty.

    Examples
    --------
    >>> split_host_port("[::1]:80"), split_host_port(":0"), split_host_port("node7", 8786)
    (('::1', 80), ('', 0), ('node7', 8786))
    """
    if location.startswith("["):
        host, bracket, rest = location[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{location!r} is no host and port; an IPv6 one looks like '[::1]:8786'")
        digits = rest[1:]
    else:
        host, _, digits = location.partition(":")
        if ":" in digits:
            raise ValueError(f"{location!r} is no host and port; put an IPv6 host in brackets: '[::1]:8786'")
    if not digits:
        if default_port is None:
            raise ValueError(f"{location!r} has no port; an address looks like 'tcp://127.0.0.1:8786'")
        return host, default_port
    if not (digits.isascii() and digits.isdigit()) or int(digits) > 65535:
        raise ValueError(f"{digits!r} in {location!r} is no port: a number up to 65535 is needed")
    return host, int(digits)


def join_host_port(host: str, port: int) -> str:
    """Return ``host:port``, with brackets around an IPv6 host.

    Examples
    --------
    >>> join_host_port("::1", 80)
    '[::1]:80'
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def normalize(address: str) -> str:
    """Return the one spelling of an address under which it is looked up.

    Examples
    --------
    >>> normalize("localhost:8786"), normalize("TCP://127.0.0.1:8786")
    ('tcp://127.0.0.1:8786', 'tcp://127.0.0.1:8786')
    """
    scheme, location = split_address(address)
    if scheme not in {"tcp", "tls"}:
        return join_address(scheme, location)
    host, port = split_host_port(location)
    host = host.lower()
    return join_address(scheme, join_host_port("127.0.0.1" if host == "localhost" else host, port))


def is_loopback(host: str) -> bool:
    """Whether a host name or number reaches this machine only.

    Examples
    --------
    >>> is_loopback("localhost"), is_loopback("127.3.2.1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    host = host.lower()
    return host in {"localhost", "::1"} or (host.startswith("127.") and host.replace(".", "").isdigit())


def is_here(host: str) -> bool:
    """Whether a host's number, or ``localhost``, is one of this machine's; names are not looked up.

    Examples
    --------
    >>> is_here("127.0.0.1"), is_here("192.0.2.77"), is_here("node7")
    (True, False, False)
    """
    if is_loopback(host):
        return True
    return (":" in host or host.replace(".", "").isdigit()) and own_ip(host) == host


def own_ip(towards: str = "192.0.2.1") -> str:
    """Return this machine's address on the route towards another; 127.0.0.1 (or ::1) when there is no such route.

    Nothing is sent: the system only looks its route up.

    Examples
    --------
    >>> own_ip("127.0.0.1")
    '127.0.0.1'
    """
    import socket

    family = socket.AF_INET6 if ":" in towards else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((towards, 80))
        except OSError:  # no route: a machine without a network still talks to itself
            return "::1" if ":" in towards else "127.0.0.1"
        return str(probe.getsockname()[0])
