"""A transport of one's own: ``path:///run/cluster.sock``, unix sockets that are files.

A package with this module and the lines below in its pyproject.toml adds the scheme wherever it is installed::

    [project.entry-points."windrow.transports"]
    path = "path_transport"

Frames, handshake and good order at the end are windrow's: `TcpLink` is a link over any stream that asyncio has.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from pathlib import Path

from windrow.transport.base import Link, Listener, OnLink
from windrow.transport.dialling import until_answered
from windrow.transport.handshake import accept_steps
from windrow.transport.tcp import TcpLink, shake_hands

logger = logging.getLogger(__name__)

HAS_PORTS = False
IS_SAFE = True  # it does not leave the machine


def new_location() -> str:
    """Return where a worker may listen that was told nothing."""
    return os.path.join(tempfile.mkdtemp(prefix="windrow-path-"), "socket")


async def connect(location: str, *, secret: bytes | None, timeout_s: float) -> Link:
    """Connect; try again while nobody is there."""
    address = f"path://{location}"
    if not secret:
        raise ValueError(f"{address} cannot be reached without the cluster's secret")
    loop = asyncio.get_running_loop()

    async def attempt(left_s: float, reached: list[None]) -> TcpLink:
        async def dial(make):  # an asyncio protocol factory in, the transport out
            return (await loop.create_unix_connection(make, location))[0]

        return await shake_hands(dial, secret, address, reached)

    return await until_answered(attempt, address, timeout_s)


async def listen(location: str, on_link: OnLink, *, secret: bytes | None) -> Listener:
    """Listen; whoever proves that it holds the secret becomes a link."""
    if not secret:
        raise ValueError("a path listener needs a secret")
    address = f"path://{location}"

    def make() -> TcpLink:
        return TcpLink(lambda link: accept_steps(secret, link.remote), accepted, refused, f"{address}#{os.getpid()}")

    def accepted(link: TcpLink) -> None:
        try:
            on_link(link)
        except Exception as error:
            logger.exception("%s could not take a connection", address)
            link.abort(f"its listener failed: {error!r}")

    def refused(link: TcpLink, error: Exception) -> None:
        logger.warning("%s refused a connection: %s", address, error)

    server = await asyncio.get_running_loop().create_unix_server(make, location)
    return PathListener(address, server, Path(location))


class PathListener(Listener):
    """Accepts connections until it is closed."""

    def __init__(self, address: str, server: asyncio.Server, path: Path) -> None:
        self.address = address
        self._server = server
        self._path = path

    def close(self) -> None:
        self._server.close()
        self._path.unlink(missing_ok=True)
