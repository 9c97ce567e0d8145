"""A small world around one `SchedulerCore`: builders of one line each, and outboxes that must be emptied.

Whatever is said to the core, and whatever it says, goes through the real codec. After every step the invariants are
checked. A test ends by having claimed all that was sent; what is left over fails it.

`World.heard` tells what a peer was sent in a short form that tests can compare:

- to workers: ``run b#2(a, c=7, d@w1+w2)``: the second attempt at b, whose input a is (or will be) there already, c is
  shipped with the value 7, d is to be fetched from w1 or w2; ``free a b``, ``recall a``, ``put a=1``, ``copy a@w1``,
  ``holds a?`` (a copy that nobody is to be asked for). A `Function` message is left out; tests about functions use
  `World.take`.
- to clients: ``finished a=1 b`` (b's value does not ride along), ``failed a b: text``, ``lost a``,
  ``cancelled a: why``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from windrow import explanation
from windrow.account import Account
from windrow.scheduler import overviews
from windrow.scheduler.core import SchedulerCore
from windrow.scheduler.invariants import check_invariants
from windrow.scheduler.state import ClientRecord, NannyRecord, Peer, SchedulerConfig, Task, WorkerRecord
from windrow.wire.messages import (
    Call,
    Cancel,
    Cancelled,
    Close,
    Copied,
    Copy,
    Declare,
    Died,
    Done,
    Erred,
    Failed,
    Finished,
    Free,
    Function,
    HelloClient,
    HelloNanny,
    HelloWorker,
    Holds,
    Lost,
    Message,
    Missing,
    Paused,
    Put,
    Recall,
    Release,
    Reply,
    Returned,
    Run,
    Submit,
    Want,
)
from windrow.wire.requests import Explain, Request, Scatter

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Message]).decode

SHORT_S = 1e-5
"""A duration of which hundreds fit into a pipeline."""


class World:
    """A scheduler core, its peers, and everything that it has said to them and nobody has looked at yet."""

    def __init__(self, **config: Any) -> None:
        self.core = SchedulerCore(SchedulerConfig(**config))
        self.state = self.core.state
        self.now_s = 100.0
        self.inbox: dict[Peer[Any], list[Any]] = {}
        self.names: dict[int, str] = {}
        self.runs: dict[tuple[Peer[Any], str], Run] = {}
        self.copies: dict[tuple[Peer[Any], str], Copy] = {}
        self.calls = 0
        self.count = 0

    # ------------------------------------------------------------ parties

    def worker(self, name: str | int = "", nthreads: int = 1, **hello: Any) -> WorkerRecord:
        """A worker joins, at the address tcp://<name>."""
        self.count += not name
        name = name or f"w{self.count}"
        worker: WorkerRecord = self._join(HelloWorker(hello.pop("address", f"tcp://{name}"), name, nthreads, **hello))
        return worker

    def workers(self, count: int, **options: Any) -> list[WorkerRecord]:
        """Several workers alike join."""
        return [self.worker(**options) for _ in range(count)]

    def client(self, name: str = "") -> ClientRecord:
        """A client joins."""
        client: ClientRecord = self._join(HelloClient(name or f"c{len(self.state.clients) + 1}"))
        return client

    def nanny(self, name: str) -> NannyRecord:
        """A nanny joins; its worker gives ``nanny=name``."""
        nanny: NannyRecord = self._join(HelloNanny(name, name))
        return nanny

    def nursed(self, name: str, nthreads: int = 1) -> tuple[WorkerRecord, NannyRecord]:
        """A worker under a nanny of its own."""
        nanny = self.nanny(f"nanny-{name}")
        return self.worker(name, nthreads, nanny=nanny.id, pid=7), nanny

    def _join(self, hello: Any) -> Any:
        [hello] = _decode(_encode([hello]))
        peer = self.core.join(hello, self.now_s)
        self._check()
        return peer

    # ------------------------------------------------------------ what peers say

    def say(self, peer: Peer[Any], *messages: Any) -> None:
        """A peer's messages arrive in one batch."""
        self.core.receive(peer, _decode(_encode(messages)), self.now_s)
        self._check()

    def submit(
        self, client: ClientRecord, *keys: str, function: str = "f", after: list[str] | None = None, **options: Any
    ) -> None:
        """Submit tasks of one function, all with the same inputs; the function is declared when it is new."""
        digest = function.encode()
        messages: list[Any] = []
        if digest not in client.declared:
            messages.append(Declare(digest, function, b"code of " + digest))
        inputs = [after] * len(keys) if after else []
        messages.append(Submit(digest, list(keys), [b"args of " + key.encode() for key in keys], inputs, **options))
        self.say(client, *messages)

    def chain(self, client: ClientRecord, *keys: str, **options: Any) -> None:
        """Submit tasks, each the input of the next."""
        before: list[str] = []
        for key in keys:
            self.submit(client, key, after=before, **options)
            before = [key]

    def want(self, client: ClientRecord, *keys: str) -> None:
        """A client makes futures on keys of others."""
        self.say(client, Want(list(keys)))

    def release(self, client: ClientRecord, *keys: str) -> None:
        """A client drops its futures."""
        self.say(client, Release(list(keys), client.seen + 1))

    def cancel(self, client: ClientRecord, *keys: str, force: bool = False, reason: str = "") -> None:
        """A client cancels."""
        self.say(client, Cancel(list(keys), client.seen + 1, force, reason))

    def ask(self, client: ClientRecord, request: Request) -> int:
        """A client asks; return the number of its call."""
        self.calls += 1
        self.say(client, Call(self.calls, request))
        return self.calls

    def scatter(self, client: ClientRecord, nbytes: int = 10, **values: bytes) -> None:
        """A client scatters values under their names; its reply and reports stay to be claimed."""
        count = len(values)
        self.ask(client, Scatter(list(values), list(values.values()), [nbytes] * count, [None] * count))

    def done(
        self,
        worker: WorkerRecord,
        *keys: str,
        value: bytes | None = b"1",
        nbytes: int = 10,
        seconds: float = SHORT_S,
        value_type: bytes | None = None,
    ) -> None:
        """A worker has results of the attempts that it was last sent."""
        runs = [self.run(worker, key) for key in keys]
        self.say(worker, *(Done(run.task, run.attempt, seconds, nbytes, value, value_type) for run in runs))

    def large(self, worker: WorkerRecord, *keys: str, nbytes: int = 1_000_000, **options: Any) -> None:
        """As `done`, with results too large to ride along."""
        self.done(worker, *keys, value=None, nbytes=nbytes, **options)

    def erred(self, worker: WorkerRecord, key: str, text: str = "boom") -> None:
        """An attempt raised."""
        run = self.run(worker, key)
        self.say(worker, Erred(run.task, run.attempt, SHORT_S, text.encode(), text))

    def returned(self, worker: WorkerRecord, *keys: str) -> None:
        """A worker gives back what it was recalled."""
        runs = [self.run(worker, key) for key in keys]
        self.say(worker, Returned([run.task for run in runs], [run.attempt for run in runs]))

    def missing(self, worker: WorkerRecord, key: str, input: str, *tried: WorkerRecord) -> None:
        """A worker could not get an input from any of its holders."""
        run = self.run(worker, key)
        self.say(worker, Missing(run.task, run.attempt, self.id(input), [holder.address for holder in tried]))

    def holds(self, worker: WorkerRecord, *keys: str) -> None:
        """A worker has fetched values."""
        self.say(worker, Holds([self.id(key) for key in keys]))

    def pause(self, worker: WorkerRecord, paused: bool = True) -> None:
        """A worker's memory is short, or is not any more."""
        self.say(worker, Paused(paused))

    def copied(self, worker: WorkerRecord, *keys: str, held: bool = True) -> None:
        """A worker has fetched the copies that it was last asked for, or could not."""
        self.flush()
        copies = [self.copies[worker, key] for key in keys]
        self.say(worker, *(Copied(copy.task, copy.number, held) for copy in copies))

    def reply(self, worker: WorkerRecord, *blobs: bytes | None, to: Call) -> None:
        """A worker answers what the scheduler asked."""
        self.say(worker, Reply(to.id, blobs=list(blobs)))

    def died(
        self,
        nanny: NannyRecord,
        worker: WorkerRecord,
        account: str = "killed by SIGKILL",
        running: list[str] | None = None,
        expected: bool = False,
    ) -> None:
        """A nanny gives its account."""
        ids = None if running is None else [self.id(key) for key in running]
        self.say(nanny, Died(worker.address, Account(said=account), expected, ids))

    def lose(self, peer: Peer[Any], reason: str = "the connection broke") -> None:
        """A peer's connection ends."""
        self.core.lost(peer, reason, self.now_s)
        self._check()

    def cut(self, peer: Peer[Any], patience_s: float = 30.0) -> None:
        """A peer's connection is cut, and it tries to come back for so long."""
        self.core.cut(peer, patience_s, self.now_s)
        self._check()

    def back(self, peer: Peer[Any]) -> None:
        """A peer comes back; what it has said meanwhile is for the test to say next."""
        self.core.resumed(peer, self.now_s)
        self._check()

    def tick(self, after: float = 0.0) -> None:
        """Time passes, and the core is told."""
        self.now_s += after
        self.core.tick(self.now_s)
        self._check()

    # ------------------------------------------------------------ what the core says

    def flush(self) -> None:
        """Let the core place what it can, and take what it has to say."""
        for peer, messages in self.core.flush():
            assert messages, f"{peer} is sent an empty batch"
            decoded = _decode(_encode(messages))
            self.inbox.setdefault(peer, []).extend(decoded)
            for message in decoded:
                if type(message) is Run:
                    self.runs[peer, message.key] = message
                elif type(message) is Copy:
                    self.copies[peer, message.key] = message
        self._check()

    def take(self, peer: Peer[Any]) -> list[Any]:
        """Claim all messages to one peer."""
        self.flush()
        return self.inbox.pop(peer, [])

    def heard(self, peer: Peer[Any]) -> list[str]:
        """Claim all messages to one peer, in the short form of the head of this module."""
        return [self._brief(message) for message in self.take(peer) if type(message) is not Function]

    def keys(self, worker: WorkerRecord) -> list[str]:
        """Claim the attempts that a worker was sent, by key; it must have been sent nothing else."""
        messages = [message for message in self.take(worker) if type(message) is not Function]
        assert all(type(message) is Run for message in messages), messages
        return [message.key for message in messages]

    def question(self, worker: WorkerRecord) -> Call:
        """Claim the one question that a worker was asked."""
        [call] = self.take(worker)
        assert type(call) is Call
        return call

    def answer(self, client: ClientRecord) -> Reply:
        """Claim the one answer that a client got, and nothing else."""
        [reply] = self.take(client)
        assert type(reply) is Reply
        return reply

    def clear(self) -> None:
        """Claim all that was sent so far: it is the setting, and not what the test is about."""
        self.flush()
        self.inbox.clear()

    def settle(self, worker: WorkerRecord) -> list[str]:
        """Have a worker finish all that it is sent until nothing comes; return the keys in order, claim its frees."""
        ran: list[str] = []
        while messages := self.take(worker):
            assert {type(message) for message in messages} <= {Function, Run, Free}, messages
            keys = [message.key for message in messages if type(message) is Run]
            self.done(worker, *keys)
            ran += keys
        return ran

    def teach(self, client: ClientRecord, seconds: float = SHORT_S, function: str = "f") -> None:
        """Let the core learn how long a function takes, by one task on a worker that comes and goes for it."""
        teacher = self.worker("teacher")
        self.submit(client, "lesson", function=function, workers=["teacher"])
        self.done(teacher, "lesson", seconds=seconds)
        self.release(client, "lesson")
        self.say(teacher, Close())
        self.flush()
        del self.inbox[teacher], self.inbox[client]

    # ------------------------------------------------------------ looking

    def why(self, *keys: str, worker: str | None = None, several: bool = False) -> str:
        """What is told of tasks, a worker or (without either) everything; and that tells changes nothing."""
        request = Explain([*keys] or None, worker, several)
        told = overviews.answer(self.state, request)
        plain = msgspec.msgpack.decode(msgspec.msgpack.encode(explanation.to_plain(told)))
        assert explanation.from_plain(plain) == told, "its plain form is not the whole of it"
        assert repr(told) == "\n".join(plain["text"])
        self._check()
        return repr(told)

    def task(self, key: str) -> Task:
        """A task's record."""
        return self.state.tasks[key]

    def id(self, key: str) -> Any:
        """A task's id; also of one that is forgotten (the latest of that key)."""
        return next(id for id, name in reversed(self.names.items()) if name == key)

    def run(self, worker: WorkerRecord, key: str) -> Run:
        """The latest attempt at a task that a worker was sent; flushes only when the present one is not sent yet."""
        run, task = self.runs.get((worker, key)), self.state.tasks.get(key)
        if run is None or (task is not None and task.worker is worker and task.attempt != run.attempt):
            self.flush()
        return self.runs[worker, key]

    def states(self, *keys: str) -> list[str]:
        """The states of tasks; ``forgotten`` of those that are in no table."""
        return [self.state.tasks[key].state if key in self.state.tasks else "forgotten" for key in keys]

    def _check(self) -> None:
        for id, task in self.state.by_id.items():
            self.names.setdefault(id, task.key)
        check_invariants(self.state)

    def unclaimed(self) -> dict[str, list[str]]:
        """What nobody has looked at."""
        self.flush()
        return {
            repr(peer): [self._brief(message) for message in messages if type(message) is not Function]
            for peer, messages in self.inbox.items()
            if any(type(message) is not Function for message in messages)
        }

    def _brief(self, message: Any) -> str:
        kind = type(message)
        if kind is Run:
            number = f"#{message.attempt}" if message.attempt > 1 else ""
            inputs = ", ".join(self._input(message, id) for id in message.inputs)
            return f"run {message.key}{number}" + (f"({inputs})" if inputs else "")
        if kind is Free or kind is Recall:
            return " ".join([kind.__name__.lower(), *(self.names[id] for id in message.tasks)])
        if kind is Copy and not message.holders:
            return f"holds {message.key}?"
        if kind is Copy:
            return f"copy {message.key}@{'+'.join(address.removeprefix('tcp://') for address in message.holders)}"
        if kind is Put:
            return f"put {message.key}={message.value.decode()}"
        if kind is Finished:
            pairs = zip(message.keys, message.values, strict=True)
            return "finished " + " ".join(key if value is None else f"{key}={value.decode()}" for key, value in pairs)
        if kind is Failed:
            return f"failed {' '.join(message.keys)}: {message.text}"
        if kind is Cancelled:
            return f"cancelled {' '.join(message.keys)}: {message.reason}"
        if kind is Lost:
            return f"lost {' '.join(message.keys)}"
        return repr(message)

    def _input(self, run: Run, id: Any) -> str:
        name = self.names[id]
        if id in run.shipped:
            value = run.shipped[id]
            assert isinstance(value, bytes)
            return f"{name}={value.decode()}"
        if id in run.where:
            return f"{name}@{'+'.join(address.removeprefix('tcp://') for address in run.where[id][1])}"
        return name


def worlds(**config: Any) -> Iterator[World]:
    """A world whose every message must be claimed: the body of the fixture."""
    world = World(**config)
    yield world
    assert world.unclaimed() == {}, "these messages were sent, and the test does not say that they should be"
