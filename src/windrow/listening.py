"""Where a party is to listen, by the arguments that users know: host, port, interface, protocol.

What lives here: `choose` and `choose_all`, which make addresses of them, `ports`, and the addresses of this machine's
interfaces. What this file must never know: sockets, who listens.
"""

from __future__ import annotations

from collections.abc import Iterable

from windrow import addressing, schemes, tls

__all__ = ["beside", "choose", "choose_all", "contact", "interface_ip", "own_host", "ports", "scheme_of", "towards"]

Ports = int | str | Iterable[int] | None


def choose(
    host: str | None = None,
    port: Ports = None,
    interface: str | None = None,
    protocol: str | None = None,
    default_port: int = 0,
    default_host: str = "127.0.0.1",
    security: tls.Security | None = None,
) -> list[str]:
    """Return the addresses to try, one after the other, until one is free.

    Parameters
    ----------
    host
        A name or number, perhaps with a scheme and a port; "" is every interface, by IPv4 and IPv6; None is
        ``default_host``.
    port
        A number, a range "8000:8010", or several numbers; None is ``default_port``.
    interface
        Such as "eth0", instead of a host.
    protocol
        "tcp", "tls", "inproc", "local", or the scheme of a package; by default what ``host`` says, else tls where
        ``security`` requires encryption or other machines can come, else tcp.
    default_port, default_host
        What holds where nothing is said.
    security
        What is known of encryption.

    Raises
    ------
    RuntimeError
        "tcp" is asked for where it may not be (`tls.chosen_scheme`).
    ValueError
        Two arguments contradict each other, or there is no such interface or port.

    Examples
    --------
    >>> choose(port="8000:8002"), choose("10.0.0.1:9000")
    (['tcp://127.0.0.1:8000', 'tcp://127.0.0.1:8001', 'tcp://127.0.0.1:8002'], ['tls://10.0.0.1:9000'])
    >>> choose(protocol="inproc")
    ['inproc://']
    """
    if host is not None and not isinstance(host, str):
        raise TypeError(f"host must be a str, or None, not {host!r}")
    scheme = scheme_of(protocol, host)
    if scheme == "inproc":
        return ["inproc://"]
    if not schemes.has_ports(scheme):
        return [_without_port(scheme, host, port, interface)]
    if interface is not None and host:
        raise ValueError(f"interface={interface!r} and host={host!r} say the same thing twice; give one of them")
    name, own_port = _split(host)
    if interface is not None:
        name = interface_ip(interface)
    elif host is None:
        name = default_host
    chosen = ports(port) if port is not None else [default_port if own_port is None else own_port]
    if own_port is not None and port is not None and chosen != [own_port]:
        raise ValueError(f"host={host!r} names another port than port={port!r}; give the port once")
    said = protocol is not None or (host is not None and "://" in host)
    scheme = tls.chosen_scheme(scheme, name, security, said=said)
    return [addressing.join_address(scheme, addressing.join_host_port(name, each)) for each in chosen]


def _without_port(scheme: str, host: str | None, port: Ports, interface: str | None) -> str:
    """Return the address of what listens under a name."""
    if interface is not None or port not in (None, 0):
        raise ValueError(
            f"{scheme}:// has no interfaces and no ports; leave interface={interface!r}, port={port!r} out"
        )
    location = host.partition("://")[2] if host and "://" in host else ""
    if host and not location and not addressing.is_loopback(host):
        raise ValueError(f"{scheme}:// has no hosts; leave host={host!r} out, or give a name: '{scheme}://name'")
    return addressing.join_address(scheme, location or schemes.new_location(scheme))


def choose_all(
    host: object = None,
    port: object = None,
    interface: object = None,
    protocol: object = None,
    default_port: int = 0,
    security: tls.Security | None = None,
) -> list[str]:
    """Return the addresses to listen on, all of them, where each argument may be a list.

    Lists go side by side; what is no list holds for each. Of several, only the first has the default port.

    Examples
    --------
    >>> choose_all(host=["127.0.0.1", "10.0.0.1"], default_port=8786)
    ['tcp://127.0.0.1:8786', 'tls://10.0.0.1:0']
    """
    arguments = {"host": host, "port": port, "interface": interface, "protocol": protocol}
    lengths = {name: len(value) for name, value in arguments.items() if isinstance(value, list | tuple)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"these lists are to go side by side, and differ in length: {lengths}")
    count = next(iter(lengths.values()), 1)
    if count == 0:
        raise ValueError(f"{', '.join(lengths)}: an empty list names nowhere to listen")
    found = []
    for place in range(count):
        own = {name: value[place] if name in lengths else value for name, value in arguments.items()}  # type: ignore[index]
        if place and "port" not in lengths and own["port"]:
            own["port"] = 0  # one socket a port
        own["default_port"] = 0 if place else default_port
        found += choose(**own, security=security)[:1]  # type: ignore[arg-type]
    return found


def _split(host: str | None) -> tuple[str, int | None]:
    """Return the host's name and its port, if it has one."""
    if not host:
        return "", None
    location = addressing.split_address(host)[1] if "://" in host else host
    if location.count(":") > 1 and not location.startswith("["):  # a bare IPv6 number
        return location, None
    name, port = addressing.split_host_port(location, -1)
    return name, None if port == -1 else port


