"""A scheduler core with clients and workers, whose services are asked through the real codec."""

from __future__ import annotations

from typing import Any

import msgspec

from windrow.client.calls import refusal
from windrow.scheduler.core import SchedulerCore
from windrow.scheduler.invariants import check_invariants
from windrow.scheduler.state import ClientRecord, Peer, SchedulerConfig, WorkerRecord
from windrow.wire import messages as m
from windrow.wire import requests as r
from windrow.wire.blobs import Blob

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[m.Message]).decode


class Bare:
    """The core, and what it has said to each peer and nobody has looked at yet."""

    def __init__(self, **config: Any) -> None:
        self.core = SchedulerCore(SchedulerConfig(**config))
        self.state = self.core.state
        self.now_s = 100.0
        self.inbox: dict[Peer[Any], list[Any]] = {}
        self._calls = 0

    def client(self, name: str) -> ClientRecord:
        peer: Any = self.core.join(m.HelloClient(name), self.now_s)
        return peer

    def worker(self, name: str = "w") -> WorkerRecord:
        peer: Any = self.core.join(m.HelloWorker(f"tcp://{name}", name, 1), self.now_s)
        return peer

    def say(self, peer: Peer[Any], *messages: Any) -> None:
        self.core.receive(peer, _decode(_encode(list(messages))), self.now_s)
        self._carry()

    def lose(self, peer: Peer[Any]) -> None:
        self.core.lost(peer, "reset", self.now_s)
        self._carry()

    def _carry(self) -> None:
        for peer, messages in self.core.flush():
            self.inbox.setdefault(peer, []).extend(_decode(_encode(messages)))
        for service in self.core.desk.services.values():
            service.check()
        check_invariants(self.state)

    def take(self, peer: Peer[Any], kind: type = object) -> list[Any]:
        """Take what a peer was sent of one kind."""
        messages = self.inbox.pop(peer, [])
        self.inbox[peer] = [message for message in messages if not isinstance(message, kind)]
        return [message for message in messages if isinstance(message, kind)]

    def ask(self, client: ClientRecord, service: str, request: Any, *blobs: Blob) -> m.Reply:
        """Ask, and return the reply that comes at once; a refusal is raised."""
        self._calls += 1
        self.say(client, m.Call(self._calls, r.Ask(service, request, list(blobs))))
        [reply] = self.take(client, m.Reply)
        assert reply.id == self._calls
        if reply.error is not None:
            raise refusal(reply.error)
        return reply

    def submit(self, client: ClientRecord, *keys: m.Key) -> None:
        self.say(client, m.Declare(b"f", "f", b""), m.Submit(b"f", list(keys), [b""] * len(keys)))
