"""How a client reaches its scheduler, and what it owns on the way: a cluster, a loop's thread, or neither.

What lives here: the choice between an address, a scheduler file, a cluster and a cluster of one's own; opening and
closing. What this file must never know: tasks and futures; how a cluster is made (it gets a factory).
"""

from __future__ import annotations

import _thread
import concurrent.futures
import logging
import os
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from windrow import config, roles, scheduler_file, schemes, tls
from windrow.addressing import normalize, split_address
from windrow.client.session import Session
from windrow.client.waiting import Steps, follow
from windrow.runtime import LoopThread
from windrow.transport import Link, connect, presence

log = logging.getLogger("windrow.client")

GOODBYE_S = 1.0
FILE_POLL_S = 0.05
FILE_PATIENCE_S = 5.0
"""After so long it is said that a scheduler file is waited for."""
FILE_WHOLE_S = 2.0
"""Within such a time whoever writes one is done."""


class Connection:
    """The way to one scheduler; opened once, closed once. It refers to no client, so that clients can be collected.

    Parameters
    ----------
    address
        None for a cluster of one's own; else an address or a cluster object.
    loop_thread
        To run on instead of a thread of one's own (synchronous clients of an address only).
    secret
        The cluster's secret, or a token; None to look it up among those published for this user.
    certificates
        For TLS; None: what goes with the address, or is configured.
    timeout_s
        For connecting.
    make_cluster
        Makes the own cluster.
    """

    def __init__(
        self,
        address: Any,
        scheduler_file: str | None,
        loop_thread: LoopThread | None,
        secret: bytes | None,
        timeout_s: float,
        asynchronous: bool,
        make_cluster: Callable[[], Any],
        certificates: tls.Security | None = None,
    ) -> None:
        self.address: str | None = normalize(address) if isinstance(address, str) else None
        self.cluster: Any = None if address is None or isinstance(address, str) else address
        self.scheduler_file = scheduler_file
        self.loop_thread = loop_thread
        self.asynchronous = asynchronous
        self.owns_cluster = address is None and scheduler_file is None
        self._owns_loop = False
        self._closed = False
        self._secret = secret
        self.certificates = certificates
        self._timeout_s = timeout_s
        self._make_cluster = make_cluster
        if self.cluster is not None:
            _check_cluster(self.cluster, asynchronous)
        if certificates is not None:
            certificates.check_files("client")

    # ---------------------------------------------------------------- opening

    def open(self, session: Session) -> None:
        """Connect, from a thread that may block."""
        try:
            if self.owns_cluster:
                self.cluster = self._make_cluster()
            if self.scheduler_file is not None:
                for pause_s in self._wait_for_file():
                    time.sleep(pause_s)
            if hasattr(self.cluster, "loop_thread"):  # a program's own kind of cluster has none
                self.loop_thread = self.cluster.loop_thread
            elif self.loop_thread is None:
                self.loop_thread, self._owns_loop = LoopThread(), True
            assert self.loop_thread is not None, "a cluster that is not asynchronous has a thread"
            self.loop_thread.run(self._attach(session))
        except BaseException:
            self.close(session, "it could not connect")
            raise

    async def open_async(self, session: Session) -> None:
        """Connect, on the running loop."""
        import asyncio

        try:
            if self.owns_cluster:
                self.cluster = await self._make_cluster()
            if self.scheduler_file is not None:
                for pause_s in self._wait_for_file():
                    await asyncio.sleep(pause_s)
            await self._attach(session)
        except BaseException:
            await self.close_async(session, "it could not connect")
            raise

    async def _attach(self, session: Session) -> None:
        import asyncio

        link, held = await self._link()
        if link.role is not roles.Role.WATCH:
            session.seed = roles.seed_of_names(held or _own_key())
        session.attach(link, asyncio.get_running_loop())

    async def _link(self) -> tuple[Link, bytes | None]:
        """A link, and the secret or token that it was made with."""
        cluster = self.cluster
        if cluster is not None and hasattr(cluster, "connect_inproc"):
            link: Link = await cluster.connect_inproc()
            return link, await self._secret_for(str(cluster.scheduler_address))
        address = str(self.address if cluster is None else cluster.scheduler_address)
        schemes.backend(split_address(address)[0])  # an unknown scheme is the first thing to say
        secret = await self._secret_for(address)
        patience_s = config.seconds("windrow.client.reconnect-timeout")
        link = await connect(
            address,
            secret=secret,
            timeout_s=self._timeout_s,
            patience_s=patience_s,
            certificates=self.certificates,
        )
        return link, secret

    async def _secret_for(self, address: str) -> bytes | None:
        cluster = self.cluster  # a program's own kind of cluster may not know it
        secret: bytes | None = self._secret if cluster is None else getattr(cluster, "secret", None)
        if not secret and split_address(address)[0] != "inproc":
            secret = await presence.secret_for(address)
        return secret or None

    @property
    def secret(self) -> bytes | None:
        """The cluster's secret, if it is known on this side."""
        found = getattr(self.cluster, "secret", None) if self._secret is None else self._secret
        return found if isinstance(found, bytes) else None

    def _wait_for_file(self) -> Iterator[float]:
        """Take address and secret from the scheduler file; yield pauses until it is there, and whole."""
        assert self.scheduler_file is not None
        begun_s = time.monotonic()
        told = False
        broken_s: float | None = None  # since when it is there, and no JSON
        while True:
            waited_s = time.monotonic() - begun_s
            try:
                found = scheduler_file.read(self.scheduler_file)
                broken_s = None
            except scheduler_file.NotWhole:
                broken_s = waited_s if broken_s is None else broken_s
                if waited_s - broken_s >= min(FILE_WHOLE_S, self._timeout_s):
                    raise
                found = None
            if found is not None:
                self.address = normalize(found[0])
                self._secret = self._secret or found[1]
                return
            if waited_s >= self._timeout_s:
                raise TimeoutError(
                    f"there is no scheduler file {self.scheduler_file!r}, after {self._timeout_s:g} s (timeout=). "
                    "Check the path, and that a scheduler runs that writes it (windrow scheduler --scheduler-file)"
                )
            if not told and waited_s >= FILE_PATIENCE_S:
                told = True
                log.warning("waits for the scheduler file %r, up to %g s", self.scheduler_file, self._timeout_s)
            yield FILE_POLL_S

    # ---------------------------------------------------------------- closing

    def close(self, session: Session, reason: str, timeout_s: float | None = None) -> None:
        """Say goodbye and give back what is owned, from a thread that may block."""
        self._closed = True
        thread = self.loop_thread
        if thread is not None and thread.is_running:
            try:
                thread.run(_say_goodbye(session, reason), timeout_s)
            except (RuntimeError, TimeoutError, concurrent.futures.CancelledError) as error:
                # Too late, or cancelled half way: whoever closes the cluster at this moment stops its loop.
                log.debug("no goodbye to %s: %r", session.remote, error)
        session.end(reason)
        if self.owns_cluster and self.cluster is not None:
            self.cluster.close()
        if self._owns_loop and thread is not None:
            thread.stop()

    async def close_async(self, session: Session, reason: str) -> None:
        """As `close`, on the loop."""
        self._closed = True
        await _say_goodbye(session, reason)
        if self.owns_cluster and self.cluster is not None:
            await self.cluster.close()

    def abandon(self, session: Session) -> None:
        """Close in the background: the client was collected, in whatever thread and under whatever lock."""
        if self._closed:
            return
        if self.asynchronous or not (self.owns_cluster or self._owns_loop):
            if session.loop is not None:
                try:
                    session.loop.call_soon_threadsafe(session.close, "its client was collected")
                except RuntimeError:
                    pass  # the loop is closed, and the link with it
            return
        # Not threading.Thread: its bookkeeping takes locks, and the collector may run while they are held.
        _thread.start_new_thread(self.close, (session, "its client was collected", 5.0))


