"""Links over unix sockets that are asked for by name: ``local://name``, between processes of one user on one host.

What lives here: connecting and listening. What this file must never know: names of sockets (`transport.unix`), frames.

Nothing listens on a network. Beside each tcp listener there is one of these, which is found by itself;
``local://127.0.0.1:8786`` is that one and no other.
"""

from __future__ import annotations

from uuid import uuid4

from windrow.addressing import join_address, split_host_port
from windrow.transport import tcp, unix
from windrow.transport.base import OnLink
from windrow.transport.dialling import until_answered

__all__ = ["LocalListener", "connect", "listen", "new_location"]

HAS_PORTS = False
"""Its locations are names."""

IS_SAFE = True
"""Nothing of it leaves the machine, or can be read by another user."""


class LocalListener(tcp.TcpListener):
    """A listening unix socket; made by `listen`."""

    def open_at(self, location: str) -> None:
        """Listen."""
        self._scheme = "local"
        self._door.open_local(location)
        self.address = join_address("local", location)


def new_location() -> str:
    """Return a name that nobody has.

    Examples
    --------
    >>> new_location() != new_location()
    True
    """
    return uuid4().hex


async def listen(location: str, on_link: OnLink, *, secret: bytes | None) -> LocalListener:
    """Listen under a name that none of this user's processes has on this host."""
    if not secret:
        raise ValueError("a local listener needs a secret: pass secret=windrow.security.new_secret()")
    listener = LocalListener(secret, on_link)
    try:
        listener.open_at(location)
    except OSError as error:
        raise OSError(
            error.errno, f"cannot listen on local://{location}: {error.strerror or error}. Choose another name"
        ) from error
    return listener


async def connect(location: str, *, secret: bytes | None, timeout_s: float) -> tcp.TcpLink:
    """Connect to a name, and try again while nobody answers."""
    address = join_address("local", location)
    if not secret:
        raise ValueError(f"{address} cannot be reached without the cluster's secret: pass secret=…")

    async def attempt(left_s: float, reached: list[None]) -> tcp.TcpLink:
        sock = next((sock for place in _places(location) if (sock := unix.reach(place)) is not None), None)
        if sock is None:
            raise ConnectionRefusedError("no process of this user listens there, on this host")
        return await tcp.shake_hands_nearby(sock, secret, address, reached)

    return await until_answered(attempt, address, timeout_s)


def _places(location: str) -> list[str]:
    """Return the name, and where it is that of a tcp listener, by what else that may be known."""
    try:
        host, port = split_host_port(location)
        found = unix.places(host, port)
    except ValueError:
        found = []
    return list(dict.fromkeys([location, *found]))
