"""Which cluster a command that asks or looks is about, and what proves that it may.

What lives here: `place`. What this file must never know: what is asked.
"""

from __future__ import annotations

import asyncio

from windrow import config, scheduler_file, security
from windrow.addressing import normalize
from windrow.cli.arguments import Contradiction
from windrow.transport import presence

__all__ = ["from_file", "only_one", "place"]


def place(scheduler: str | None, file: str | None, secret_file: str | None) -> tuple[str, bytes]:
    """Return the address that is meant, and the secret (or token) for it.

    Parameters
    ----------
    scheduler, file
        Its address, or a scheduler file; None: what is configured as ``scheduler-address``, else the only cluster
        that this user runs on this machine.
    secret_file
        Holds the secret, or a token; None: it is in the scheduler file, or published.

    Raises
    ------
    Contradiction
        Two of them say the same.
    OSError
        Nobody is there, no secret is known, or a file cannot be read.
    ValueError
        There is no such cluster, or several; or a file has nothing of use.
    """
    secret: bytes | None = None
    if file is not None:
        if scheduler is not None:
            raise Contradiction(f"{scheduler} and --scheduler-file {file} both say where the scheduler is: give one")
        scheduler, secret = from_file(file)
    address = normalize(scheduler or only_one())
    if secret_file is not None:
        secret = security.from_file(secret_file)
    return address, asyncio.run(presence.secret_for(address)) if secret is None else secret


def from_file(path: str) -> tuple[str, bytes | None]:
    """Return what a scheduler file says, which must be there."""
    found = scheduler_file.read(path)
    if found is None:
        raise ValueError(f"there is no scheduler file {path!r}")
    return found


def only_one() -> str:
    """Return the address that is configured, or of the only cluster that this user runs here."""
    configured = config.get("scheduler-address", None)
    if configured:
        return str(configured)
    found = security.published()
    if not found:
        raise ValueError("this user runs no scheduler on this machine that others can reach: say which, by its address")
    if len(found) > 1:
        raise ValueError(f"this user runs several schedulers here: say which of {', '.join(found)}")
    return found[0]
