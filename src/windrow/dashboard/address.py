"""Where a dashboard listens, and the link that leads there.

What lives here: the forms in which users give an address, the sockets of it, the link. What this file must never know:
who answers on these sockets.
"""

from __future__ import annotations

import logging
import os
import socket
import string
from collections.abc import Mapping
from typing import Any

from windrow import addressing, config

__all__ = ["DEFAULT_PORT", "bind", "chosen", "contact", "link", "parse", "prefix_from", "prefix_of"]

logger = logging.getLogger("windrow.dashboard")

DEFAULT_PORT = 8787
LINK = "distributed.dashboard.link"
BACKLOG = 128

_EXAMPLES = "':8787', 'localhost:8787', '0.0.0.0:8787', ':0' (any free port), a port's number, or None for no dashboard"


def chosen(address: str | int | None, wanted: bool | None, default_port: int = DEFAULT_PORT) -> str | int | None:
    """Return the address of a dashboard that may be switched off, or on, beside it.

    Examples
    --------
    >>> chosen(":0", None), chosen(":0", False), chosen(None, True)
    (':0', None, ':8787')
    """
    if wanted is None:
        return address
    return (f":{default_port}" if address is None else address) if wanted else None


def parse(address: object, host: str | None = None) -> list[tuple[str, int]]:
    """Return the hosts and ports that an address names; none for None.

    Parameters
    ----------
    address
        ``":8787"``, ``"localhost:8787"``, ``8787``, several with commas between them, or None.
    host
        Where a port without a host is: where the scheduler listens. None: loopback.

    Raises
    ------
    TypeError, ValueError
        It is none of these.

    Examples
    --------
    >>> parse(":8787"), parse("node7"), parse(None)
    ([('127.0.0.1', 8787)], [('node7', 8787)], [])
    >>> parse("0.0.0.0:80, :0", host="10.0.0.7")
    [('0.0.0.0', 80), ('10.0.0.7', 0)]
    """
    if address is None:
        return []
    if isinstance(address, bool) or not isinstance(address, int | str):
        raise TypeError(f"dashboard_address is {_EXAMPLES}; not {address!r}")
    try:
        return [_parse_one(part.strip(), host or "127.0.0.1") for part in str(address).split(",")]
    except ValueError as error:
        raise ValueError(f"dashboard_address={address!r} will not do: {error}; it is {_EXAMPLES}") from None


def _parse_one(text: str, host: str) -> tuple[str, int]:
    if not text:
        raise ValueError("an address is empty")
    if "/" in text:
        raise ValueError("it is a host and a port, not a URL")
    named, port = addressing.split_host_port(f":{text}" if text.lstrip("-").isdigit() else text, DEFAULT_PORT)
    return named or host, port


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; where the port is taken, on another that is free.

    Raises
    ------
    OSError
        The host is none of this machine's, or the system does not let us.

    Examples
    --------
    >>> with bind("localhost", 0) as taken:
    ...     with bind("localhost", taken.getsockname()[1]) as other:
    ...         other.getsockname()[0]
    '127.0.0.1'
    """
    try:
        return _listen(host, port)
    except OSError as error:
        import errno

        if error.errno == errno.EADDRINUSE and port != 0:
            return _listen(host, 0)
        where = addressing.join_host_port(host, port)
        raise OSError(
            error.errno,
            f"the dashboard cannot listen on {where}: {error.strerror or error}. Give dashboard_address= a host of "
            "this machine and a port that you may use (':0': any), or None for no dashboard",
        ) from error


def _listen(host: str, port: int) -> socket.socket:
    name = "127.0.0.1" if host == "localhost" else host
    family, kind, protocol, _, where = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(where)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def contact(sock: socket.socket) -> str:
    """Return the host under which a bound socket is reached, from other machines where it can be.

    Examples
    --------
    >>> with bind("localhost", 0) as sock:
    ...     contact(sock)
    '127.0.0.1'
    """
    host = str(sock.getsockname()[0])
    if host == "0.0.0.0":
        return addressing.own_ip()
    return addressing.own_ip("2001:db8::1") if host == "::" else host


def prefix_of(text: str | None) -> str:
    """Return a prefix of paths as it is put before them: with a slash at its beginning, none at its end.

    Examples
    --------
    >>> prefix_of("foo/"), prefix_of("/"), prefix_of(None)
    ('/foo', '', '')
    """
    if not isinstance(text, str | None):
        raise TypeError(f"a dashboard's prefix is a str such as '/foo', not {text!r}")
    parts = [part for part in (text or "").split("/") if part]
    if any(set(part) - set(string.ascii_letters + string.digits + "-._~") or part in {".", ".."} for part in parts):
        raise ValueError(f"a dashboard's prefix is of letters, digits and '-._~', such as '/foo/bar'; not {text!r}")
    return "".join(f"/{part}" for part in parts)


def prefix_from(service_kwargs: Mapping[str, Any] | None, http_prefix: str | None = None) -> str:
    """Return the prefix that keywords for services name: ``{"dashboard": {"prefix": "/foo"}}``; else ``http_prefix``.

    Raises
    ------
    TypeError
        They name another service, or another keyword.

    Examples
    --------
    >>> prefix_from({"dashboard": {"prefix": "foo"}}), prefix_from(None, "/bar/")
    ('/foo', '/bar')
    """
    form = "service_kwargs is None or {'dashboard': {'prefix': '/foo'}}"
    if service_kwargs is not None and not isinstance(service_kwargs, Mapping):
        raise TypeError(f"{form}, not {service_kwargs!r}")
    options = dict(service_kwargs or {})
    mine = options.pop("dashboard", None) or {}
    if options or not isinstance(mine, Mapping) or set(mine) - {"prefix"}:
        raise TypeError(f"{form}: the dashboard is the one service, and prefix its one keyword; not {service_kwargs!r}")
    return prefix_of(mine.get("prefix", http_prefix))


def link(
    host: str, port: int, prefix: str = "", token: str = "", *, environment: Mapping[str, str] = os.environ
) -> str:
    """Return the link to a dashboard, in the form that ``distributed.dashboard.link`` says.

    That may name ``{scheme}``, ``{host}``, ``{port}``, ``{prefix}`` and environment variables. Where it has no
    ``{prefix}``, a prefix comes before the ``/status`` at its end.

    Examples
    --------
    >>> link("127.0.0.1", 8787), link("::1", 80, "/foo", "s3")
    ('http://127.0.0.1:8787/status', 'http://[::1]:80/foo/status?token=s3')
    """
    template = str(config.get(LINK))
    facts = {"scheme": "http", "host": f"[{host}]" if ":" in host else host, "port": port, "prefix": prefix}
    if "{prefix}" not in template and template.endswith("/status"):
        template = template.removesuffix("/status") + "{prefix}/status"
    try:
        text = template.format(**{**environment, **facts})
    except (KeyError, IndexError, ValueError) as error:
        default = str(config.DEFAULTS[LINK].default).removesuffix("/status") + "{prefix}/status"
        text = default.format(**facts)
        logger.warning(
            "the setting %s is %r, which cannot be filled in (%r): the dashboard's link is %s. Name {scheme}, {host}, "
            "{port}, {prefix} or environment variables that are set",
            *(LINK, template, error, text),
        )
    return text + (f"{'&' if '?' in text else '?'}token={token}" if token else "")
