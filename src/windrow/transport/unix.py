"""Unix sockets between processes of one host: their names, and who is at the other end.

What lives here: names, binding one, reaching one. What this file must never know: links, what is said.

The names are abstract ones of Linux: they live in the network namespace, as loopback's ports do, and go with their
socket, so that a killed process leaves nothing behind. Beside each tcp listener there is one, named for its address; a
user's number is a part of the name, so that users do not get into each other's way. Anybody may take a name, however:
who listens there is looked at (`reach`), and has to prove that it holds the secret, as over tcp.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import struct
import sys

from windrow import config
from windrow.addressing import is_loopback, join_host_port, own_ip
from windrow.system import process_mark

__all__ = ["beside", "bind", "is_on", "is_there", "other_side", "places", "reach"]

logger = logging.getLogger(__name__)

IS_THERE = sys.platform == "linux"
"""Whether this system has abstract names."""

FAMILY = getattr(socket, "AF_UNIX", None)
"""Of these sockets."""

BACKLOG = 2048
NAME_BYTES_MAX = 100
EVERYWHERE = "*"
"""The host of what listens on all interfaces."""

_CREDENTIALS = struct.Struct("3i")
_WILDCARDS = {"", "0.0.0.0", "::"}


def is_there() -> bool:
    """Whether this system has them.

    Examples
    --------
    >>> is_there() == (sys.platform == "linux")
    True
    """
    return IS_THERE


def is_on() -> bool:
    """Whether parties of one host are to use them where their address is a tcp one."""
    return IS_THERE and bool(config.get("windrow.local-sockets"))


def beside(host: str, port: int) -> str:
    """Return where a tcp listener that is bound to this host and port listens too.

    Examples
    --------
    >>> beside("127.0.0.1", 8786), beside("::", 8786)
    ('127.0.0.1:8786', '*:8786')
    """
    return f"{EVERYWHERE}:{port}" if host in _WILDCARDS else join_host_port(host, port)


def places(host: str, port: int) -> list[str]:
    """Return where the tcp listener that is reached by this host and port may listen too; nowhere on another host.

    Names are not looked up, but ``localhost``.

    Examples
    --------
    >>> places("localhost", 8786), places("node7", 8786)
    (['127.0.0.1:8786', '*:8786'], [])
    """
    host = host.lower()
    if host in {"", "localhost"}:
        host = "127.0.0.1"
    try:
        number = ipaddress.ip_address(host)
    except ValueError:  # a name
        return []
    # What is bound to one number on this host has that number in its name; what is bound to all may be another host's.
    found = [join_host_port(str(number), port)]
    if is_loopback(str(number)) or own_ip(str(number)) == str(number):
        found.append(beside("", port))
    return found


def bind(place: str) -> socket.socket:
    """Return a listening socket.

    Raises
    ------
    OSError
        The place is taken, or there are no such sockets on this system.

    Examples
    --------
    >>> if is_there():
    ...     listening = bind("example")
    ...     reached = reach("example")
    ...     print(other_side(reached) == (os.getpid(), os.getuid()))
    ...     reached.close(); listening.close()
    True
    """
    sock = socket.socket(_family(), socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.bind(_name(place))
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def reach(place: str) -> socket.socket | None:
    """Return a socket that is connected to one of this user's processes there; None if there is none."""
    sock = socket.socket(_family(), socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.connect(_name(place))
        _, user = other_side(sock)
        if user == os.geteuid():
            return sock
        logger.warning("the unix socket for %s is held by user %d, and is left alone", place, user)
    except OSError:  # nobody is there, or more than can be taken just now stand there already
        pass
    sock.close()
    return None


def other_side(sock: socket.socket) -> tuple[int, int]:
    """Return the process and the user of the other end, as the system knows them."""
    pid, user, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, _peer_option(), _CREDENTIALS.size))
    return pid, user


def process_of(sock: socket.socket) -> str:
    """Return what tells the process of the other end from all others; "" where the system cannot."""
    return process_mark(other_side(sock)[0])


def _peer_option() -> int:
    return socket.SO_PEERCRED  # type: ignore[attr-defined,unused-ignore]


def _family() -> int:
    if not IS_THERE:
        raise OSError("there are no abstract unix sockets on this system: use tcp://127.0.0.1")
    return socket.AF_UNIX


def _name(place: str) -> bytes:
    name = f"\0windrow/{os.geteuid()}/{place}".encode()
    if len(name) > NAME_BYTES_MAX:
        raise ValueError(f"local://{place} is too long: the name of a unix socket has {NAME_BYTES_MAX} bytes at most")
    return name
