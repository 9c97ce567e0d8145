"""Addresses, as ``distributed.comm`` takes them apart.

What lives here: its functions over `windrow.addressing`. What this file must never know: connections.
"""

from __future__ import annotations

from typing import Any

from windrow import addressing, listening

__all__ = [
    "CommClosedError",
    "addresses_from_user_args",
    "get_address_host",
    "get_address_host_port",
    "get_local_address_for",
    "get_tcp_server_address",
    "normalize_address",
    "parse_address",
    "parse_host_port",
    "resolve_address",
    "unparse_address",
    "unparse_host_port",
]

CommClosedError = OSError
"""What a lost connection raises here is one of several kinds of it."""


def parse_address(addr: str, strict: bool = False) -> tuple[str, str]:
    """Return an address's scheme and location.

    Raises
    ------
    ValueError
        There is no scheme, and it is ``strict``.

    Examples
    --------
    >>> parse_address("127.0.0.1:8786"), parse_address("inproc://a/1")
    (('tcp', '127.0.0.1:8786'), ('inproc', 'a/1'))
    """
    if not isinstance(addr, str):
        raise TypeError(f"an address is a str such as 'tcp://127.0.0.1:8786', not {addr!r}")
    if strict and "://" not in addr:
        raise ValueError(f"{addr!r} is no address with a scheme, such as 'tcp://{addr}'")
    return addressing.split_address(addr)


def unparse_address(protocol: str, loc: str) -> str:
    """Return the address of a scheme and a location.

    Examples
    --------
    >>> unparse_address("tcp", "127.0.0.1:8786")
    'tcp://127.0.0.1:8786'
    """
    return addressing.join_address(protocol, loc)


def normalize_address(addr: str) -> str:
    """Return an address with its scheme.

    Examples
    --------
    >>> normalize_address("127.0.0.1:8786")
    'tcp://127.0.0.1:8786'
    """
    return unparse_address(*parse_address(addr))


def parse_host_port(address: str, default_port: int | None = None) -> tuple[str, int]:
    """Return the host and the port of a location.

    Examples
    --------
    >>> parse_host_port("[::1]:80"), parse_host_port("localhost", 8786)
    (('::1', 80), ('localhost', 8786))
    """
    return addressing.split_host_port(address, default_port)


def unparse_host_port(host: str, port: int | None = None) -> str:
    """Return a location of a host and a port.

    Examples
    --------
    >>> unparse_host_port("::1", 80), unparse_host_port("localhost")
    ('[::1]:80', 'localhost')
    """
    return host if port is None else addressing.join_host_port(host, port)


def get_address_host_port(addr: str, strict: bool = False) -> tuple[str, int]:
    """Return the host and the port of an address.

    Raises
    ------
    ValueError
        Addresses of this scheme have no port.

    Examples
    --------
    >>> get_address_host_port("tcp://10.0.0.1:8786")
    ('10.0.0.1', 8786)
    """
    scheme, location = parse_address(addr, strict)
    if scheme == "inproc":
        raise ValueError(f"{addr!r} is an address within a process, which has no port")
    return addressing.split_host_port(location)


def get_address_host(addr: str) -> str:
    """Return the host of an address.

    Examples
    --------
    >>> get_address_host("tcp://10.0.0.1:8786")
    '10.0.0.1'
    """
    scheme, location = parse_address(addr)
    return addressing.own_ip() if scheme == "inproc" else addressing.split_host_port(location, 0)[0]


def get_local_address_for(addr: str) -> str:
    """Return an address of this machine, without a port, that the host of ``addr`` can reach.

    Examples
    --------
    >>> get_local_address_for("tcp://127.0.0.1:8786")
    'tcp://127.0.0.1'
    """
    scheme, location = parse_address(addr)
    if scheme == "inproc":
        return addr
    host, _ = addressing.split_host_port(location, 0)
    return unparse_address(scheme, unparse_host_port(addressing.own_ip(_ip_of(host))))


def resolve_address(addr: str) -> str:
    """Return an address with its host as a number.

    Examples
    --------
    >>> resolve_address("tcp://127.0.0.1:8786")
    'tcp://127.0.0.1:8786'
    """
    scheme, location = parse_address(addr)
    if scheme == "inproc":
        return addr
    host, port = addressing.split_host_port(location)
    return unparse_address(scheme, unparse_host_port(_ip_of(host), port))


def get_tcp_server_address(tcp_server: Any) -> tuple[str, int]:
    """Return host and port of a server that has sockets, such as Tornado's.

    Examples
    --------
    >>> get_tcp_server_address(server)  # doctest: +SKIP
    ('127.0.0.1', 8786)
    """
    sockets = list(getattr(tcp_server, "_sockets", {}).values())
    if not sockets:
        raise RuntimeError(f"{tcp_server!r} listens nowhere yet: start it first")
    host, port = sockets[0].getsockname()[:2]
    return str(host), int(port)


def addresses_from_user_args(
    host: Any = None,
    port: Any = None,
    interface: Any = None,
    protocol: Any = None,
    peer: str | None = None,
    security: Any = None,
    default_port: int = 0,
) -> list[str]:
    """Return the addresses to listen on that these arguments mean; where none is given, what ``peer`` can reach.

    Raises
    ------
    ValueError
        Two arguments contradict each other, or there is no such interface.

    Examples
    --------
    >>> addresses_from_user_args(host="127.0.0.1", port=8786), addresses_from_user_args(peer="tcp://127.0.0.1:8786")
    (['tcp://127.0.0.1:8786'], ['tcp://127.0.0.1:0'])
    """
    if host is None and interface is None and peer is not None:
        host = listening.own_host(addressing.split_host_port(parse_address(peer)[1], 0)[0])
    return listening.choose_all(host, port, interface, protocol, default_port, security)


def _ip_of(host: str) -> str:
    import socket

    return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