def scheme_of(protocol: str | None, host: str | None = None) -> str:
    """Return the scheme that a protocol, or a host such as ``tcp://node7``, names; else the configured one, tcp.

    Examples
    --------
    >>> scheme_of("tcp://"), scheme_of(None, "inproc://")
    ('tcp', 'inproc')
    """
    if protocol is not None and not isinstance(protocol, str):
        raise TypeError(f"protocol must be a str such as 'tcp', or None, not {protocol!r}")
    named = host.partition("://")[0].lower() if host and "://" in host else None
    scheme = (protocol or named or addressing.default_scheme()).removesuffix("://").lower()
    if named is not None and named != scheme:
        raise ValueError(f"protocol={protocol!r} contradicts host={host!r}; give one of them")
    if not schemes.is_known(scheme):
        raise ValueError(f"unknown protocol {scheme!r}; known are {', '.join(schemes.known())}")
    return scheme


def ports(port: Ports) -> list[int]:
    """Return the ports that a number, a range "first:last", or several numbers name.

    Examples
    --------
    >>> ports(8786), ports("8000:8002"), ports([1, 2])
    ([8786], [8000, 8001, 8002], [1, 2])
    """
    if port is None:
        return [0]
    if isinstance(port, bool) or not isinstance(port, int | str | Iterable):
        raise TypeError(f"port must be a number, a range such as '8000:8010', or several numbers, not {port!r}")
    if isinstance(port, str):
        first, colon, last = port.partition(":")
        try:
            found = list(range(int(first), int(last) + 1)) if colon else [int(first)]
        except ValueError:
            raise ValueError(f"port={port!r} is no port, and no range such as '8000:8010'") from None
    else:
        found = [port] if isinstance(port, int) else [int(each) for each in port]
    if not found or any(not 0 <= each < 65536 for each in found):
        raise ValueError(f"port={port!r} names no ports: numbers from 0 (any that is free) to 65535 are needed")
    return found


def beside(scheduler: str) -> str:
    """Return where a worker listens that was told nothing: where its scheduler, and its peers, reach it.

    Examples
    --------
    >>> beside("tcp://127.0.0.1:8786"), beside("inproc://scheduler").startswith("inproc://")
    ('tcp://127.0.0.1:0', True)
    """
    scheme, location = addressing.split_address(scheduler)
    if schemes.has_ports(scheme):
        own = own_host(addressing.split_host_port(location)[0])
        return addressing.join_address(scheme, addressing.join_host_port(own, 0))
    return addressing.join_address(scheme, schemes.new_location(scheme))


def own_host(towards: str) -> str:
    """Return by what another host, or this one, reaches this one.

    Examples
    --------
    >>> own_host("localhost"), own_host(""), own_host("::1")
    ('127.0.0.1', '127.0.0.1', '::1')
    """
    if addressing.is_loopback(towards or "localhost"):
        return "::1" if ":" in towards else "127.0.0.1"
    return addressing.own_ip(towards)


def contact(given: str, listening: str) -> str:
    """Return the address to give to others: what is given, with the scheme and port of what listens where it has none.

    Examples
    --------
    >>> contact("node7", "tcp://10.0.0.1:8786")
    'tcp://node7:8786'
    """
    if not given:
        return listening
    scheme, location = addressing.split_address(listening)
    if not schemes.has_ports(scheme):
        return listening
    name, port = _split(given)
    own = addressing.split_host_port(location)[1]
    return addressing.join_address(scheme, addressing.join_host_port(name, port or own))


def towards(scheduler: str, listens: str) -> str:
    """Return by which host others reach what listens everywhere: the one on the route to its scheduler.

    "" if it listens at one place, or cannot be reached that way.

    Examples
    --------
    >>> towards("tcp://127.0.0.1:8786", "tcp://:0"), towards("tcp://127.0.0.1:8786", "tcp://10.0.0.1:0")
    ('127.0.0.1', '')
    """
    scheme, location = addressing.split_address(listens)
    if not schemes.has_ports(scheme):
        return ""
    host = addressing.split_host_port(location)[0]
    if host not in {"", "0.0.0.0", "::"}:
        return ""
    own = own_host(addressing.split_host_port(addressing.split_address(scheduler)[1])[0])
    return own if not host or (":" in own) == (":" in host) else ""


def interface_ip(interface: str) -> str:
    """Return the IPv4 number of one of this machine's interfaces.

    Raises
    ------
    ValueError
        There is no such one, or it has none; the message names those that have.

    Examples
    --------
    >>> interface_ip("no such one")
    Traceback (most recent call last):
    ValueError: there is no interface 'no such one' with an IPv4 address here; there are ...
    """
    import socket

    import psutil

    found = {
        name: address.address
        for name, addresses in psutil.net_if_addrs().items()
        for address in addresses
        if address.family == socket.AF_INET
    }
    if interface not in found:
        there = ", ".join(f"{name} ({number})" for name, number in sorted(found.items()))
        raise ValueError(f"there is no interface {interface!r} with an IPv4 address here; there are {there}")
    return found[interface]