def _check_cluster(cluster: Any, asynchronous: bool) -> None:
    if not isinstance(getattr(cluster, "scheduler_address", None), str):
        raise TypeError(f"address must be a string or a cluster, not {type(cluster).__name__}")
    status = getattr(cluster, "status", "running")
    status = getattr(status, "name", status)
    if status in ("closing", "closed", "failed"):
        raise RuntimeError(f"{cluster!r} is {status}: make a new one")
    if not asynchronous and getattr(cluster, "loop_thread", cluster) is None:
        raise RuntimeError("this cluster is asynchronous: use await Client(cluster, asynchronous=True)")


async def _say_goodbye(session: Session, reason: str) -> None:
    session.close(reason)

    def gone() -> Steps[None]:
        yield session.gone

    try:
        await follow(gone(), GOODBYE_S, "the end of the connection")
    except TimeoutError:
        log.debug("%s takes its time to close", session.remote)


@cache
def _own_key() -> bytes:
    """What stands for the secret of clusters that have none, as nobody beyond this process reaches them."""
    return os.urandom(roles.KEY_BYTES)


def checked_secret(secret: object) -> bytes | None:
    """The secret or token as bytes; their text is taken too."""
    if secret is None or isinstance(secret, bytes):
        return secret
    if isinstance(secret, str):
        return roles.from_text(secret)
    raise TypeError(f"secret must be bytes, not {type(secret).__name__}")


def configured_address() -> str | None:
    """The address that the user's configuration names (``DASK_SCHEDULER_ADDRESS``), if any."""
    address = config.get("scheduler-address", None)
    return address if isinstance(address, str) else None
