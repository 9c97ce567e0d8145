"""A bare scheduler core with clients who ask its services: messages in, messages out, through the real codec.

A call is a number; `Hall.now` tells what has become of it: its value, `LATE`, or `WAITING`; what was refused raises.
The invariants of the whole core are checked after every step.
"""

from __future__ import annotations

from typing import Any

import msgspec

from windrow.client.calls import refusal
from windrow.scheduler.core import SchedulerCore
from windrow.scheduler.invariants import check_invariants
from windrow.scheduler.state import ClientRecord, SchedulerConfig
from windrow.wire.messages import (
    Call,
    Cancel,
    Close,
    Declare,
    HelloClient,
    Message,
    Release,
    Reply,
    Submit,
    Want,
    Withdraw,
)
from windrow.wire.requests import Ask, Restart

WAITING = "waiting"
LATE = "late"

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Message]).decode


class Hall:
    """Clients, and what each of their calls has come to."""

    def __init__(self, service: str = "", **config: Any) -> None:
        self.core = SchedulerCore(SchedulerConfig(**config))
        self.service = service
        self.now_s = 1000.0
        self.calls = 0
        self.replies: dict[int, Reply] = {}
        self.askers: dict[int, ClientRecord] = {}

    @property
    def records(self) -> Any:
        """The service under test."""
        return self.core.desk.services[self.service]

    def client(self, name: str = "") -> ClientRecord:
        """A client joins."""
        client: Any = self.core.join(HelloClient(name or f"c{len(self.core.state.clients)}"), self.now_s)
        self._flush()
        return client

    def say(self, client: ClientRecord, *messages: Any) -> None:
        """Messages of a client arrive."""
        self.core.receive(client, _decode(_encode(messages)), self.now_s)
        self._flush()

    def ask(self, client: ClientRecord, request: Any, *blobs: bytes, service: str = "") -> int:
        """A client asks the service; return the number of the call."""
        self.calls += 1
        self.askers[self.calls] = client
        self.say(client, Call(self.calls, Ask(service or self.service, request, list(blobs))))
        return self.calls

    def withdraw(self, call: int) -> None:
        """A client waits no longer."""
        self.say(self.askers[call], Withdraw(call))

    def leave(self, client: ClientRecord, kindly: bool = False) -> None:
        """A client goes."""
        if kindly:
            self.say(client, Close())
        else:
            self.core.lost(client, "killed", self.now_s)
            self._flush()

    def tick(self, after_s: float = 0.0) -> None:
        """Time passes."""
        self.now_s += after_s
        self.core.tick(self.now_s)
        self._flush()

    def _flush(self) -> None:
        check_invariants(self.core.state)
        for _, messages in self.core.flush():
            for message in _decode(_encode(messages)):
                if type(message) is Reply:
                    assert message.id not in self.replies, f"call {message.id} is answered twice"
                    self.replies[message.id] = message
        check_invariants(self.core.state)

    def reply(self, call: int) -> Reply:
        """The reply to a call."""
        return self.replies[call]

    def now(self, call: int) -> Any:
        """What has become of a call."""
        reply = self.replies.get(call)
        if reply is None:
            return WAITING
        if reply.error is not None:
            raise refusal(reply.error)
        return LATE if reply.late else reply.value

    def blobs(self, call: int) -> Any:
        """The blobs of a reply, if there is one."""
        state = self.now(call)
        return state if state in (WAITING, LATE) else self.replies[call].blobs

    # ------------------------------------------------------------ tasks that values refer to

    def submit(self, client: ClientRecord, *keys: Any) -> None:
        """A client submits tasks, and wants them."""
        declare = [] if b"f" in client.declared else [Declare(b"f", "f", b"code")]
        self.say(client, *declare, Submit(b"f", list(keys), [b""] * len(keys)))

    def release(self, client: ClientRecord, *keys: Any) -> None:
        """A client drops its futures."""
        self.say(client, Release(list(keys), client.seen + 1))

    def cancel(self, client: ClientRecord, *keys: Any) -> None:
        """A client cancels, whoever else wants it."""
        self.say(client, Cancel(list(keys), client.seen + 1, True))

    def want(self, client: ClientRecord, *keys: Any) -> None:
        """A client makes futures."""
        self.say(client, Want(list(keys)))

    def restart(self, client: ClientRecord) -> None:
        """A client restarts the cluster."""
        self.calls += 1
        self.say(client, Call(self.calls, Restart()))

    @property
    def tasks(self) -> list[Any]:
        """The keys that the scheduler knows."""
        return list(self.core.state.tasks)
