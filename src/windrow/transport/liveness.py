"""Whether a connection's other host still answers, by what the system knows.

What lives here: the options of a TCP socket, and `is_gone`. What this file must never know: links, what is said.

A host that is gone without a word answers nothing, and the system notices: by probes of its own (keep-alives) where
nothing is under way, and by a quarter of an hour of repetitions where something is. The latter is too long. The option
that shortens it, ``TCP_USER_TIMEOUT``, also ends connections to processes that are stopped or busy and do not read, on
hosts that answer each probe: a task may hold the interpreter for minutes. So the system is asked instead how often it
has repeated itself in vain, and since when it has heard nothing.
"""

from __future__ import annotations

import socket
import struct
import sys

__all__ = ["is_gone", "tune"]

PROBES = 4
"""Keep-alives in a row that must be missing."""

REPETITIONS = 3
"""So many times in a row must something have been repeated in vain; a moment's loss is made good by one or two."""

_INFO = struct.Struct("=2x2B52xI")
"""Of Linux's ``tcp_info``: repetitions, probes, milliseconds since anything was acknowledged."""


def tune(sock: socket.socket, limit_s: float) -> None:
    """Have a TCP socket send at once, and notice in about so long that a host is gone while nothing is under way.

    Examples
    --------
    >>> with socket.socket() as sock:
    ...     tune(sock, 30.0)
    ...     sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    1
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    apart_s = max(1, round(limit_s / 6))
    first_s = max(1, round(limit_s) - PROBES * apart_s)
    for option, value in (("TCP_KEEPIDLE", first_s), ("TCP_KEEPINTVL", apart_s), ("TCP_KEEPCNT", PROBES)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def is_gone(sock: socket.socket, limit_s: float) -> bool:
    """Whether what was sent has been repeated again and again, and nothing was heard of the other host for so long.

    False where the system cannot say.

    Examples
    --------
    >>> with socket.create_server(("127.0.0.1", 0)) as listening:
    ...     with socket.create_connection(listening.getsockname()) as sock:
    ...         is_gone(sock, 0.0)
    False
    """
    if sys.platform != "linux":
        return False
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
    except OSError:  # it has ended
        return False
    if len(info) < _INFO.size:
        return False
    repetitions: int
    probes: int
    silent_ms: int
    repetitions, probes, silent_ms = _INFO.unpack(info)
    return repetitions + probes >= REPETITIONS and silent_ms >= 1000 * limit_s
