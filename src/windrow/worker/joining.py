"""How a worker finds its scheduler, which may not be there yet.

What lives here: the search (`reach`), which goes on until the scheduler answers, or the worker's start is given up.
What this file must never know: what is said on the connection.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from windrow import addressing, config, scheduler_file, security, tls, transport
from windrow.errors import WrongCertificate, WrongSecret
from windrow.transport import Link, presence

if TYPE_CHECKING:
    from windrow.worker.server import WorkerServer

__all__ = ["reach"]

logger = logging.getLogger("windrow.worker")

ANNOUNCE_S = 1.0
"""After so long the log says what is waited for."""

TRY_S = 1.0
"""How long one attempt to connect takes at most; then the file and the secret are looked up again."""

PAUSES_S = (0.02, 0.5)
"""The first and the longest pause between two looks."""

SETTLING_S = 1.0
"""So much later than its listening socket a scheduler's secret may appear."""


class _NotYet(Exception):
    """The scheduler cannot be reached yet; the words say what is missing."""


async def reach(worker: WorkerServer) -> Link:
    """Return a connection to a worker's scheduler, when there is one; sets its ``scheduler_address`` and ``secret``.

    Raises
    ------
    WrongSecret, WrongVersion, ConnectionRefused
        It is there, and will not have this worker.
    """
    loop = asyncio.get_running_loop()
    start_s, pause_s, told = loop.time(), PAUSES_S[0], False
    while True:
        try:
            return await _try(worker)
        except _NotYet as missing:
            worker.waits_for = str(missing)
        if not told and loop.time() - start_s >= ANNOUNCE_S:
            told = True
            logger.warning("worker %r waits for its scheduler: %s", worker.name, worker.waits_for)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, PAUSES_S[1])


async def _try(worker: WorkerServer) -> Link:
    path = worker.config.scheduler_file
    if path:
        try:
            found = scheduler_file.read(path)
        except scheduler_file.NotWhole as error:  # perhaps it is being written
            raise _NotYet(str(error)) from error
        if found is None:
            raise _NotYet(f"the scheduler file {path!r} is not there yet")
        worker.scheduler_address = addressing.normalize(found[0])
        if worker.config.secret is None:
            worker.secret = found[1]
    address = worker.scheduler_address
    if address.startswith("inproc://"):
        return await transport.connect(address, secret=None)
    is_given = worker.config.secret is not None or bool(path and worker.secret)
    if not is_given:
        worker.secret = await _published(address)
    assert worker.secret is not None or not is_given
    if worker.secret is not None:
        security.whole(worker.secret, "A worker")
    try:
        patience_s = config.seconds("windrow.worker.reconnect-timeout")
        if worker.config.certificates is None:  # published together with the secret
            worker.security = security.certificates_for(address) or tls.checked("Worker", None)
        return await transport.connect(
            address,
            secret=worker.secret,
            timeout_s=TRY_S,
            patience_s=patience_s,
            certificates=worker.security,
            role="worker",
        )
    except TimeoutError as error:
        raise _NotYet(str(error)) from error
    except WrongCertificate as error:
        if worker.security is not None or await presence.is_there(address):
            raise
        raise _NotYet(str(error)) from error
    except WrongSecret:
        if is_given and not path:
            raise
        before = worker.secret  # of a scheduler that is gone, perhaps, and the next one is about to say its own
        await asyncio.sleep(PAUSES_S[1])
        now = (scheduler_file.read(path) or ("", None))[1] if path else security.lookup(address)
        if now == before:
            raise
        raise _NotYet("the scheduler is just starting") from None


async def _published(address: str) -> bytes:
    """Return the secret that a scheduler has published; one that listens has done so, or will not for us."""
    try:
        return security.secret_for(address)
    except WrongSecret as error:
        if not await presence.is_there(address):
            raise _NotYet(f"nobody answers at {address}, and no secret for it is known to this user") from error
    await asyncio.sleep(SETTLING_S)
    return security.secret_for(address)
