"""The scheduler's shell: listeners and links around the core, its ticks, and what must run code in its process.

What lives here: `SchedulerServer`. What this file must never know: how anything is decided.

All that arrives in one turn of the event loop is handled before one flush, which sends one frame a peer.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
import os
import time
import uuid
from collections.abc import Callable
from typing import Any

from windrow import config, security, transport
from windrow.scheduler import requests
from windrow.scheduler.core import SchedulerCore
from windrow.scheduler.state import ClientRecord, Peer, SchedulerConfig, Unexpected
from windrow.transport import Link, Listener
from windrow.wire import failure, payload
from windrow.wire.messages import Blob, Call, Close, Identity, Message, Reply, RunOnScheduler, Shutdown

logger = logging.getLogger("windrow.scheduler")

TICK_S = 0.025

_numbers = itertools.count(1)


def read_config() -> SchedulerConfig:
    """Return the core's knobs as they are configured."""
    allowed = config.get("distributed.scheduler.allowed-failures")
    return SchedulerConfig(
        allowed_failures=int(allowed),  # type: ignore[call-overload]
        inline_limit=config.size_bytes("windrow.inline-limit"),
        worker_ttl_s=config.seconds("distributed.scheduler.worker-ttl"),
    )


class SchedulerServer:
    """A scheduler on the running loop.

    Parameters
    ----------
    secret
        The cluster's secret.
    host, port
        Where to listen on tcp; ``host=None`` listens for parties of this process alone.
    on_shutdown
        Called when a client asks for the end of the cluster.
    """

    def __init__(
        self,
        secret: bytes,
        host: str | None = "127.0.0.1",
        port: int = 0,
        on_shutdown: Callable[[], None] | None = None,
    ) -> None:
        self.id = f"Scheduler-{uuid.uuid4()}"
        self.secret = secret
        self.host = host
        self.port = port
        self.core = SchedulerCore(read_config())
        self.started = time.time()
        self.address = ""
        self.inproc_address = f"inproc://scheduler-{os.getpid()}-{next(_numbers)}"
        self.on_change: Callable[[], None] | None = None
        """Called after a party has joined or left."""
        self._on_shutdown = on_shutdown
        self._listeners: list[Listener] = []
        self._links: dict[Link, Peer[Any] | None] = {}
        self._loop = asyncio.get_running_loop()
        self._flush_due = False
        self._tick: asyncio.TimerHandle | None = None
        self._published: Any = None
        self._closed = False
        self._background: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<Scheduler {self.address} {self.core!r}>"

    async def start(self) -> None:
        """Listen. On tcp, this user's other processes find the secret in the runtime directory."""
        self._listeners.append(await transport.listen(self.inproc_address, self._accept, secret=None))
        self.address = self.inproc_address
        if self.host is not None:
            listener = await transport.listen(f"tcp://{self.host}:{self.port}", self._accept, secret=self.secret)
            self._listeners.append(listener)
            self.address = listener.address
            self._published = security.publish(self.address, self.secret, id=self.id)

    async def close(self) -> None:
        """Tell everybody, and stop."""
        if self._closed:
            return
        self._closed = True
        for listener in self._listeners:
            listener.close()
        if self._tick is not None:
            self._tick.cancel()
        for link in list(self._links):
            link.send([Close("the scheduler is closed")])
            link.close()
        if self._published is not None:
            security.withdraw(self._published)

    # ------------------------------------------------------------ links

    def _accept(self, link: Link) -> None:
        self._links[link] = None
        link.on_lost = lambda reason: self._lost(link, reason)
        link.on_batch = lambda messages: self._receive(link, messages)

    def _receive(self, link: Link, messages: list[Message]) -> None:
        now_s = self._loop.time()
        peer = self._links.get(link)
        try:
            if peer is None:
                peer = self.core.join(messages[0], now_s)
                peer.link = link
                self._links[link] = peer
                messages = messages[1:]
                self._changed()
            if type(peer) is ClientRecord:
                messages = self._answer_own(link, messages)
            self.core.receive(peer, messages, now_s)
        except Unexpected as refusal:
            logger.warning("closing the connection of %s: %s", link.remote, refusal)
            link.send([Close(str(refusal))])
            link.close()
        self._flush_soon()

    def _lost(self, link: Link, reason: str) -> None:
        peer = self._links.pop(link, None)
        if peer is not None and not self._closed:
            self.core.lost(peer, reason, self._loop.time())
            self._flush_soon()
            self._changed()

    def _changed(self) -> None:
        if self.on_change is not None:
            self._loop.call_soon(self.on_change)

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        for peer, messages in self.core.flush():
            link = peer.link
            if isinstance(link, Link):
                link.send(messages)
        if self._tick is None and not self._closed and self.core.is_busy():
            self._tick = self._loop.call_later(TICK_S, self._on_tick)

    def _on_tick(self) -> None:
        self._tick = None
        self.core.tick(self._loop.time())
        self._flush()

    # ------------------------------------------------------------ questions that only the shell can answer

    def identity(self) -> dict[str, Any]:
        """Return the scheduler's description of itself and its workers, as plain data."""
        described = requests.describe(self.core.state)
        behind_s = time.time() - self._loop.time()
        for worker in described["workers"].values():
            worker["last_seen"] += behind_s
        return {"id": self.id, "address": self.address, "started": self.started, **described}

    def _answer_own(self, link: Link, messages: list[Message]) -> list[Message]:
        others: list[Message] = []
        for message in messages:
            if not isinstance(message, Call):
                others.append(message)
                continue
            request = message.request
            if type(request) is Identity:
                link.send([Reply(message.id, self.identity())])
            elif type(request) is RunOnScheduler:
                task = self._loop.create_task(self._run(link, message.id, request))
                self._background.add(task)
                task.add_done_callback(self._background.discard)
            elif type(request) is Shutdown:
                link.send([Reply(message.id)])
                if self._on_shutdown is not None:
                    self._on_shutdown()
            else:
                others.append(message)
        return others

    async def _run(self, link: Link, call: int, request: RunOnScheduler) -> None:
        error: BaseException | None
        try:
            blob, error = await failure.caught(self._call(request))
        except asyncio.CancelledError as cancelled:  # by the function itself, or with the loop: who asked is told
            blob, error = None, cancelled
        if error is not None:
            blob = payload.dumps((False, failure.dump(error, "a function run on the scheduler", skip_frames=2)[0]))
        link.send([Reply(call, blobs=[blob])])

    async def _call(self, request: RunOnScheduler) -> Blob:
        call_of: Any = payload.loads(request.call)
        function, args, kwargs = call_of
        if _takes(function, "dask_scheduler"):
            kwargs = {**kwargs, "dask_scheduler": self}
        result = function(*args, **kwargs)
        if inspect.isawaitable(result):
            result = await result
        return payload.dumps((True, result), "the result of a function run on the scheduler")


def _takes(function: Callable[..., object], parameter: str) -> bool:
    try:
        return parameter in inspect.signature(function).parameters
    except (TypeError, ValueError):  # builtins without a signature
        return False
