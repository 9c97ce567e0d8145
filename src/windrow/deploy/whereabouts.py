"""Where a nanny's scheduler is, and the secret of its cluster; both may come to be known after the nanny has started.

What lives here: `Whereabouts`. What this file must never know: what is said to the scheduler.
"""

from __future__ import annotations

import asyncio
import logging
import os

from windrow import addressing, config, scheduler_file, security, tls, transport
from windrow.errors import ConnectionRefused, WrongSecret
from windrow.transport import Link, inproc, presence

__all__ = ["Whereabouts"]

logger = logging.getLogger("windrow.nanny")

PATIENCE_S = 1.0
"""After so long it is said what is waited for."""
RETRY_S = 0.2
SETTLING_S = 0.5
"""So much later than it listens a scheduler may have published its secret."""


class Whereabouts:
    """Where the scheduler is, by whatever was given.

    Parameters
    ----------
    host
        The scheduler's address, or its host.
    port
        Its port, where ``host`` has none.
    file
        A scheduler file, which may come to be there later.
    secret
        The cluster's; by default what the file, or this user's runtime directory, says.
    certificates
        For TLS; by default what goes with the address.

    Raises
    ------
    ValueError
        Nothing says where it is.

    Examples
    --------
    >>> Whereabouts("127.0.0.1", 8786, None, b"s" * 32).address
    'tcp://127.0.0.1:8786'
    """

    def __init__(
        self,
        host: str | None,
        port: int | None = None,
        file: str | os.PathLike[str] | None = None,
        secret: bytes | None = None,
        certificates: tls.Security | None = None,
    ) -> None:
        self.file = None if file is None else os.fspath(file)
        self.address = ""
        self._fault = ""  # of the file, when it was read last
        self.secret = secret
        self._given_secret = secret
        self.given = certificates
        if host is None and file is None:
            configured = config.get("scheduler-address", None)
            host = None if configured is None else str(configured)
            if not host:
                raise ValueError(
                    "nothing says where the scheduler is: give its address, scheduler_file=, or configure "
                    "'scheduler-address'"
                )
        if host is not None:
            if not isinstance(host, str):
                raise TypeError(f"the scheduler's address is a str such as 'tcp://127.0.0.1:8786', not {host!r}")
            if port is not None and "://" not in host:
                host = addressing.join_host_port(host, int(port))
            self.address = addressing.normalize(host)
        if self.address.startswith("inproc://"):
            raise ValueError(f"a worker process cannot reach {self.address!r}: have the scheduler listen on tcp")
        self._is_address_given = bool(self.address)
        self.look()

    def look(self) -> bool:
        """Look again at what may have come to be known; return whether all is."""
        if self.file is not None and not (self.address and self.secret):
            found = self._read()
            if found is not None:
                self.address = self.address or addressing.normalize(found[0])
                self.secret = self.secret or found[1]
        if self.address and self.secret is None:
            try:
                self.secret = security.secret_for(self.address)
            except WrongSecret:
                return False
        return bool(self.address)

    def _read(self) -> tuple[str, bytes | None] | None:
        """Return what the scheduler file says, if there is one and it is whole; note what is wrong with it."""
        if self.file is None:
            return None
        try:
            found = scheduler_file.read(self.file)
        except scheduler_file.NotWhole as error:  # perhaps it is being written
            self._fault = str(error)
            return None
        self._fault = "" if found else f"the scheduler file {self.file!r} is not there"
        return found

    def look_again(self) -> None:
        """Look up anew what was found, and not given: another scheduler may have come; what is not found stays."""
        found = self._read()
        if found is not None and not self._is_address_given:
            self.address = addressing.normalize(found[0])
        if self._given_secret is None and self.address:
            self.secret = (security.lookup(self.address) if found is None else found[1]) or self.secret

    @property
    def certificates(self) -> tls.Security | None:
        """What it is reached with over TLS."""
        return self.given or security.certificates_for(self.address)

    @property
    def near(self) -> str | None:
        """The scheduler's address within this process, if it is here."""
        return inproc.neighbours.get(self.address)

    async def connect(self) -> Link:
        """Return a link to it, however long that takes.

        Raises
        ------
        ConnectionRefused
            It is there, and will not have us.
        NotAllowed
            There is a token where the secret should be.
        """
        begun_s = asyncio.get_running_loop().time()
        told = False
        while True:
            missing = await self._missing()
            if not missing:
                assert self.secret is not None or self.near
                security.whole(self.secret or b"", "A nanny")
                try:
                    return await transport.connect(
                        self.near or self.address,
                        secret=self.secret,
                        certificates=None if self.near else self.given,
                        role="worker",
                        timeout_s=PATIENCE_S,
                        patience_s=config.seconds("windrow.worker.reconnect-timeout"),
                    )
                except WrongSecret:
                    await self._find_another_secret()
                    continue
                except ConnectionRefused:
                    raise
                except OSError as error:
                    missing = str(error) or f"{self.address} does not answer"
                    self.look_again()
            if not told and asyncio.get_running_loop().time() - begun_s >= PATIENCE_S:
                told = True
                logger.warning("waiting for the scheduler: %s", missing)
            await asyncio.sleep(RETRY_S)

    async def _find_another_secret(self) -> None:
        """Look whether the secret was a former scheduler's; raise what is being handled if there is no other."""
        before = self.secret
        await asyncio.sleep(SETTLING_S)
        self.look_again()
        if self.secret == before:
            raise

    async def _missing(self) -> str:
        """Return what is not known yet, or ""."""
        if self.look():
            return ""
        if not self.address:
            return self._fault
        if await presence.is_there(self.address) and not self.look():
            security.secret_for(self.address)  # raises, with what to do
        return f"{self.address} does not answer, and nothing says the secret of its cluster"
