"""The other workers that this one asks for values: a connection to each, opened at its first use.

What lives here: `Peers` and `Peer`. What this file must never know: who needs a value and whom to ask for it (the core
knows), what is answered to peers (`windrow.worker.answers`).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from windrow import addressing, schemes, segments, transport
from windrow import config as windrow_config
from windrow.transport import Link
from windrow.wire import activity, payload, sharing
from windrow.wire.blobs import Blob
from windrow.wire.messages import Call, Message, Reply, TaskId
from windrow.wire.requests import GetData
from windrow.worker import compression
from windrow.worker.squeezing import expand

if TYPE_CHECKING:
    from windrow.worker.server import WorkerServer

__all__ = ["Peers"]

logger = logging.getLogger("windrow.worker")

CONNECT_TIMEOUT_S = 3.0


class Peers:
    """The connections to other workers, by address; on the worker's loop only.

    Parameters
    ----------
    worker
        Who asks.
    """

    def __init__(self, worker: WorkerServer) -> None:
        self.worker = worker
        self.host = segments.token()
        """What shows to others on this host that they can be offered memory to map; "" where that is off."""
        self.codec = compression.codec(windrow_config.get("distributed.comm.compression") or None, "comm.compression")  # type: ignore[arg-type]
        """What compresses values that come from other hosts."""
        self.open: dict[str, Peer] = {}

    def ask(self, address: str, ids: list[TaskId]) -> None:
        """Ask another worker for values; the core is told of each, in the end."""
        peer = self.open.get(address)
        if peer is None:
            peer = self.open[address] = Peer(self, address)
        peer.ask(ids, self.host)

    def forget(self) -> None:
        """Ask and hear nothing more: ids are another scheduler's from here on."""
        for peer in list(self.open.values()):
            peer.close()

    def close(self) -> None:
        """Close all connections."""
        for peer in list(self.open.values()):
            if peer.link is not None:
                peer.link.close()


class Peer:
    """A connection to another worker, opened at its first use, and the questions that are open on it."""

    def __init__(self, peers: Peers, address: str) -> None:
        self.worker = peers.worker
        self.address = address
        self.link: Link | None = None
        self._open_peers = peers.open
        self._codec = None if _is_near(address) else peers.codec
        self.open: dict[int, tuple[list[TaskId], float]] = {}
        """What was asked for, and when."""
        self._numbers = itertools.count(1)
        self._waiting: list[Message] = []
        self._connecting: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Ask and hear nothing more."""
        self._open_peers.pop(self.address, None)
        if self._connecting is not None:
            self._connecting.cancel()
        if self.link is not None:
            self.link.on_lost = lambda reason: None
            self.link.on_batch = lambda batch: None
            self.link.close()

    def ask(self, ids: list[TaskId], host: str) -> None:
        """Ask for values, which shared memory may bring if the peer is on the same ``host`` too."""
        number = next(self._numbers)
        self.open[number] = (ids, time.perf_counter())
        call = Call(number, GetData(ids, host, "" if self._codec is None else self._codec.name))
        if self.link is not None:
            self.link.send([call])
            return
        self._waiting.append(call)
        if self._connecting is None:
            self._connecting = self.worker.loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            link = await transport.connect(
                self.address,
                secret=self.worker.secret,
                timeout_s=CONNECT_TIMEOUT_S,
                certificates=self.worker.security,
                role="worker",
            )
        except (OSError, ValueError) as error:
            self._lost(str(error))
            return
        self.link = link
        link.on_lost = self._lost
        link.on_batch = self._on_batch
        link.send(self._waiting)
        self._waiting = []

    def _on_batch(self, messages: list[Message]) -> None:
        for message in messages:
            if type(message) is Reply:
                ids, start = self.open.pop(message.id, ([], 0.0))
                self._note(ids, start, message.blobs)
                if message.value and self._codec is not None:
                    self._expand(ids, message.blobs, message.value)
                else:
                    self._take(ids, message.blobs)

    def _take(self, ids: list[TaskId], blobs: list[Blob | None]) -> None:
        answers = list(zip(ids, blobs, strict=False))
        again = [id for id, blob in answers if not sharing.attached(blob)]
        if again:  # what is not to be had as shared memory is asked for as it travels to other hosts
            answers = [answer for answer in answers if answer[0] not in again]
            self.ask(again, "")
        self._tell(answers)

    def _expand(self, ids: list[TaskId], blobs: list[Blob | None], facts: Any) -> None:
        """Take values that are compressed, which are expanded in a thread."""
        worker, codec = self.worker, self._codec
        assert codec is not None, "who can expand nothing asks for nothing that is compressed"
        future = worker.loop.run_in_executor(worker.data_pool, expand, blobs, facts, codec)

        def then(found: list[Blob | None]) -> None:
            if any(blob is None and was is not None for blob, was in zip(found, blobs, strict=True)):
                logger.warning("a value came from %s as something else than was said of it", self.address)
            self._take(ids, found)

        worker.when_done(future, len(ids), then)

    def _lost(self, reason: str) -> None:
        if self._open_peers.get(self.address) is self:
            del self._open_peers[self.address]
        self._tell((id, None) for ids, _ in self.open.values() for id in ids)
        self.open = {}

    def _note(self, ids: list[TaskId], start: float, blobs: list[Blob | None]) -> None:
        """Note a transfer, as one for the task that waits for the first value."""
        core = self.worker.core
        notes = core.notes
        if notes is not None and ids:
            with self.worker.executor.lock:
                waiting = core.waiting_for.get(ids[0])
                task = waiting[0].id if waiting else ids[0]
            nbytes = sum([payload.nbytes(blob) for blob in blobs if blob is not None])
            notes.spent(activity.TRANSFER, task, 0, start, time.perf_counter() - start, nbytes, self.address)

    def _tell(self, answers: Iterable[tuple[TaskId, Blob | None]]) -> None:
        def change() -> None:
            for id, blob in answers:
                self.worker.core.fetched(id, blob)

        self.worker.visit(change)


def _is_near(address: str) -> bool:
    scheme, location = addressing.split_address(address)
    return not schemes.has_ports(scheme) or addressing.is_here(addressing.split_host_port(location, 0)[0])
